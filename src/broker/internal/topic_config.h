#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "broker/settings.h"

namespace millrace::broker {

enum class TopicConfigType { kBool, kString, kInt, kLong, kDouble, kList };

// One of Kafka's topic configurations.
struct TopicConfigInfo {
  std::string_view name;
  TopicConfigType type;
  std::string_view default_value;
  std::string_view broker_setting;  // whose value is the default, where this broker has it; else empty
  bool effective;                   // false: kept and shown, but without an effect in this version
  std::string_view documentation;
};

std::span<const TopicConfigInfo> topic_config_infos();

// kInvalidArgument: an unknown name (with the nearest), or a value that it cannot have; kNotBuiltYet: a value that
// later versions will take.
Status check_topic_config(std::string_view name, const std::optional<std::string>& value);

// The value a topic without its own has.
std::string topic_config_default(const TopicConfigInfo& info, const Settings& settings);

// What the broker acts upon, read from a topic's configuration.
struct TopicConfig {
  int64_t message_bytes_max = 0;
  bool log_append_time = false;
};
TopicConfig parse_topic_config(const std::map<std::string, std::string>& config, const Settings& settings);

}  // namespace millrace::broker
