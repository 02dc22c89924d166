#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/refusal.h"
#include "broker/internal/topic_config.h"

// What administrators change in partitions: how many there are, and where they begin.
namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Checked = tl::expected<void, Refusal>;

using Growth = wire::CreatePartitionsRequest::CreatePartitionsTopic;
using Grown = wire::CreatePartitionsResponse::CreatePartitionsTopicResult;

Checked check_growth(const Core& core, const Growth& asked) {
  const auto state = core.topics.snapshot()->find(asked.name);
  if (!state) return refuse(ErrorCode::kUnknownTopicOrPartition, "there is no such topic");
  const int32_t current = state->partitions();
  if (state->internal)
    return refuse(ErrorCode::kInvalidRequest, "the partitions of an internal topic say where its records are: fixed");
  if (asked.count <= current)
    return refuse(ErrorCode::kInvalidPartitions,
                  fmt::format("topic '{}' has {} partitions: {} is no increase", asked.name, current, asked.count));
  if (asked.count > log::kPartitionsMax)
    return refuse(ErrorCode::kInvalidPartitions,
                  fmt::format("{} partitions; at most {} can be", asked.count, log::kPartitionsMax));
  if (!asked.assignments) return {};
  if (std::ssize(*asked.assignments) != asked.count - current)
    return refuse(ErrorCode::kInvalidReplicaAssignment, fmt::format("{} assignments for {} new partitions",
                                                                    asked.assignments->size(), asked.count - current));
  for (const auto& assignment : *asked.assignments) {
    if (assignment.broker_ids != std::vector<int32_t>{core.node_id()})
      return refuse(ErrorCode::kInvalidReplicaAssignment, fmt::format("the only broker has id {}", core.node_id()));
  }
  return {};
}

// `partitions_left` to make in this request: as in Kafka, one does not make more than kPartitionsMax.
Checked grow(Core& core, const Growth& asked, bool validate_only, int32_t& partitions_left) {
  if (const auto checked = check_growth(core, asked); !checked) return checked;
  const auto state = core.topics.snapshot()->find(asked.name);
  const int32_t more = asked.count - (state ? state->partitions() : 0);
  if (more > partitions_left)
    return refuse(ErrorCode::kPolicyViolation,
                  fmt::format("more than {} partitions in one request", log::kPartitionsMax));
  partitions_left -= more;
  if (validate_only) return {};
  const auto grown = core.topics.add_partitions(asked.name, asked.count);
  if (!grown) return refuse(to_wire(grown.error().code), grown.error().message);
  log_info("broker", "topic '{}' has {} partitions now", asked.name, asked.count);
  return {};
}

void create_partitions(Core& core, Request& request, const wire::CreatePartitionsRequest& message) {
  std::map<std::string, int> times;
  for (const Growth& asked : message.topics) ++times[asked.name];
  wire::CreatePartitionsResponse response;
  int32_t partitions_left = log::kPartitionsMax;
  for (const Growth& asked : message.topics) {
    int& left = times[asked.name];
    if (left == 0) continue;  // answered
    Grown& result = response.results.emplace_back();
    result.name = asked.name;
    const Checked done = left == 1 ? grow(core, asked, message.validate_only, partitions_left)
                                   : refuse(ErrorCode::kInvalidRequest, "the topic is named twice");
    left = 0;
    if (done) continue;
    result.error_code = done.error().error;
    result.error_message = done.error().message;
  }
  respond(request, response);
}

using Deletion = wire::DeleteRecordsRequest::DeleteRecordsPartition;
using Deleted = wire::DeleteRecordsResponse::DeleteRecordsPartitionResult;

constexpr int64_t kHighWatermark = -1;

// Why the records of a topic stay, whatever the offset.
ErrorCode check_deletable(const TopicTable& topics, const TopicState* state) {
  if (state == nullptr) return ErrorCode::kUnknownTopicOrPartition;
  if (state->internal) return ErrorCode::kInvalidTopicException;
  // A compacted topic's records are the state of their keys.
  const log::TopicPolicy policy = parse_topic_policy(state->topic->info.config, topics.defaults());
  return policy.compacts && !policy.deletes ? ErrorCode::kPolicyViolation : ErrorCode::kNone;
}

Deleted delete_records(const TopicState& state, const Deletion& asked, log::WalPosition& last) {
  Deleted result;
  result.partition_index = asked.partition_index;
  result.low_watermark = -1;
  const auto* partition = state.partition(asked.partition_index);
  if (partition == nullptr) {
    result.error_code = ErrorCode::kUnknownTopicOrPartition;
    return result;
  }
  const Offset to = asked.offset == kHighWatermark ? (*partition)->high_watermark() : Offset{asked.offset};
  const auto position = (*partition)->advance_log_start(to);
  if (!position) {
    const bool outside = position.error().code == Errc::kInvalidArgument;
    result.error_code = outside ? ErrorCode::kOffsetOutOfRange : to_wire(position.error().code);
    return result;
  }
  last = std::max(last, *position);
  result.low_watermark = (*partition)->log_start_offset().value();
  return result;
}

void refuse_undone(wire::DeleteRecordsResponse& response) {
  for (auto& topic : response.topics) {
    for (Deleted& partition : topic.partitions) {
      if (partition.error_code != ErrorCode::kNone) continue;
      partition.error_code = ErrorCode::kKafkaStorageError;
      partition.low_watermark = -1;
    }
  }
}

// Appends may wait for the write-ahead log's buffer, so this is on the worker thread.
void delete_records(Core& core, Request request, const wire::DeleteRecordsRequest& message) {
  const auto topics = core.topics.snapshot();
  wire::DeleteRecordsResponse response;
  log::WalPosition last{0};
  for (const auto& topic : message.topics) {
    auto& answered = response.topics.emplace_back();
    answered.name = topic.name;
    const auto state = topics->find(topic.name);
    const ErrorCode refused = check_deletable(*topics, state.get());
    for (const Deletion& asked : topic.partitions) {
      if (refused == ErrorCode::kNone) {
        answered.partitions.push_back(delete_records(*state, asked, last));
      } else {
        answered.partitions.push_back({asked.partition_index, -1, refused});
      }
    }
  }
  const auto waiting =
      std::make_shared<std::pair<Request, wire::DeleteRecordsResponse>>(std::move(request), std::move(response));
  core.store.when_durable(last, [waiting](const Status& durable) {
    // Not on the log's thread, which others wait for.
    waiting->first.reply.home().post([waiting, is_done = durable.has_value()] {
      if (!is_done) refuse_undone(waiting->second);
      respond(waiting->first, waiting->second);
    });
  });
}

}  // namespace

void handle_create_partitions(Core& core, Request request, wire::CreatePartitionsRequest message) {
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    create_partitions(core, request, message);
  });
}

void handle_delete_records(Core& core, Request request, wire::DeleteRecordsRequest message) {
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    delete_records(core, std::move(request), message);
  });
}

}  // namespace millrace::broker
