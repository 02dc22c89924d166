#include "broker/internal/topic_configs_shown.h"

namespace millrace::broker {
namespace {

ConfigKind kind_of(TopicConfigType type) {
  switch (type) {
    case TopicConfigType::kBool:
      return ConfigKind::kBool;
    case TopicConfigType::kString:
      return ConfigKind::kString;
    case TopicConfigType::kInt:
      return ConfigKind::kInt;
    case TopicConfigType::kLong:
      return ConfigKind::kLong;
    case TopicConfigType::kDouble:
      return ConfigKind::kDouble;
    case TopicConfigType::kList:
      return ConfigKind::kList;
  }
}

ConfigKind kind_of(const SettingInfo& info) {
  switch (info.type) {
    case SettingType::kBool:
      return ConfigKind::kBool;
    case SettingType::kInt:
      return info.max <= INT32_MAX ? ConfigKind::kInt : ConfigKind::kLong;
    case SettingType::kTopicDefault:
      return kind_of(find_topic_config_of_setting(info.name)->type);
  }
}

// The values of a broker's setting: changed while it runs, given at its start, the default.
void add_setting(std::string_view name, const ConfigDefaults& defaults, std::vector<ConfigSynonym>& synonyms) {
  static const Settings kDefaults;
  const auto add_changed = [&](const ConfigTexts& changed, ConfigSource source) {
    if (const auto found = changed.find(std::string(name)); found != changed.end())
      synonyms.push_back({found->first, found->second, source});
  };
  add_changed(defaults.dynamic.node, ConfigSource::kBroker);
  add_changed(defaults.dynamic.cluster, ConfigSource::kCluster);
  const std::string by_default = setting_value(kDefaults, name);
  if (std::string given = setting_value(defaults.settings, name); given != by_default)
    synonyms.push_back({std::string(name), std::move(given), ConfigSource::kBrokerFile});
  synonyms.push_back({std::string(name), by_default, ConfigSource::kDefault});
}

std::string documentation_of(const TopicConfigInfo& info) {
  return std::string(info.documentation) + (info.effective ? "" : " (accepted, without an effect)");
}

ShownConfig shown_setting(const SettingInfo& info) {
  const TopicConfigInfo* of_topics = find_topic_config_of_setting(info.name);
  return {.name = std::string(info.name),
          .kind = kind_of(info),
          .read_only = of_topics == nullptr,
          .documentation =
              info.type == SettingType::kTopicDefault ? documentation_of(*of_topics) : std::string(info.documentation),
          .synonyms = {}};
}

}  // namespace

std::vector<ShownConfig> shown_topic_configs(const ConfigTexts& config, const ConfigDefaults& defaults) {
  std::vector<ShownConfig> shown;
  for (const TopicConfigInfo& info : topic_config_infos()) {
    ShownConfig line{.name = std::string(info.name),
                     .kind = kind_of(info.type),
                     .documentation = documentation_of(info),
                     .synonyms = {}};
    if (const auto own = config.find(line.name); own != config.end())
      line.synonyms.push_back({line.name, own->second, ConfigSource::kTopic});
    if (info.broker_setting.empty()) {
      line.synonyms.push_back({line.name, std::string(info.default_value), ConfigSource::kDefault});
    } else {
      add_setting(info.broker_setting, defaults, line.synonyms);
    }
    shown.push_back(std::move(line));
  }
  return shown;
}

std::vector<ShownConfig> shown_broker_configs(const ConfigDefaults& defaults) {
  std::vector<ShownConfig> shown;
  for (const SettingInfo& info : setting_infos()) {
    ShownConfig line = shown_setting(info);
    add_setting(info.name, defaults, line.synonyms);
    shown.push_back(std::move(line));
  }
  return shown;
}

std::vector<ShownConfig> shown_cluster_configs(const ConfigDefaults& defaults) {
  std::vector<ShownConfig> shown;
  for (const SettingInfo& info : setting_infos()) {
    const auto changed = defaults.dynamic.cluster.find(std::string(info.name));
    if (changed == defaults.dynamic.cluster.end()) continue;
    ShownConfig line = shown_setting(info);
    line.synonyms.push_back({line.name, changed->second, ConfigSource::kCluster});
    shown.push_back(std::move(line));
  }
  return shown;
}

}  // namespace millrace::broker
