#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/result.h"
#include "env/file_system.h"

// The entries of a segment's .index and .timeindex files.
namespace millrace::log {

// docs/formats/segments.md. An offset index entry says where the batch that ends at an offset begins in the file.
struct IndexEntry {
  int32_t relative_offset = 0;
  int32_t position = 0;
};
inline constexpr size_t kIndexEntryBytes = 8;

// All records up to the offset are stamped at or before the timestamp, and the record with that offset's batch has it.
struct TimeIndexEntry {
  int64_t timestamp_ms = 0;
  int32_t relative_offset = 0;
};
inline constexpr size_t kTimeIndexEntryBytes = 12;

inline IndexEntry decode_index_entry(ByteView bytes) {
  ByteReader reader(bytes);
  return {reader.fixed<int32_t>().value_or(0), reader.fixed<int32_t>().value_or(0)};
}

inline TimeIndexEntry decode_time_index_entry(ByteView bytes) {
  ByteReader reader(bytes);
  return {reader.fixed<int64_t>().value_or(0), reader.fixed<int32_t>().value_or(0)};
}

// The number of entries of a sorted index file that `is_before` holds for, reading one entry at a time.
template <typename Predicate>
Result<uint64_t> partition_point(const env::File& file, size_t entry_bytes, uint64_t count, Predicate is_before) {
  Bytes entry(entry_bytes);
  uint64_t low = 0;
  while (low < count) {
    const uint64_t middle = low + (count - low) / 2;
    MILLRACE_ASSIGN_OR_RETURN(const size_t got, file.read_at(middle * entry_bytes, entry));
    if (got < entry_bytes) return fail(Errc::kCorruption, fmt::format("{} is too short", file.path()));
    if (is_before(ByteView(entry))) {
      low = middle + 1;
    } else {
      count = middle;
    }
  }
  return low;
}

}  // namespace millrace::log
