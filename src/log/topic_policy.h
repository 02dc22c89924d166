#pragma once

#include <cstdint>
#include <limits>

namespace millrace::log {

// How a topic's log is cut into segments and what of it is kept. Kafka's topic configurations of the same names; times
// and sizes of -1 mean without bound.
struct TopicPolicy {
  // A segment that would grow beyond this is followed by a new one (a single larger batch gets one of its own).
  uint64_t segment_bytes = 1ull << 30;
  // A segment is closed so long after its first record at the latest, on an append or by tidy(), and gets no record
  // stamped later than so long after its first batch.
  int64_t segment_ms = std::numeric_limits<int64_t>::max();
  // An index entry at most this often; for segments that are begun from now on.
  uint32_t index_interval_bytes = 4096;

  // cleanup.policy=delete: whole segments go once all their records are older than this, or once the partition without
  // them still has as many bytes.
  bool deletes = false;
  int64_t retention_ms = -1;
  int64_t retention_bytes = -1;

  // cleanup.policy=compact: of the records with one key the last is kept. Records younger than the first lag are left
  // alone; older than the second, they are looked at whatever the ratio of bytes that were not is.
  bool compacts = false;
  int64_t min_compaction_lag_ms = 0;
  int64_t max_compaction_lag_ms = std::numeric_limits<int64_t>::max();
  double min_cleanable_dirty_ratio = 0.5;
  // Tombstones and the markers of transactions that are gone stay so long, for readers to see them.
  int64_t delete_retention_ms = 86'400'000;

  friend bool operator==(const TopicPolicy&, const TopicPolicy&) = default;
};

}  // namespace millrace::log
