#pragma once

#include <optional>
#include <span>
#include <string>

#include "app/kafka_link.h"
#include "base/result.h"

namespace millrace::app {

// Kafka's numbers for what has settings.
inline constexpr int8_t kTopicResource = 2;
inline constexpr int8_t kBrokerResource = 4;

// Whose settings, and which broker is to be asked (-1: any).
struct ConfigTarget {
  int8_t type = kTopicResource;
  std::string name;
  int32_t node = -1;
  std::string text;  // "topic orders", for messages
};

ConfigTarget topic_target(const std::string& topic);
ConfigTarget broker_target(int32_t id);
ConfigTarget all_brokers_target();

struct ConfigChange {
  std::string name;
  std::optional<std::string> value;  // none: unset
};

// NAME=VALUE; kInvalidArgument for anything else.
Result<ConfigChange> parse_config_change(const std::string& text);

// All of them or none. The broker's own message says what it refuses. With `dry_run` it is only asked.
Status change_configs(KafkaLink& link, const ConfigTarget& target, std::span<const ConfigChange> changes, bool dry_run);

}  // namespace millrace::app
