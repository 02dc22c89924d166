#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_writer.h"
#include "base/result.h"
#include "env/file_system.h"
#include "log/internal/producer_state.h"
#include "log/internal/segment.h"
#include "log/store.h"

namespace millrace::log {

struct EpochStart {
  LeaderEpoch epoch{0};
  Offset start_offset{0};
};

// A partition at a checkpoint.
struct PartitionSnapshot {
  bool has_directory = false;
  Offset log_start_offset{0};
  Offset log_end_offset{0};
  LeaderEpoch leader_epoch{0};
  Offset cleaned_offset{0};        // compacted up to here
  std::vector<EpochStart> epochs;  // ascending
  SegmentEnd active;
  Bytes producers;          // ProducerStates::encode()
  Bytes open_transactions;  // OpenTransactions::encode()
};

struct TopicSnapshot {
  uint32_t number = 0;
  TopicInfo info;
  std::vector<PartitionSnapshot> partitions;
};

// Everything that the write-ahead log from `position` on is to be applied to. docs/formats/checkpoint.md.
struct CheckpointContent {
  uint64_t position = 0;
  uint32_t next_topic_number = 1;
  std::vector<TopicSnapshot> topics;
};

Bytes encode_checkpoint(const CheckpointContent& content);
Result<CheckpointContent> decode_checkpoint(ByteView bytes);

// Atomically; durable on return.
Status write_checkpoint(env::FileSystem& files, const std::string& path, const CheckpointContent& content);
// Errors name the file. kNotFound if there is none.
Result<CheckpointContent> read_checkpoint(env::FileSystem& files, const std::string& path);

}  // namespace millrace::log
