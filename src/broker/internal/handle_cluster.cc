#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "broker/internal/authorized_operations.h"
#include "broker/internal/cluster_features.h"
#include "broker/internal/handlers.h"
#include "broker/internal/shortened.h"
#include "log/topic_name.h"

// The cluster as it is: one node, which is broker and controller.
namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Described = wire::DescribeTopicPartitionsResponse::DescribeTopicPartitionsResponseTopic;
using DescribedPartition = wire::DescribeTopicPartitionsResponse::DescribeTopicPartitionsResponsePartition;

DescribedPartition describe(const Core& core, const TopicState& state, int32_t index) {
  DescribedPartition partition;
  partition.partition_index = index;
  partition.leader_id = core.node_id();
  partition.leader_epoch = (*state.partition(index))->leader_epoch().value();
  partition.replica_nodes = {core.node_id()};
  partition.isr_nodes = {core.node_id()};
  partition.eligible_leader_replicas.emplace();
  partition.last_known_elr.emplace();
  return partition;
}

// The names to describe, sorted, from the cursor on. False: the cursor is not one of them.
bool choose_topics(const TopicTable& topics, const wire::DescribeTopicPartitionsRequest& message,
                   std::set<std::string>& names) {
  const std::string from = message.cursor ? message.cursor->topic_name : "";
  if (message.topics.empty()) {
    for (const auto& [name, state] : topics.all())
      if (name >= from) names.insert(name);
    return true;
  }
  for (const auto& topic : message.topics)
    if (topic.name >= from) names.insert(topic.name);
  return !message.cursor || names.contains(from);
}

Described describe_missing(const std::string& name) {
  Described topic;
  topic.name = name;
  topic.error_code =
      log::check_topic_name(name) ? ErrorCode::kUnknownTopicOrPartition : ErrorCode::kInvalidTopicException;
  return topic;
}

// A page: `limit` partitions at most, and where the next one begins.
wire::DescribeTopicPartitionsResponse describe_page(const Core& core, const TopicTable& topics,
                                                    const std::set<std::string>& names,
                                                    const wire::DescribeTopicPartitionsRequest& message,
                                                    int32_t limit) {
  wire::DescribeTopicPartitionsResponse response;
  for (const std::string& name : names) {
    const auto state = topics.find(name);
    if (!state) {
      response.topics.push_back(describe_missing(name));
      continue;
    }
    const bool cut = message.cursor && message.cursor->topic_name == name;
    int32_t index = cut ? std::max(message.cursor->partition_index, 0) : 0;
    if (limit == 0) {
      response.next_cursor.emplace(name, index);
      return response;
    }
    Described& topic = response.topics.emplace_back();
    topic.name = name;
    topic.topic_id = state->id();
    topic.is_internal = state->internal;
    topic.topic_authorized_operations = kTopicOperations;
    for (; index < state->partitions() && limit > 0; ++index, --limit)
      topic.partitions.push_back(describe(core, *state, index));
    if (index < state->partitions()) {
      response.next_cursor.emplace(name, index);
      return response;
    }
  }
  return response;
}

}  // namespace

void handle_describe_topic_partitions(Core& core, Request request, wire::DescribeTopicPartitionsRequest message) {
  // Kafka's max.request.partition.size.limit.
  constexpr int32_t kPartitionsPerAnswer = 2000;
  const auto topics = core.topics.snapshot();
  std::set<std::string> names;
  const bool begins_nowhere = message.cursor && message.cursor->partition_index < 0;
  if (!choose_topics(*topics, message, names) || begins_nowhere) {
    wire::DescribeTopicPartitionsResponse refused;
    for (const auto& topic : message.topics) {
      auto& answered = refused.topics.emplace_back();
      answered.name = topic.name;
      answered.error_code = ErrorCode::kInvalidRequest;
    }
    return respond(request, refused);
  }
  respond(request, describe_page(core, *topics, names, message,
                                 std::clamp(message.response_partition_limit, 1, kPartitionsPerAnswer)));
}

