#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"
#include "record/compression.h"

namespace millrace::record {

// Kafka's record batch, version 2 (https://kafka.apache.org/documentation/#recordbatch); the layout, in network byte
// order, is written out in docs/formats/record-batch.md:
//
//    0 base offset i64        17 checksum u32 (21..end)    35 max timestamp i64    57 record count i32
//    8 length i32 (12..end)   21 attributes u16            43 producer id i64      61 records
//   12 leader epoch i32       23 last offset delta i32     51 producer epoch i16
//   16 magic i8               27 base timestamp i64        53 base sequence i32
inline constexpr size_t kBatchHeaderBytes = 61;
// Base offset and length, which `length` does not count.
inline constexpr size_t kBatchPrefixBytes = 12;

enum class TimestampType : uint8_t { kCreateTime = 0, kLogAppendTime = 1 };

inline constexpr int32_t kNoSequence = -1;
inline constexpr int64_t kNoTimestamp = -1;

// One batch in a buffer, without owning it: at least a whole header. Accessors read the header as it stands; only
// check_batch() says that it is true. Valid as long as the buffer is.
class BatchView {
 public:
  // The batch that begins `bytes`, which must hold it whole; its length field and magic are checked, nothing else.
  // kCorruption otherwise: for bytes that passed check_batch() once, that is our own files.
  static Result<BatchView> first_of(ByteView bytes);

  // A view of a header whose records are elsewhere: payload() and checksum_matches() are not for it. `header` must hold
  // kBatchHeaderBytes.
  static BatchView of_header(ByteView header) { return BatchView(header); }

  // The batch's size from its first kBatchPrefixBytes, as the length field has it: may be any number. For readers that
  // need to know how much to read; `bytes` must hold the prefix.
  static int64_t size_field(ByteView bytes) { return int64_t{load<int32_t>(bytes, 8)} + int64_t{kBatchPrefixBytes}; }

  ByteView bytes() const { return bytes_; }
  size_t size_bytes() const { return bytes_.size(); }

  Offset base_offset() const { return Offset{load<int64_t>(bytes_, 0)}; }
  Offset last_offset() const { return base_offset() + last_offset_delta(); }
  LeaderEpoch leader_epoch() const { return LeaderEpoch{load<int32_t>(bytes_, 12)}; }
  uint32_t checksum() const { return load<uint32_t>(bytes_, 17); }
  uint16_t attributes() const { return load<uint16_t>(bytes_, 21); }
  int32_t last_offset_delta() const { return load<int32_t>(bytes_, 23); }
  int64_t base_timestamp_ms() const { return load<int64_t>(bytes_, 27); }
  int64_t max_timestamp_ms() const { return load<int64_t>(bytes_, 35); }
  ProducerId producer_id() const { return ProducerId{load<int64_t>(bytes_, 43)}; }
  ProducerEpoch producer_epoch() const { return ProducerEpoch{load<int16_t>(bytes_, 51)}; }
  int32_t base_sequence() const { return load<int32_t>(bytes_, 53); }
  int32_t record_count() const { return load<int32_t>(bytes_, 57); }
  // Records, still compressed.
  ByteView payload() const { return bytes_.subspan(kBatchHeaderBytes); }

  // The attributes' lowest three bits: a codec only after check_batch().
  Codec codec() const { return static_cast<Codec>(attributes() & 0x7); }
  TimestampType timestamp_type() const {
    return (attributes() & 0x8) ? TimestampType::kLogAppendTime : TimestampType::kCreateTime;
  }
  bool is_transactional() const { return (attributes() & 0x10) != 0; }
  bool is_control() const { return (attributes() & 0x20) != 0; }
  bool has_producer_id() const { return producer_id() != kNoProducerId; }
  // Sequences wrap from 2^31 - 1 to 0.
  int32_t last_sequence() const;

  bool checksum_matches() const;

 private:
  friend class BatchReader;
  explicit BatchView(ByteView bytes) : bytes_(bytes) {}

  template <typename T>
  static T load(ByteView bytes, size_t position) {
    T value;
    std::memcpy(&value, bytes.data() + position, sizeof(T));
    if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(static_cast<uint16_t>(value)));
    if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
    if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
  }

  ByteView bytes_;
};

// Walks batches that lie one after another, as in a produce request or a segment. Stops at the first that is not whole.
class BatchReader {
 public:
  explicit BatchReader(ByteView bytes) : rest_(bytes) {}

  // The next batch; nullopt at the end; kCorruption where first_of() would say so.
  Result<std::optional<BatchView>> next();

 private:
  ByteView rest_;
};

// What is wrong with a batch on arrival, as far as answers differ.
enum class BatchDefect {
  kTruncated,      // nothing, or less than its header or its length says: INVALID_RECORD, as no batch at all
  kBadLength,      // the length field is impossible: CORRUPT_MESSAGE
  kOldFormat,      // magic 0 or 1: INVALID_RECORD
  kUnknownFormat,  // another magic: CORRUPT_MESSAGE
  kBadChecksum,    // CORRUPT_MESSAGE
  kUnknownCodec,   // UNSUPPORTED_COMPRESSION_TYPE
  kBadCounts,      // counts, deltas and sequence do not fit together: INVALID_RECORD
  kControlBatch,   // a client may not write control batches: INVALID_RECORD
};

struct InvalidBatch {
  BatchDefect defect;
  std::string message;  // for people
};

// Check one arrived batch without decompressing: size, magic, CRC-32C, codec, no control flag, record count positive
// and equal to last offset delta + 1, producer fields all there or all absent, payload able to hold the records where
// it is not compressed. `bytes` may be hostile; the batch must begin it and may be followed by others.
tl::expected<BatchView, InvalidBatch> check_batch(ByteView bytes);

struct ArrivedBatches {
  int32_t batches = 0;
  int64_t records = 0;
  size_t largest_batch_bytes = 0;
  bool uses_zstd = false;  // refused below Produce 7
  bool has_producer_id = false;
};

// Check every batch of one partition's part of a produce request; an empty one is kTruncated. A batch with a producer
// id must be the only one, as Kafka demands: kBadCounts otherwise.
tl::expected<ArrivedBatches, InvalidBatch> check_batches(ByteView bytes);

// Changes in place; `batch` begins with a batch that passed check_batch(). Neither field is under the checksum.
void set_base_offset(std::span<std::byte> batch, Offset offset);
void set_leader_epoch(std::span<std::byte> batch, LeaderEpoch epoch);
// Marks the batch LogAppendTime at `timestamp_ms`; rewrites the checksum. `batch` is exactly one batch.
void set_log_append_time(std::span<std::byte> batch, int64_t timestamp_ms);

// The number after `sequence` by `distance`, wrapping from 2^31 - 1 to 0.
int32_t sequence_after(int32_t sequence, int32_t distance);

}  // namespace millrace::record
