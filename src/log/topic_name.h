#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace millrace::log {

inline constexpr size_t kTopicNameBytesMax = 249;

// Kafka's rule: 1 to 249 of a-z A-Z 0-9 . _ -, but not "." or "..". kInvalidArgument says what is wrong.
Status check_topic_name(std::string_view name);

}  // namespace millrace::log
