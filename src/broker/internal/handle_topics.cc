#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/refusal.h"
#include "broker/internal/topic_configs_shown.h"
#include "log/topic_name.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Creatable = wire::CreateTopicsRequest::CreatableTopic;
using Created = wire::CreateTopicsResponse::CreatableTopicResult;

// What a valid request amounts to.
struct Plan {
  int32_t partitions = 1;
  std::map<std::string, std::string> config;
};

tl::expected<int32_t, Refusal> partitions_of_assignments(const Core& core, const Creatable& asked) {
  if (asked.num_partitions != -1 || asked.replication_factor != -1)
    return refuse(ErrorCode::kInvalidRequest, "with assignments, partitions and replication factor must be -1");
  std::set<int32_t> seen;
  for (const auto& assignment : asked.assignments) {
    if (!seen.insert(assignment.partition_index).second)
      return refuse(ErrorCode::kInvalidReplicaAssignment, "a partition is assigned twice");
    if (std::ranges::count(assignment.broker_ids, core.node_id()) != 1 || assignment.broker_ids.size() != 1)
      return refuse(ErrorCode::kInvalidReplicaAssignment, fmt::format("the only broker has id {}", core.node_id()));
  }
  const auto count = static_cast<int32_t>(seen.size());
  if (*seen.begin() != 0 || *seen.rbegin() != count - 1)
    return refuse(ErrorCode::kInvalidReplicaAssignment, "the partitions are not 0, 1, 2, …");
  return count;
}

tl::expected<int32_t, Refusal> partitions_of(const Core& core, const Creatable& asked) {
  if (!asked.assignments.empty()) return partitions_of_assignments(core, asked);
  const auto count =
      asked.num_partitions == -1 ? static_cast<int32_t>(core.settings.num_partitions) : asked.num_partitions;
  if (count < 1 || count > log::kPartitionsMax)
    return refuse(ErrorCode::kInvalidPartitions,
                  fmt::format("{} partitions; 1 to {} can be", count, log::kPartitionsMax));
  if (asked.replication_factor == 0 || asked.replication_factor < -1)
    return refuse(ErrorCode::kInvalidReplicationFactor, fmt::format("replication factor {}", asked.replication_factor));
  if (asked.replication_factor > 1)
    log_info("broker", "topic '{}' asks for {} replicas and gets 1: this is a single broker", asked.name,
             asked.replication_factor);
  return count;
}

tl::expected<Plan, Refusal> plan(const Core& core, const Creatable& asked) {
  if (const auto valid = log::check_topic_name(asked.name); !valid)
    return refuse(ErrorCode::kInvalidTopicException, valid.error().message);
  if (core.topics.snapshot()->find(asked.name))
    return refuse(ErrorCode::kTopicAlreadyExists, fmt::format("topic '{}' exists already", asked.name));
  if (const auto other = core.topics.snapshot()->find_colliding(asked.name))
    return refuse(
        ErrorCode::kInvalidTopicException,
        fmt::format("topic '{}' collides with '{}': '.' and '_' count as the same", asked.name, other->name()));
  const auto partitions = partitions_of(core, asked);
  if (!partitions) return tl::unexpected(partitions.error());
  Plan planned{.partitions = *partitions, .config = {}};
  for (const auto& config : asked.configs) {
    auto value = check_topic_config(config.name, config.value);
    if (!value) return refuse(ErrorCode::kInvalidConfig, value.error().message);
    planned.config.insert_or_assign(config.name, std::move(*value));
  }
  if (const auto valid = check_topic_configs_together(planned.config, core.topics.snapshot()->defaults()); !valid)
    return refuse(ErrorCode::kInvalidConfig, valid.error().message);
  return planned;
}

Created refused(const std::string& name, Refusal refusal) {
  Created result;
  result.name = name;
  result.error_code = refusal.error;
  result.error_message = std::move(refusal.message);
  result.configs.emplace();
  return result;
}

// `partitions_left` in this request: as in Kafka, one request does not make more than kPartitionsMax.
Created create_one(Core& core, const Creatable& asked, bool validate_only, int32_t& partitions_left) {
  auto planned = plan(core, asked);
  if (!planned) return refused(asked.name, std::move(planned.error()));
  if (planned->partitions > partitions_left)
    return refused(asked.name, {ErrorCode::kPolicyViolation,
                                fmt::format("more than {} partitions in one request", log::kPartitionsMax)});
  partitions_left -= planned->partitions;
  Created result;
  result.name = asked.name;
  result.error_message.reset();
  result.num_partitions = planned->partitions;
  result.replication_factor = 1;
  result.configs.emplace();
  for (const ShownConfig& config : shown_topic_configs(planned->config, core.topics.snapshot()->defaults())) {
    auto& out = result.configs->emplace_back();
    out.name = config.name;
    out.value = config.value();
    out.config_source = static_cast<int8_t>(config.source());
  }
  if (validate_only) return result;
  const auto made = core.topics.create(asked.name, planned->partitions, std::move(planned->config));
  if (!made) return refused(asked.name, {to_wire(made.error().code), made.error().message});
  result.topic_id = (*made)->id();
  return result;
}

