#pragma once

#include <cstddef>
#include <utility>

#include "broker/internal/topics.h"
#include "coord/requests.h"
#include "wire/error_code.h"

// What OffsetCommit and TxnOffsetCommit have in common.
namespace millrace::broker {

// The offsets that a request's `topics` have are added to `commit`, their metadata moved, and `answered` gets the
// response in the request's shape. Partitions that do not exist are refused there, and not added.
template <typename AskedTopics, typename AnsweredTopics>
void take_offsets(AskedTopics& topics, const TopicTable& table, coord::CommitRequest& commit,
                  AnsweredTopics& answered) {
  for (auto& topic : topics) {
    auto& answers = answered.emplace_back();
    answers.name = topic.name;
    const auto state = table.find(topic.name);
    for (auto& asked : topic.partitions) {
      auto& partition = answers.partitions.emplace_back();
      partition.partition_index = asked.partition_index;
      if (state == nullptr || state->partition(asked.partition_index) == nullptr) {
        partition.error_code = wire::ErrorCode::kUnknownTopicOrPartition;
        continue;
      }
      commit.offsets.push_back({.topic = topic.name,
                                .partition = PartitionId{asked.partition_index},
                                .offset = Offset{asked.committed_offset},
                                .leader_epoch = asked.committed_leader_epoch,
                                .metadata = std::move(asked.committed_metadata).value_or("")});
    }
  }
}

// What the records of a commit take, roughly: each has the group and the topic in it, which the request has only once.
// As in Kafka, a commit whose records are more than message.max.bytes is refused with INVALID_COMMIT_OFFSET_SIZE.
inline size_t record_bytes(const coord::CommitRequest& commit) {
  constexpr size_t kNumbersBytes = 50;
  size_t bytes = 0;
  for (const coord::OffsetToCommit& offset : commit.offsets)
    bytes += kNumbersBytes + commit.group.size() + offset.topic.size() + offset.metadata.size();
  return bytes;
}

}  // namespace millrace::broker
