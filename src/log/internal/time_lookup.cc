#include <algorithm>

#include "log/internal/partition_log.h"
#include "record/records.h"

// The part of PartitionLog that finds records by their time.
namespace millrace::log {

namespace {

// Of one batch, to find a record by its time.
constexpr size_t kPlainBytesMax = 128u << 20;

}  // namespace

// The first record from `from` on that is stamped at or after the time. Nothing where the batch has one before `from`
// only, or none that compaction has left.
Result<std::optional<TimestampedOffset>> PartitionLog::first_record_at(const Segment& segment, uint64_t position,
                                                                       int64_t timestamp_ms, Offset from) const {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes bytes, segment.read_batch(position));
  MILLRACE_ASSIGN_OR_RETURN(const record::BatchView batch, record::BatchView::first_of(bytes));
  if (batch.record_count() == 0) return std::nullopt;
  auto reader = record::RecordReader::open(batch, kPlainBytesMax);
  record::Record record;
  while (reader) {
    const auto more = reader->next(record);
    if (!more) break;
    if (!*more) {
      if (from > batch.base_offset()) return std::nullopt;
      break;
    }
    if (record.timestamp_ms < timestamp_ms || record.offset < from) continue;
    return TimestampedOffset{record.offset, record.timestamp_ms, batch.leader_epoch()};
  }
  // Arrived batches are not decompressed, so records need not be what the header says: then the whole batch it is.
  return TimestampedOffset{std::max(batch.base_offset(), from), batch.max_timestamp_ms(), batch.leader_epoch()};
}

Result<std::optional<TimestampedOffset>> PartitionLog::find_time(int64_t timestamp_ms, Offset from,
                                                                 Offset limit) const {
  for (const auto& segment : segments()) {
    if (segment->base_offset() >= limit) break;
    if (segment->damage()) return tl::unexpected(*segment->damage());
    const TimestampedOffset greatest = segment->max_timestamp();
    if (greatest.offset.value() < 0 || greatest.timestamp_ms < timestamp_ms) continue;
    MILLRACE_ASSIGN_OR_RETURN(const Offset floor, segment->floor_of_time(timestamp_ms));
    Offset next = std::max(floor, from);
    while (true) {
      std::optional<uint64_t> position;
      MILLRACE_RETURN_IF_ERROR(segment->scan(next, [&](const Segment::Found& found) {
        if (found.view().base_offset() >= limit) return false;
        if (found.view().max_timestamp_ms() < timestamp_ms) return true;
        position = found.position;
        next = found.view().last_offset() + 1;
        return false;
      }));
      if (!position) break;
      MILLRACE_ASSIGN_OR_RETURN(const auto record, first_record_at(*segment, *position, timestamp_ms, from));
      if (record) return record;
    }
  }
  return std::nullopt;
}

// Where the segment's own greatest timestamp is not in [from, limit): the last offset of the first batch there that has
// the greatest.
Result<TimestampedOffset> PartitionLog::scan_for_max_timestamp(const Segment& segment, Offset from,
                                                               Offset limit) const {
  TimestampedOffset best;
  MILLRACE_RETURN_IF_ERROR(segment.scan(std::max(from, segment.base_offset()), [&](const Segment::Found& found) {
    const record::BatchView batch = found.view();
    if (batch.base_offset() >= limit) return false;
    if (batch.record_count() == 0) return true;
    if (best.offset.value() < 0 || batch.max_timestamp_ms() > best.timestamp_ms) {
      best = {batch.last_offset(), batch.max_timestamp_ms(), batch.leader_epoch()};
    }
    return true;
  }));
  return best;
}

Result<std::optional<TimestampedOffset>> PartitionLog::find_max_timestamp(Offset from, Offset limit,
                                                                          bool by_scan) const {
  std::shared_ptr<Segment> best_segment;
  TimestampedOffset best;
  for (const auto& segment : segments()) {
    if (segment->base_offset() >= limit) break;
    if (segment->damage()) return tl::unexpected(*segment->damage());
    TimestampedOffset greatest = segment->max_timestamp();
    if (greatest.offset.value() < 0) continue;
    if (best_segment != nullptr && greatest.timestamp_ms <= best.timestamp_ms) continue;
    if (by_scan || greatest.offset >= limit || segment->base_offset() < from) {
      MILLRACE_ASSIGN_OR_RETURN(greatest, scan_for_max_timestamp(*segment, from, limit));
      if (greatest.offset.value() < 0) continue;
      if (best_segment != nullptr && greatest.timestamp_ms <= best.timestamp_ms) continue;
    }
    best = greatest;
    best_segment = segment;
  }
  if (best_segment == nullptr) return std::nullopt;
  uint64_t position = 0;
  bool is_empty = false;
  MILLRACE_RETURN_IF_ERROR(best_segment->scan(best.offset, [&](const Segment::Found& found) {
    position = found.position;
    is_empty = found.view().record_count() == 0;
    return false;
  }));
  // Compaction has left nothing of the batch but its header, with the time that it had.
  if (is_empty) return find_max_timestamp(from, limit, true);
  MILLRACE_ASSIGN_OR_RETURN(const auto record, first_record_at(*best_segment, position, best.timestamp_ms, from));
  // In the batch that holds the log start the greatest may stand before it: then the batch's first record that is left.
  if (!record) return TimestampedOffset{from, best.timestamp_ms, best.leader_epoch};
  return record;
}

// Where the log start has moved meanwhile, what was looked at may be gone: look again.

Result<std::optional<TimestampedOffset>> PartitionLog::offset_for_time(int64_t timestamp_ms) const {
  if (is_deleted()) return deleted();
  while (true) {
    const Offset from = log_start_offset();
    auto found = find_time(timestamp_ms, from, high_watermark());
    if (found || log_start_offset() == from) return found;
  }
}

Result<std::optional<TimestampedOffset>> PartitionLog::offset_of_max_timestamp() const {
  if (is_deleted()) return deleted();
  while (true) {
    const Offset from = log_start_offset();
    auto found = find_max_timestamp(from, high_watermark(), false);
    if (found || log_start_offset() == from) return found;
  }
}

}  // namespace millrace::log
