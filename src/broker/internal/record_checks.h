#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/byte_writer.h"
#include "broker/internal/topic_config.h"
#include "record/batch.h"
#include "wire/error_code.h"

namespace millrace::broker {

// The most that the records of one arriving batch may take when they have to be decompressed.
inline constexpr size_t kPlainBatchBytesMax = 128u << 20;

// The most records of a batch that are named as refused; the look at the batch ends there.
inline constexpr size_t kRefusedRecordsMax = 1000;

struct RefusedRecord {
  int32_t index;  // in its batch
  std::string message;
};

// Why a batch is not taken.
struct RecordDefect {
  wire::ErrorCode error;
  std::string message;
  std::vector<RefusedRecord> records = {};  // those to blame, where the records could be read
};

// What a topic asks of the records of a batch that passed check_batches(): timestamps within its bounds, keys where it
// is compacted. Looks at the header alone where that can tell that all is well; else at each record, decompressing, and
// names those to blame.
std::optional<RecordDefect> check_records(const record::BatchView& batch, const TopicConfig& topic, int64_t now_ms);

// A batch as it is to be stored.
struct CheckedBatch {
  std::span<std::byte> stored;  // where it came, or in `recompressed`
  Bytes recompressed;
  int64_t records = 0;
};

// Whether a partition of `topic` takes what a Produce of `version` has for it: one batch that is whole, not too large,
// and passes check_records(). Compresses it anew where the topic wants that.
tl::expected<CheckedBatch, RecordDefect> check_batch(std::span<std::byte> arrived, const TopicConfig& topic,
                                                     int16_t version, int64_t now_ms);

}  // namespace millrace::broker
