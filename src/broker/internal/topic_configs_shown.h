#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "broker/internal/topic_config.h"

namespace millrace::broker {

// Kafka's numbers for where a value comes from.
enum class ConfigSource : int8_t { kTopic = 1, kBrokerFile = 4, kDefault = 5 };

// Kafka's numbers for what a value is.
enum class ConfigKind : int8_t { kBool = 1, kString = 2, kInt = 3, kLong = 5, kDouble = 6, kList = 7 };

// One line of DescribeConfigs.
struct ShownConfig {
  std::string name;
  std::string value;
  ConfigSource source;
  ConfigKind kind;
  std::string documentation;
  std::string broker_setting;  // where the default comes from; may be empty
  std::string default_value;
};

// All configurations of a topic that has set `config`, by name.
std::vector<ShownConfig> shown_topic_configs(const std::map<std::string, std::string>& config,
                                             const Settings& settings);

// All settings of the broker.
std::vector<ShownConfig> shown_broker_configs(const Settings& settings);

}  // namespace millrace::broker