void handle_describe_cluster(Core& core, Request request, wire::DescribeClusterRequest message) {
  constexpr int8_t kBrokers = 1;
  constexpr int8_t kControllers = 2;
  wire::DescribeClusterResponse response;
  if (request.header.api_version >= 1) response.endpoint_type = kBrokers;
  if (message.endpoint_type != kBrokers) {
    response.error_code = message.endpoint_type == kControllers ? ErrorCode::kMismatchedEndpointType
                                                                : ErrorCode::kUnsupportedEndpointType;
    response.error_message = "this is a broker's address";
    return respond(request, response);
  }
  const ListenerAddress& address = core.advertised[request.listener];
  response.cluster_id = core.store.cluster_id().to_string();
  response.controller_id = core.node_id();
  auto& broker = response.brokers.emplace_back();
  broker.broker_id = core.node_id();
  broker.host = address.host;
  broker.port = address.port;
  if (message.include_cluster_authorized_operations) response.cluster_authorized_operations = kClusterOperations;
  respond(request, response);
}

// There is no metadata log: topics are in the write-ahead log of all. The one voter leads.
void handle_describe_quorum(Core& core, Request request, wire::DescribeQuorumRequest message) {
  const int16_t version = request.header.api_version;
  constexpr int16_t kNodesFrom = 2;
  wire::DescribeQuorumResponse response;
  if (version >= kNodesFrom) response.error_message.reset();
  for (const auto& topic : message.topics) {
    auto& answered = response.topics.emplace_back();
    answered.topic_name = topic.topic_name;
    for (const auto& asked : topic.partitions) {
      auto& partition = answered.partitions.emplace_back();
      partition.partition_index = asked.partition_index;
      if (version >= kNodesFrom) partition.error_message.reset();
      if (topic.topic_name != "__cluster_metadata" || asked.partition_index != 0) {
        partition.error_code = ErrorCode::kUnknownTopicOrPartition;
        continue;
      }
      partition.leader_id = core.node_id();
      // There is no log of metadata: it is told of as an empty one.
      partition.high_watermark = 0;
      auto& voter = partition.current_voters.emplace_back();
      voter.replica_id = core.node_id();
      voter.log_end_offset = 0;
    }
  }
  if (version >= kNodesFrom) {
    const ListenerAddress& address = core.advertised[request.listener];
    auto& node = response.nodes.emplace_back();
    node.node_id = core.node_id();
    node.listeners.push_back({"PLAINTEXT", address.host, address.port});
  }
  respond(request, response);
}

// The one feature stays at its level: only that may be asked for. One that may not be had refuses all.
void handle_update_features(Core&, Request request, wire::UpdateFeaturesRequest message) {
  constexpr int16_t kOneErrorFrom = 2;
  constexpr int16_t kTypesFrom = 1;
  const bool has_types = request.header.api_version >= kTypesFrom;
  wire::UpdateFeaturesResponse response;
  response.error_message.reset();
  const auto why = [&](const auto& update) -> std::optional<std::string> {
    constexpr int8_t kUnsafeDowngrade = 3;
    if (has_types && (update.upgrade_type < 1 || update.upgrade_type > kUnsafeDowngrade))
      return fmt::format("there is no upgrade type {}", update.upgrade_type);
    if (update.feature != kTransactionVersion)
      return fmt::format("there is no feature '{}' here", shortened(update.feature));
    if (update.max_version_level == kTransactionVersionLevel) return std::nullopt;
    return fmt::format("{} is {} here, and stays so", kTransactionVersion, kTransactionVersionLevel);
  };
  for (const auto& update : message.feature_updates) {
    response.error_message = why(update);
    if (response.error_message) {
      response.error_code = ErrorCode::kInvalidUpdateVersion;
      break;
    }
  }
  if (!response.error_message && request.header.api_version < kOneErrorFrom)
    for (const auto& update : message.feature_updates)
      response.results.push_back({update.feature, ErrorCode::kNone, std::nullopt});
  respond(request, response);
}

}  // namespace millrace::broker
