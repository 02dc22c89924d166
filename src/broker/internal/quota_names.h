#pragma once

#include <string_view>

namespace millrace::broker {

// Kafka's names of what has quotas here, and of these, on the wire and in the file.
constexpr std::string_view kClientIdEntity = "client-id";
constexpr std::string_view kProducerByteRate = "producer_byte_rate";
constexpr std::string_view kConsumerByteRate = "consumer_byte_rate";

}  // namespace millrace::broker
