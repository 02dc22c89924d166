#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/internal/authorized_operations.h"
#include "broker/internal/drop_repeats.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "log/topic_name.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Topic = wire::MetadataResponse::MetadataResponseTopic;

Topic describe(const Core& core, const TopicState& state) {
  Topic topic;
  topic.name = state.name();
  topic.topic_id = state.id();
  topic.is_internal = state.internal;
  for (int32_t index = 0; index < state.partitions(); ++index) {
    wire::MetadataResponse::MetadataResponsePartition partition;
    partition.partition_index = index;
    partition.leader_id = core.node_id();
    partition.leader_epoch = (*state.partition(index))->leader_epoch().value();
    partition.replica_nodes = {core.node_id()};
    partition.isr_nodes = {core.node_id()};
    topic.partitions.push_back(std::move(partition));
  }
  return topic;
}

Topic refuse(std::optional<std::string> name, const Uuid& id, ErrorCode error) {
  Topic topic;
  topic.error_code = error;
  topic.name = std::move(name);
  topic.topic_id = id;
  return topic;
}

bool wants_all(const Request& request, const wire::MetadataRequest& message) {
  return !message.topics || (request.header.api_version == 0 && message.topics->empty());
}

// Versions 10 and 11 have a place for ids in requests, but, in Kafka, no meaning: there it stands for nothing but
// names.
constexpr int16_t kIdsFrom = 12;

bool is_by_id(const wire::MetadataRequest::MetadataRequestTopic& asked) {
  return !asked.topic_id.is_zero() || !asked.name;
}

// Versions 8 to 10 have it for the cluster, too.
void add_authorized_operations(const wire::MetadataRequest& message, wire::MetadataResponse& response) {
  if (message.include_cluster_authorized_operations) response.cluster_authorized_operations = kClusterOperations;
  if (!message.include_topic_authorized_operations) return;
  for (Topic& topic : response.topics)
    if (topic.error_code == ErrorCode::kNone) topic.topic_authorized_operations = kTopicOperations;
}

void answer(Core& core, Request& request, const wire::MetadataRequest& message) {
  const auto topics = core.topics.snapshot();
  const ListenerAddress& address = core.advertised[request.listener];
  wire::MetadataResponse response;
  wire::MetadataResponse::MetadataResponseBroker broker;
  broker.node_id = core.node_id();
  broker.host = address.host;
  broker.port = address.port;
  response.brokers.push_back(std::move(broker));
  response.cluster_id = core.store.cluster_id().to_string();
  response.controller_id = core.node_id();
  if (wants_all(request, message)) {
    for (const auto& [name, state] : topics->all()) response.topics.push_back(describe(core, *state));
    add_authorized_operations(message, response);
    return respond(request, response);
  }
  if (request.header.api_version < kIdsFrom && std::ranges::any_of(*message.topics, is_by_id)) {
    for (const auto& asked : *message.topics)
      response.topics.push_back(refuse(asked.name.value_or(""), asked.topic_id, ErrorCode::kInvalidRequest));
    return respond(request, response);
  }
  for (const auto& asked : *message.topics) {
    const bool by_id = !asked.topic_id.is_zero();
    const auto state = by_id ? topics->find(asked.topic_id) : topics->find(asked.name.value_or(""));
    if (state)
      response.topics.push_back(describe(core, *state));
    else if (by_id)
      response.topics.push_back(refuse(std::nullopt, asked.topic_id, ErrorCode::kUnknownTopicId));
    else if (!log::check_topic_name(asked.name.value_or("")))
      response.topics.push_back(refuse(asked.name.value_or(""), {}, ErrorCode::kInvalidTopicException));
    else
      response.topics.push_back(refuse(asked.name, {}, ErrorCode::kUnknownTopicOrPartition));
  }
  add_authorized_operations(message, response);
  respond(request, response);
}

}  // namespace

void handle_metadata(Core& core, Request request, wire::MetadataRequest message) {
  if (message.topics)
    drop_repeats(*message.topics, [](const auto& asked) { return std::pair(asked.name, asked.topic_id); });
  std::set<std::string> to_create;
  if (!wants_all(request, message) && core.settings.auto_create_topics && message.allow_auto_topic_creation) {
    const auto topics = core.topics.snapshot();
    // No more than one request of an administrator could.
    const auto topics_max = static_cast<size_t>(log::kPartitionsMax / core.settings.num_partitions);
    for (const auto& asked : *message.topics)
      if (asked.topic_id.is_zero() && asked.name && to_create.size() < topics_max && !topics->find(*asked.name) &&
          log::check_topic_name(*asked.name) && !topics->find_colliding(*asked.name))
        to_create.insert(*asked.name);
  }
  if (to_create.empty()) return answer(core, request, message);
  core.worker.post(
      [&core, to_create = std::move(to_create), request = std::move(request), message = std::move(message)]() mutable {
        for (const std::string& name : to_create) {
          const auto made = is_internal_topic(name)
                                ? core.topics.create_internal(name)
                                : core.topics.create(name, static_cast<int32_t>(core.settings.num_partitions), {});
          if (made)
            log_info("broker", "topic '{}' made for a client that asked for it", name);
          else if (made.error().code != Errc::kAlreadyExists)
            log_warning("broker", "topic '{}' could not be made: {}", name, made.error().message);
        }
        answer(core, request, message);
      });
}

}  // namespace millrace::broker
