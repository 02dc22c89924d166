#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"
#include "record/batch.h"

namespace millrace::record {

struct RecordHeader {
  std::string_view key;
  std::optional<ByteView> value;  // nullopt: null
};

struct Record {
  Offset offset;
  int64_t timestamp_ms = kNoTimestamp;
  std::optional<ByteView> key;
  std::optional<ByteView> value;
  std::span<const RecordHeader> headers;
};

// The records of one batch, in order. Decompresses once, in open(); records are views into the batch or, compressed,
// into the reader. One thread at a time.
class RecordReader {
 public:
  // `batch` must outlive the reader. Hostile batches are errors: kCorruption, or kTooLarge where the records would take
  // more than `plain_bytes_max`.
  static Result<RecordReader> open(const BatchView& batch, size_t plain_bytes_max);

  // False at the end. Views in `record` hold until the next call. kCorruption where the bytes are not records, their
  // number is not the header's, or bytes are left over.
  Result<bool> next(Record& record);

 private:
  RecordReader(const BatchView& batch, Bytes plain);
  Status read_record(Record& record);

  BatchView batch_;
  Bytes plain_;  // decompressed records; empty where the batch is not compressed
  size_t position_ = 0;
  int32_t records_left_;
  std::vector<RecordHeader> headers_;
};

struct BatchOptions {
  Codec codec = Codec::kNone;
  Offset base_offset{0};
  LeaderEpoch leader_epoch{-1};
  TimestampType timestamp_type = TimestampType::kCreateTime;
  ProducerId producer_id = kNoProducerId;
  ProducerEpoch producer_epoch = kNoProducerEpoch;
  int32_t base_sequence = kNoSequence;
  bool transactional = false;
  bool control = false;
};

// Builds one batch: for internal topics, tools and tests; clients build their own. Not thread-safe.
class BatchBuilder {
 public:
  explicit BatchBuilder(const BatchOptions& options) : options_(options) {}

  // Records get consecutive offsets from the base offset. What is passed is copied.
  void add(int64_t timestamp_ms, std::optional<ByteView> key, std::optional<ByteView> value,
           std::span<const RecordHeader> headers = {});

  bool empty() const { return record_count_ == 0; }
  int32_t record_count() const { return record_count_; }
  // Of the batch, were it not compressed.
  size_t size_bytes() const { return kBatchHeaderBytes + records_.size(); }

  // The batch, ready to append or send; the builder is empty again. At least one record must have been added.
  Result<Bytes> finish();

 private:
  BatchOptions options_;
  Bytes records_;
  Bytes scratch_;
  int32_t record_count_ = 0;
  int64_t base_timestamp_ms_ = kNoTimestamp;
  int64_t max_timestamp_ms_ = kNoTimestamp;
};

}  // namespace millrace::record
