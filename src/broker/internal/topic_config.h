#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "broker/settings.h"
#include "log/topic_policy.h"
#include "record/compression.h"

namespace millrace::broker {

enum class TopicConfigType { kBool, kString, kInt, kLong, kDouble, kList };

// What a value may be, beyond its type: a number in [min, max]; or one or, for a list, several of `words` (separated by
// commas). Without words any text is taken.
struct TopicConfigBounds {
  double min = 0;
  double max = 0;
  std::string_view words = {};
};

// One of Kafka's topic configurations.
struct TopicConfigInfo {
  std::string_view name;
  TopicConfigType type;
  std::string_view default_value;
  std::string_view broker_setting;  // the broker's setting whose value topics without their own have; may be empty
  bool effective;                   // false: accepted and shown, as Kafka does, but there is nothing here for it to do
  TopicConfigBounds bounds;
  std::string_view documentation;
};

// By name.
std::span<const TopicConfigInfo> topic_config_infos();
// Null where there is none.
const TopicConfigInfo* find_topic_config(std::string_view name);
// Also one of replication_throttle_infos().
const TopicConfigInfo* find_topic_config_of_setting(std::string_view broker_setting);
// Settings of the broker alone, without a topic's name, which Kafka's tools set and unset around a reassignment: they
// change while it runs, as what topics have by default does.
std::span<const TopicConfigInfo> replication_throttle_infos();

// A configuration as clients set it: texts by name.
using ConfigTexts = std::map<std::string, std::string>;

// The one spelling of a value that clients may write with blanks around it or its words, numbers with a plus, true and
// false in any case, and a word of a list twice. What is no such value stays as it is, to be refused by
// check_config_value().
std::string plain_config_value(const TopicConfigInfo& info, std::string_view value);
// kInvalidArgument: a value that `info` cannot have; `name` is what the message calls it.
Status check_config_value(const TopicConfigInfo& info, std::string_view name, std::string_view value);
// The plain value. kInvalidArgument: an unknown name (with the nearest), no value, or one that it cannot have.
Result<std::string> check_topic_config(std::string_view name, const std::optional<std::string>& value);
// The error for a name that is not in the table.
tl::unexpected<Error> unknown_topic_config(std::string_view name);

// The settings that were changed while the broker runs, by their names: its own, and before which they go, the whole
// cluster's (the resource without a name).
struct DynamicSettings {
  ConfigTexts node;
  ConfigTexts cluster;

  // The value that holds; null where neither has one.
  const std::string* find(const std::string& name) const;
};

// What topics have that set nothing: the broker's settings, and before them those that were changed while it ran.
struct ConfigDefaults {
  const Settings& settings;
  const DynamicSettings& dynamic;
};
std::string topic_config_default(const TopicConfigInfo& info, const ConfigDefaults& defaults);

// kInvalidArgument: values that are right each for itself, but not together.
Status check_topic_configs_together(const ConfigTexts& config, const ConfigDefaults& defaults);

// What the broker acts upon, read from a topic's configuration.
struct TopicConfig {
  int64_t message_bytes_max = 0;
  bool log_append_time = false;
  int64_t timestamp_before_max_ms = INT64_MAX;
  int64_t timestamp_after_max_ms = INT64_MAX;
  std::optional<record::Codec> codec;  // nullopt: as the producer sent it
  bool needs_keys = false;             // compacted: a record without a key could never be replaced
};
TopicConfig parse_topic_config(const ConfigTexts& config, const ConfigDefaults& defaults);

// What the log acts upon.
log::TopicPolicy parse_topic_policy(const ConfigTexts& config, const ConfigDefaults& defaults);

}  // namespace millrace::broker
