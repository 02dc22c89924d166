#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/byte_writer.h"
#include "base/result.h"
#include "record/batch.h"
#include "record/records.h"

namespace millrace::record {

// Batches made of other batches: what brokers do to them besides storing them. Offsets, timestamps, the producer's
// fields and the leader epoch stay.

// Append `batch` to `out` with its records under another codec. kCorruption, kTooLarge as for decompress().
Status recompress(const BatchView& batch, Codec codec, size_t plain_bytes_max, Bytes& out);

// When a batch's tombstones, or its marker, may go: Kafka's delete horizon (KIP-534), kept in the base timestamp, which
// the records' timestamps count from all the same.
std::optional<int64_t> delete_horizon_ms(const BatchView& batch);

struct Filter {
  std::function<bool(const Record&)> keep;
  // For a batch that has no delete horizon yet: set where a tombstone is kept, or, with `always`, in any case.
  int64_t delete_horizon_ms = 0;
  bool always = false;
  size_t plain_bytes_max = 0;
};

enum class Kept { kAll, kSome, kNone };

// Append `batch` with the records that the filter keeps to `out`: byte for byte where that is all of them and no
// horizon is to be set; nothing where it is none. `keep` is asked twice for each record and must answer the same. The
// greatest timestamp becomes that of the records kept, unless it is the broker's.
Result<Kept> append_filtered(const BatchView& batch, const Filter& filter, Bytes& out);

// Append `batch` without its records: a header that keeps its offsets and its producer's sequence in the log.
void append_emptied(const BatchView& batch, Bytes& out);

}  // namespace millrace::record