void create_topics(Core& core, Request& request, const wire::CreateTopicsRequest& message) {
  std::map<std::string, int> times;
  for (const Creatable& asked : message.topics) ++times[asked.name];
  wire::CreateTopicsResponse response;
  std::set<std::string> done;
  int32_t partitions_left = log::kPartitionsMax;
  for (const Creatable& asked : message.topics) {
    if (!done.insert(asked.name).second) continue;
    response.topics.push_back(times[asked.name] == 1
                                  ? create_one(core, asked, message.validate_only, partitions_left)
                                  : refused(asked.name, {ErrorCode::kInvalidRequest, "the topic is named twice"}));
  }
  respond(request, response);
}

using Deletable = wire::DeleteTopicsRequest::DeleteTopicState;
using Deleted = wire::DeleteTopicsResponse::DeletableTopicResult;

Deleted not_deleted(Deleted result, ErrorCode error, std::string message, int16_t version) {
  result.error_code = error;
  if (version >= 5) result.error_message = std::move(message);
  return result;
}

Deleted delete_one(Core& core, const Deletable& asked, int16_t version) {
  const bool by_id = !asked.topic_id.is_zero();
  Deleted result;
  result.name = asked.name;
  result.topic_id = asked.topic_id;
  if (by_id == asked.name.has_value())
    return not_deleted(std::move(result), ErrorCode::kInvalidRequest,
                       by_id ? "a topic has a name or an id here, not both" : "a topic without a name or an id",
                       version);
  const auto topics = core.topics.snapshot();
  const auto state = by_id ? topics->find(asked.topic_id) : topics->find(asked.name.value_or(""));
  if (!state)
    return not_deleted(std::move(result), by_id ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition,
                       "there is no such topic", version);
  result.name = state->name();
  result.topic_id = state->id();
  if (state->internal)
    return not_deleted(std::move(result), ErrorCode::kInvalidRequest, "internal topics cannot be deleted", version);
  if (const auto removed = core.topics.remove(state->name()); !removed)
    return not_deleted(std::move(result), to_wire(removed.error().code), removed.error().message, version);
  log_info("broker", "topic '{}' deleted", state->name());
  core.purgatory.removed(state->topic->partitions);
  core.groups.post([&core, name = state->name()] { core.groups.topic_deleted(name); });
  return result;
}

void delete_topics(Core& core, Request& request, const wire::DeleteTopicsRequest& message) {
  constexpr int16_t kStatesFrom = 6;
  const int16_t version = request.header.api_version;
  std::vector<Deletable> all = message.topics;
  if (version < kStatesFrom) {
    for (const std::string& name : message.topic_names) all.emplace_back().name = name;
  }
  // A topic that is named twice, be it by its name and its id, stays: who asks so is mistaken about something.
  const auto topics = core.topics.snapshot();
  const auto key_of = [&](const Deletable& asked) {
    const auto state = asked.name ? topics->find(*asked.name) : topics->find(asked.topic_id);
    return std::pair(state ? state->name() : asked.name.value_or(""), state ? Uuid{} : asked.topic_id);
  };
  std::map<std::pair<std::string, Uuid>, int> times;
  for (const Deletable& asked : all) ++times[key_of(asked)];
  wire::DeleteTopicsResponse response;
  for (const Deletable& asked : all) {
    int& left = times[key_of(asked)];
    if (left == 1) response.responses.push_back(delete_one(core, asked, version));
    if (left > 1)
      response.responses.push_back(not_deleted({.name = asked.name, .topic_id = asked.topic_id},
                                               ErrorCode::kInvalidRequest, "the topic is named twice", version));
    left = 0;
  }
  respond(request, response);
}

}  // namespace

void handle_create_topics(Core& core, Request request, wire::CreateTopicsRequest message) {
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    create_topics(core, request, message);
  });
}

void handle_delete_topics(Core& core, Request request, wire::DeleteTopicsRequest message) {
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    delete_topics(core, request, message);
  });
}

}  // namespace millrace::broker
