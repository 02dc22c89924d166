#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "base/text.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/refusal.h"
#include "broker/internal/shortened.h"
#include "broker/internal/topic_configs_shown.h"
#include "log/topic_name.h"

// AlterConfigs replaces what a resource has set, IncrementalAlterConfigs changes single values of it; both come down to
// the resource's new configuration, which is checked as a whole and then put in place of the old one.
namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Changed = tl::expected<ConfigTexts, Refusal>;

tl::unexpected<Refusal> invalid(const Error& error) { return refuse(ErrorCode::kInvalidConfig, error.message); }

// A topic, or the broker, or the whole cluster: all brokers, of which there is one.
struct Target {
  enum class Kind { kTopic, kNode, kCluster };
  Kind kind = Kind::kTopic;
  std::string name;
  ConfigTexts config;  // what it has set now
};

tl::expected<Target, Refusal> find_target(const Core& core, const TopicTable& topics, int8_t type,
                                          const std::string& name) {
  if (type == kTopicResource) {
    if (const auto valid = log::check_topic_name(name); !valid)
      return refuse(ErrorCode::kInvalidTopicException, valid.error().message);
    const auto topic = topics.find(name);
    if (!topic) return refuse(ErrorCode::kUnknownTopicOrPartition, "there is no such topic");
    return Target{Target::Kind::kTopic, name, topic->topic->info.config};
  }
  if (type == kBrokerResource) {
    if (!name.empty() && name != fmt::format("{}", core.node_id()))
      return refuse(ErrorCode::kInvalidRequest, fmt::format("the only broker has id {}", core.node_id()));
    const DynamicSettings& dynamic = topics.defaults().dynamic;
    return name.empty() ? Target{Target::Kind::kCluster, name, dynamic.cluster}
                        : Target{Target::Kind::kNode, name, dynamic.node};
  }
  return refuse(ErrorCode::kInvalidRequest,
                fmt::format("only topics and brokers have configurations here, not resources of type {}", type));
}

// The row of `name` in the table.
tl::expected<const TopicConfigInfo*, Refusal> find_config(const Target& target, const std::string& name) {
  if (target.kind == Target::Kind::kTopic) {
    const TopicConfigInfo* info = find_topic_config(name);
    if (info == nullptr) return invalid(unknown_topic_config(name).value());
    return info;
  }
  if (const TopicConfigInfo* info = find_topic_config_of_setting(name)) return info;
  for (const SettingInfo& setting : setting_infos()) {
    if (setting.name == name)
      return refuse(ErrorCode::kInvalidRequest,
                    fmt::format("{} cannot be changed while the broker runs: it stands in its configuration", name));
  }
  return refuse(ErrorCode::kInvalidConfig, fmt::format("the broker has no setting '{}'", shortened(name)));
}

Changed replaced(const Target& target, const wire::AlterConfigsRequest::AlterConfigsResource& asked,
                 const ConfigDefaults&) {
  ConfigTexts config;
  for (const auto& [name, value] : asked.configs) {
    const auto info = find_config(target, name);
    if (!info) return tl::unexpected(info.error());
    if (!value) return refuse(ErrorCode::kInvalidRequest, fmt::format("{} has no value", name));
    const std::string text = plain_config_value(**info, *value);
    if (!config.emplace(name, text).second)
      return refuse(ErrorCode::kInvalidRequest, fmt::format("{} is set twice", shortened(name)));
    if (const auto valid = check_config_value(**info, name, text); !valid) return invalid(valid.error());
  }
  return config;
}

enum class Operation : int8_t { kSet = 0, kDelete = 1, kAppend = 2, kSubtract = 3 };

