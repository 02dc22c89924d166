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
  }
}

}  // namespace

std::vector<ShownConfig> shown_topic_configs(const std::map<std::string, std::string>& config,
                                             const Settings& settings) {
  std::vector<ShownConfig> shown;
  for (const TopicConfigInfo& info : topic_config_infos()) {
    ShownConfig line{.name = std::string(info.name),
                     .value = topic_config_default(info, settings),
                     .source = ConfigSource::kDefault,
                     .kind = kind_of(info.type),
                     .documentation = std::string(info.documentation),
                     .broker_setting = std::string(info.broker_setting),
                     .default_value = {}};
    line.default_value = line.value;
    if (!info.effective) line.documentation += " (kept, but without an effect in this version)";
    if (line.value != info.default_value) line.source = ConfigSource::kBrokerFile;
    if (const auto own = config.find(line.name); own != config.end()) {
      line.value = own->second;
      line.source = ConfigSource::kTopic;
    }
    shown.push_back(std::move(line));
  }
  return shown;
}

std::vector<ShownConfig> shown_broker_configs(const Settings& settings) {
  const Settings defaults;
  std::vector<ShownConfig> shown;
  for (const SettingInfo& info : setting_infos()) {
    ShownConfig line{.name = std::string(info.name),
                     .value = setting_value(settings, info.name),
                     .source = ConfigSource::kDefault,
                     .kind = kind_of(info),
                     .documentation = std::string(info.documentation),
                     .broker_setting = std::string(info.name),
                     .default_value = setting_value(defaults, info.name)};
    if (line.value != line.default_value) line.source = ConfigSource::kBrokerFile;
    shown.push_back(std::move(line));
  }
  return shown;
}

}  // namespace millrace::broker
