#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "broker/internal/topic_config.h"

namespace millrace::broker {

// Kafka's numbers for what has configurations.
constexpr int8_t kTopicResource = 2;
constexpr int8_t kBrokerResource = 4;

// Kafka's numbers for where a value comes from.
enum class ConfigSource : int8_t { kTopic = 1, kBroker = 2, kCluster = 3, kBrokerFile = 4, kDefault = 5 };

// Kafka's numbers for what a value is.
enum class ConfigKind : int8_t { kBool = 1, kString = 2, kInt = 3, kLong = 5, kDouble = 6, kList = 7 };

// A value that was given somewhere, and its name there.
struct ConfigSynonym {
  std::string name;
  std::string value;
  ConfigSource source;
};

// One line of DescribeConfigs.
struct ShownConfig {
  std::string name;
  ConfigKind kind;
  bool read_only = false;
  std::string documentation;
  std::vector<ConfigSynonym> synonyms;  // from the most to the least specific, at least one: the first holds

  const std::string& value() const { return synonyms.front().value; }
  ConfigSource source() const { return synonyms.front().source; }
};

// All configurations of a topic that has set `config`, by name.
std::vector<ShownConfig> shown_topic_configs(const ConfigTexts& config, const ConfigDefaults& defaults);

// All settings of the broker.
std::vector<ShownConfig> shown_broker_configs(const ConfigDefaults& defaults);

// Those that were changed for the whole cluster, and nothing else of them, as Kafka shows the resource without a name.
std::vector<ShownConfig> shown_cluster_configs(const ConfigDefaults& defaults);

}  // namespace millrace::broker