// `words` with those of `value` added, or taken away.
std::string combine(std::string_view words, std::string_view value, bool append) {
  std::vector<std::string_view> combined;
  const auto has = [&](std::string_view word) { return std::ranges::find(combined, word) != combined.end(); };
  const auto given = split(value, ',');
  for (const std::string_view word : split(words, ',')) {
    const bool named = std::ranges::any_of(given, [&](std::string_view one) { return trim(one) == trim(word); });
    if (!trim(word).empty() && (append || !named)) combined.push_back(trim(word));
  }
  for (const std::string_view word : given)
    if (append && !trim(word).empty() && !has(trim(word))) combined.push_back(trim(word));
  std::string text;
  for (const std::string_view word : combined) text += (text.empty() ? "" : ",") + std::string(word);
  return text;
}

// What `target` has where it sets nothing of its own.
std::string inherited(const Target& target, const TopicConfigInfo& info, const ConfigDefaults& defaults) {
  const DynamicSettings none;
  const DynamicSettings of_cluster{.node = {}, .cluster = defaults.dynamic.cluster};
  switch (target.kind) {
    case Target::Kind::kTopic:
      return topic_config_default(info, defaults);
    case Target::Kind::kNode:
      return topic_config_default(info, {defaults.settings, of_cluster});
    case Target::Kind::kCluster:
      return topic_config_default(info, {defaults.settings, none});
  }
}

// The broker's settings with `target`'s replaced.
DynamicSettings with(DynamicSettings settings, const Target& target, ConfigTexts config) {
  (target.kind == Target::Kind::kCluster ? settings.cluster : settings.node) = std::move(config);
  return settings;
}

Changed changed(const Target& target, const wire::IncrementalAlterConfigsRequest::AlterConfigsResource& asked,
                const ConfigDefaults& defaults) {
  ConfigTexts config = target.config;
  std::set<std::string> seen;
  for (const auto& [name, operation, value] : asked.configs) {
    if (!seen.insert(name).second)
      return refuse(ErrorCode::kInvalidRequest, fmt::format("{} is changed twice", shortened(name)));
    // What cannot be set is not set: to delete it changes nothing.
    if (target.kind == Target::Kind::kTopic && operation == static_cast<int8_t>(Operation::kDelete) &&
        find_topic_config(name) == nullptr)
      continue;
    const auto info = find_config(target, name);
    if (!info) return tl::unexpected(info.error());
    if (operation < 0 || operation > static_cast<int8_t>(Operation::kSubtract))
      return refuse(ErrorCode::kInvalidRequest, fmt::format("operation {} is unknown", operation));
    const auto kind = static_cast<Operation>(operation);
    if (kind == Operation::kDelete) {
      config.erase(name);
      continue;
    }
    if (!value) return refuse(ErrorCode::kInvalidRequest, fmt::format("{} has no value", name));
    std::string text = plain_config_value(**info, *value);
    if (kind != Operation::kSet) {
      if ((*info)->type != TopicConfigType::kList)
        return refuse(ErrorCode::kInvalidConfig, fmt::format("{} is no list to append to or subtract from", name));
      constexpr size_t kWordsBytesMax = 1000;
      if (text.size() > kWordsBytesMax)
        return refuse(ErrorCode::kInvalidConfig, fmt::format("{} has no such words", name));
      const auto own = config.find(name);
      text = plain_config_value(**info, combine(own != config.end() ? own->second : inherited(target, **info, defaults),
                                                text, kind == Operation::kAppend));
    }
    if (const auto valid = check_config_value(**info, name, text); !valid) return invalid(valid.error());
    config.insert_or_assign(name, std::move(text));
  }
  return config;
}

Refusal put(Core& core, const Target& target, ConfigTexts config, const DynamicSettings& before) {
  if (target.kind == Target::Kind::kTopic) {
    const Status done = core.topics.configure(target.name, std::move(config));
    return done ? Refusal{} : Refusal{to_wire(done.error().code), done.error().message};
  }
  DynamicSettings settings = with(before, target, std::move(config));
  if (const Status kept = core.dynamic_configs.write(settings); !kept)
    return {to_wire(kept.error().code), kept.error().message};
  core.topics.set_dynamic(std::move(settings));
  return {};
}

