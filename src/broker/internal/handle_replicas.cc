#include <fmt/core.h>

#include <set>
#include <string>
#include <utility>

#include "broker/internal/handlers.h"

// Leaders and replicas: on a single node each partition has its one leader, which is its one replica, and nothing
// moves.
namespace millrace::broker {
namespace {

using wire::ErrorCode;

const char* const kNoSuchPartition = "there is no such partition";

// Why a partition cannot have these replicas; empty: it can, and has.
std::string check_replicas(const Core& core, const std::vector<int32_t>& replicas) {
  if (replicas.empty()) return "the list of replicas is empty";
  std::set<int32_t> seen;
  for (const int32_t id : replicas) {
    if (id != core.node_id()) return fmt::format("there is no broker {}: the only one has id {}", id, core.node_id());
    if (!seen.insert(id).second) return fmt::format("broker {} is there twice", id);
  }
  return {};
}

}  // namespace

void handle_elect_leaders(Core& core, Request request, wire::ElectLeadersRequest message) {
  constexpr int8_t kPreferred = 0;
  constexpr int8_t kUnclean = 1;
  wire::ElectLeadersResponse response;
  if (message.election_type != kPreferred && message.election_type != kUnclean) {
    response.error_code = ErrorCode::kInvalidRequest;
    return respond(request, response);
  }
  const auto topics = core.topics.snapshot();
  // Of all partitions those are told where something was done: none.
  if (!message.topic_partitions) return respond(request, response);
  for (const auto& topic : *message.topic_partitions) {
    auto& answered = response.replica_election_results.emplace_back();
    answered.topic = topic.topic;
    for (const int32_t index : topic.partitions) {
      auto& result = answered.partition_result.emplace_back();
      result.partition_id = index;
      if (topics->find_partition(topic.topic, index) != nullptr) {
        result.error_code = ErrorCode::kElectionNotNeeded;
        result.error_message = "the only replica leads";
      } else {
        result.error_code = ErrorCode::kUnknownTopicOrPartition;
        result.error_message = kNoSuchPartition;
      }
    }
  }
  respond(request, response);
}

void handle_alter_partition_reassignments(Core& core, Request request,
                                          wire::AlterPartitionReassignmentsRequest message) {
  const auto topics = core.topics.snapshot();
  wire::AlterPartitionReassignmentsResponse response;
  response.error_message.reset();
  if (request.header.api_version >= 1)
    response.allow_replication_factor_change = message.allow_replication_factor_change;
  for (const auto& topic : message.topics) {
    auto& answered = response.responses.emplace_back();
    answered.name = topic.name;
    for (const auto& asked : topic.partitions) {
      auto& result = answered.partitions.emplace_back();
      result.partition_index = asked.partition_index;
      result.error_message.reset();
      const auto refuse = [&](ErrorCode error, std::string why) {
        result.error_code = error;
        result.error_message = std::move(why);
      };
      if (topics->find_partition(topic.name, asked.partition_index) == nullptr) {
        refuse(ErrorCode::kUnknownTopicOrPartition, kNoSuchPartition);
      } else if (!asked.replicas) {
        refuse(ErrorCode::kNoReassignmentInProgress, "the partition is not being moved");
      } else if (std::string why = check_replicas(core, *asked.replicas); !why.empty()) {
        refuse(ErrorCode::kInvalidReplicaAssignment, std::move(why));
      }
    }
  }
  respond(request, response);
}

void handle_list_partition_reassignments(Core&, Request request, wire::ListPartitionReassignmentsRequest) {
  wire::ListPartitionReassignmentsResponse response;
  response.error_message.reset();
  respond(request, response);
}

}  // namespace millrace::broker
