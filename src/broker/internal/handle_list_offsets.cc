#include <set>
#include <string_view>
#include <utility>

#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/isolation.h"
#include "broker/internal/leader_epochs.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;
using PartitionResponse = wire::ListOffsetsResponse::ListOffsetsPartitionResponse;

// Timestamps that stand for a position.
constexpr int64_t kLatest = -1;
constexpr int64_t kEarliest = -2;
constexpr int64_t kMaxTimestamp = -3;
constexpr int64_t kEarliestLocal = -4;
constexpr int64_t kLatestTiered = -5;

// The version that brought each.
int16_t version_of(int64_t timestamp) {
  if (timestamp >= kEarliest) return 1;
  if (timestamp == kMaxTimestamp) return 7;
  if (timestamp == kEarliestLocal) return 8;
  if (timestamp == kLatestTiered) return 9;
  return INT16_MAX;
}

bool needs_lookup(int64_t timestamp) { return timestamp >= 0 || timestamp == kMaxTimestamp; }

// The end of what the reader may see.
Offset end_of(const log::Partition& partition, log::Isolation isolation) {
  return isolation == log::Isolation::kReadCommitted ? partition.last_stable_offset() : partition.high_watermark();
}

void look_up(const log::Partition& partition, int64_t timestamp, log::Isolation isolation,
             PartitionResponse& response) {
  const auto found =
      timestamp == kMaxTimestamp ? partition.offset_of_max_timestamp() : partition.offset_for_time(timestamp);
  if (!found) {
    response.error_code = to_wire(found.error().code);
    return;
  }
  // -1, -1: there is none, or none that the reader may see.
  if (!*found || (*found)->offset >= end_of(partition, isolation)) return;
  response.offset = (*found)->offset.value();
  response.timestamp = (*found)->timestamp_ms;
  response.leader_epoch = (*found)->leader_epoch.value();
}

PartitionResponse find_offset(const TopicState* topic, const wire::ListOffsetsRequest::ListOffsetsPartition& asked,
                              log::Isolation isolation, int16_t version) {
  PartitionResponse response;
  response.partition_index = asked.partition_index;
  if (version < version_of(asked.timestamp)) {
    response.error_code = ErrorCode::kUnsupportedVersion;
    return response;
  }
  const auto* found = topic == nullptr ? nullptr : topic->partition(asked.partition_index);
  if (found == nullptr) {
    response.error_code = ErrorCode::kUnknownTopicOrPartition;
    return response;
  }
  const log::Partition& partition = **found;
  response.error_code = check_leader_epoch(partition, asked.current_leader_epoch);
  if (response.error_code != ErrorCode::kNone) return response;
  if (needs_lookup(asked.timestamp)) {
    look_up(partition, asked.timestamp, isolation, response);
  } else if (asked.timestamp != kLatestTiered) {  // there is no other tier: -1
    const bool latest = asked.timestamp == kLatest;
    // So that tools that look at every partition's end see it.
    if (latest && partition.damage()) {
      response.error_code = ErrorCode::kKafkaStorageError;
      return response;
    }
    const Offset offset = latest ? end_of(partition, isolation) : partition.log_start_offset();
    response.offset = offset.value();
    response.leader_epoch = (latest ? partition.leader_epoch() : partition.epoch_at(offset)).value();
  }
  return response;
}

using Named = std::pair<std::string_view, int32_t>;

// Which partitions the request names more than once: they are refused, each time, as in Kafka.
std::set<Named> named_again(const wire::ListOffsetsRequest& message) {
  std::set<Named> seen;
  std::set<Named> again;
  for (const auto& topic : message.topics) {
    for (const auto& asked : topic.partitions) {
      const Named named{topic.name, asked.partition_index};
      if (!seen.insert(named).second) again.insert(named);
    }
  }
  return again;
}

void answer(Core& core, Request& request, const wire::ListOffsetsRequest& message) {
  const auto repeated = named_again(message);
  const auto topics = core.topics.snapshot();
  const int16_t version = request.header.api_version;
  const auto isolation = isolation_of(message.isolation_level);
  wire::ListOffsetsResponse response;
  for (const auto& topic : message.topics) {
    auto& answered = response.topics.emplace_back();
    answered.name = topic.name;
    const auto state = topics->find(topic.name);
    for (const auto& asked : topic.partitions) {
      PartitionResponse partition;
      if (repeated.contains({topic.name, asked.partition_index})) {
        partition.partition_index = asked.partition_index;
        partition.error_code = ErrorCode::kInvalidRequest;
      } else {
        partition = find_offset(state.get(), asked, isolation, version);
      }
      if (version < 4) partition.leader_epoch = -1;
      answered.partitions.push_back(partition);
    }
  }
  respond(request, response);
}

}  // namespace

void handle_list_offsets(Core& core, Request request, wire::ListOffsetsRequest message) {
  bool reads_files = false;
  for (const auto& topic : message.topics)
    for (const auto& asked : topic.partitions) reads_files = reads_files || needs_lookup(asked.timestamp);
  if (!reads_files) return answer(core, request, message);
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    answer(core, request, message);
  });
}

void handle_offset_for_leader_epoch(Core& core, Request request, wire::OffsetForLeaderEpochRequest message) {
  const auto topics = core.topics.snapshot();
  wire::OffsetForLeaderEpochResponse response;
  for (const auto& topic : message.topics) {
    auto& answered = response.topics.emplace_back();
    answered.topic = topic.topic;
    const auto state = topics->find(topic.topic);
    for (const auto& asked : topic.partitions) {
      auto& end = answered.partitions.emplace_back();
      end.partition = asked.partition;
      const auto* partition = state ? state->partition(asked.partition) : nullptr;
      if (partition == nullptr) {
        end.error_code = ErrorCode::kUnknownTopicOrPartition;
        continue;
      }
      end.error_code = check_leader_epoch(**partition, asked.current_leader_epoch);
      if (end.error_code != ErrorCode::kNone) continue;
      const log::EpochEnd found = (*partition)->epoch_end_offset(LeaderEpoch{asked.leader_epoch});
      end.leader_epoch = found.epoch.value();
      end.end_offset = found.end_offset.value();
    }
  }
  respond(request, response);
}

}  // namespace millrace::broker
