#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_writer.h"
#include "base/ids.h"

namespace millrace::client {

struct TopicPartition {
  std::string topic;
  PartitionId partition;

  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

// A place in a partition: the next record to read, or the offset to commit.
struct TopicOffset {
  TopicPartition source;
  Offset offset;

  friend auto operator<=>(const TopicOffset&, const TopicOffset&) = default;
};

struct HeaderView {
  std::string_view name;
  std::optional<ByteView> value;
};

// One consumed record. Everything it points to lives as long as the Records it came from, or their owner().
struct RecordView {
  Offset offset;
  int64_t timestamp_ms = -1;  // CreateTime or LogAppendTime, as the topic has it; -1 where the record has none
  const std::byte* key_data = nullptr;
  const std::byte* value_data = nullptr;
  uint32_t key_bytes = 0;
  uint32_t value_bytes = 0;
  const void* message = nullptr;  // for headers()

  bool has_key() const { return key_data != nullptr; }
  bool has_value() const { return value_data != nullptr; }  // no value: a tombstone
  ByteView key() const { return {key_data, key_bytes}; }
  ByteView value() const { return {value_data, value_bytes}; }
  // In the order they were written. Decoded on each call: ask once.
  std::vector<HeaderView> headers() const;
};

// What one poll returned of one partition, in offset order. Offsets may have gaps.
struct PartitionRecords {
  std::string_view topic;
  PartitionId partition;
  std::span<const RecordView> records;
};

// The records of one poll, grouped by partition; nothing is copied out of the client library's buffers. Movable. The
// views are valid until this and every copy of owner() are gone; these may outlive the consumer, and may be destroyed
// on any thread, but a consumer's network buffers and threads end only then: do not keep them long.
class Records {
 public:
  Records() = default;

  bool empty() const { return count_ == 0; }
  size_t count() const { return count_; }
  std::span<const PartitionRecords> partitions() const { return partitions_; }
  // Keeps every view valid: what a column of text views is given with keep_alive().
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  friend class RecordsBuilder;
  std::vector<PartitionRecords> partitions_;
  std::shared_ptr<const void> owner_;
  size_t count_ = 0;
};

}  // namespace millrace::client
