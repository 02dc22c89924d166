#include "app/config_changes.h"

#include <fmt/core.h>

#include "app/connection.h"
#include "wire/incremental_alter_configs.h"

namespace millrace::app {

ConfigTarget topic_target(const std::string& topic) { return {kTopicResource, topic, -1, "topic " + topic}; }

ConfigTarget broker_target(int32_t id) {
  return {kBrokerResource, std::to_string(id), id, fmt::format("broker {}", id)};
}

ConfigTarget all_brokers_target() { return {kBrokerResource, "", -1, "all brokers"}; }

Result<ConfigChange> parse_config_change(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is not NAME=VALUE", text), "retention.ms=86400000");
  return ConfigChange{text.substr(0, equals), text.substr(equals + 1)};
}

Status change_configs(KafkaLink& link, const ConfigTarget& target, std::span<const ConfigChange> changes,
                      bool dry_run) {
  constexpr int8_t kSet = 0;
  constexpr int8_t kDelete = 1;
  wire::IncrementalAlterConfigsRequest request;
  request.validate_only = dry_run;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = target.type;
  resource.resource_name = target.name;
  for (const auto& change : changes)
    resource.configs.push_back({change.name, change.value ? kSet : kDelete, change.value});
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(target.node, request));
  for (const auto& one : answer.responses) {
    if (target.type == kTopicResource && one.error_code == wire::ErrorCode::kUnknownTopicOrPartition)
      return no_such_topic(target.name);
    MILLRACE_RETURN_IF_ERROR(
        to_status(one.error_code, fmt::format("{} does not take it", target.text), one.error_message));
  }
  return {};
}

}  // namespace millrace::app