// What becomes of one resource. `change` makes the new configuration of the old one.
template <typename Asked, typename Change>
Refusal alter(Core& core, const Asked& asked, bool validate_only, Change change) {
  const auto topics = core.topics.snapshot();
  auto target = find_target(core, *topics, asked.resource_type, asked.resource_name);
  if (!target) return target.error();
  auto config = change(*target, asked, topics->defaults());
  if (!config) return config.error();
  const ConfigDefaults defaults = topics->defaults();
  const bool of_topic = target->kind == Target::Kind::kTopic;
  const Status together =
      of_topic ? check_topic_configs_together(*config, defaults)
               : check_topic_configs_together({}, {defaults.settings, with(defaults.dynamic, *target, *config)});
  if (!together) return {ErrorCode::kInvalidConfig, together.error().message};
  if (validate_only || *config == target->config) return {};
  const Refusal refusal = put(core, *target, std::move(*config), defaults.dynamic);
  if (refusal.error == ErrorCode::kNone)
    log_info("broker", "configuration of {} changed",
             of_topic ? fmt::format("topic '{}'", target->name) : std::string("the broker"));
  return refusal;
}

template <typename Response, typename Message, typename Change>
void alter_all(Core& core, Request& request, const Message& message, Change change) {
  std::map<std::pair<int8_t, std::string>, int> times;
  for (const auto& asked : message.resources) ++times[{asked.resource_type, asked.resource_name}];
  Response response;
  std::set<std::pair<int8_t, std::string>> done;
  for (const auto& asked : message.resources) {
    if (!done.insert({asked.resource_type, asked.resource_name}).second) continue;
    auto& answer = response.responses.emplace_back();
    answer.resource_type = asked.resource_type;
    answer.resource_name = asked.resource_name;
    answer.error_message.reset();
    const Refusal refusal = times[{asked.resource_type, asked.resource_name}] == 1
                                ? alter(core, asked, message.validate_only, change)
                                : Refusal{ErrorCode::kInvalidRequest, "the resource is named twice"};
    answer.error_code = refusal.error;
    if (refusal.error != ErrorCode::kNone) answer.error_message = refusal.message;
  }
  respond(request, response);
}

}  // namespace

void handle_alter_configs(Core& core, Request request, wire::AlterConfigsRequest message) {
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    alter_all<wire::AlterConfigsResponse>(core, request, message, replaced);
  });
}

void handle_incremental_alter_configs(Core& core, Request request, wire::IncrementalAlterConfigsRequest message) {
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    alter_all<wire::IncrementalAlterConfigsResponse>(core, request, message, changed);
  });
}

void handle_list_config_resources(Core& core, Request request, wire::ListConfigResourcesRequest message) {
  wire::ListConfigResourcesResponse response;
  // Those that Kafka knows: also of loggers, clients' metrics and groups, which have no configurations here.
  const auto is_known = [](int8_t type) {
    return type == kTopicResource || type == kBrokerResource || type == 8 || type == 16 || type == 32;
  };
  if (!std::ranges::all_of(message.resource_types, is_known)) {
    response.error_code = ErrorCode::kUnsupportedVersion;
    return respond(request, response);
  }
  // Version 0 asks for subscriptions to clients' metrics, of which there are none.
  if (request.header.api_version > 0) {
    const auto wanted = [&](int8_t type) {
      return message.resource_types.empty() || std::ranges::count(message.resource_types, type) > 0;
    };
    const auto add = [&](std::string name, int8_t type) {
      auto& resource = response.config_resources.emplace_back();
      resource.resource_name = std::move(name);
      resource.resource_type = type;
    };
    if (wanted(kTopicResource))
      for (const auto& [name, topic] : core.topics.snapshot()->all()) add(name, kTopicResource);
    if (wanted(kBrokerResource)) add(fmt::format("{}", core.node_id()), kBrokerResource);
  }
  respond(request, response);
}

}  // namespace millrace::broker
