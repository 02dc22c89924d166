#include <algorithm>

#include "log/internal/partition_log.h"

// The part of PartitionLog that decides when segments are closed and what of them is no longer kept.
namespace millrace::log {

namespace {

// What is appended to is never compacted, so it is closed in time for that, too.
int64_t segment_ms_max(const TopicPolicy& limits) {
  return limits.compacts ? std::min(limits.segment_ms, limits.max_compaction_lag_ms) : limits.segment_ms;
}

}  // namespace

void PartitionLog::set_policy(const TopicPolicy& policy) {
  MutexLock lock(policy_mutex_);
  policy_ = policy;
}

TopicPolicy PartitionLog::policy() const {
  MutexLock lock(policy_mutex_);
  return policy_;
}

Result<PartitionLog::Begun> PartitionLog::active_begun(int64_t now_ms) {
  if (active_begun_) return *active_begun_;
  Begun begun{.at_ms = now_ms};
  const auto segment = active();
  MILLRACE_RETURN_IF_ERROR(segment->scan(segment->base_offset(), [&](const Segment::Found& found) {
    begun.timestamp_ms = found.view().max_timestamp_ms();
    return false;
  }));
  // Written before the start: as old as its first batch, which its producer may have stamped with any time, or none.
  if (begun.timestamp_ms >= 0) begun.at_ms = std::min(begun.timestamp_ms, now_ms);
  active_begun_ = begun;
  return begun;
}

bool PartitionLog::is_due_before(const Coming& coming, const TopicPolicy& limits) {
  if (active()->size_bytes() == 0) return false;
  const int64_t now_ms = to_unix_ms(shared_->clock.wall_now());
  const auto begun = active_begun(now_ms);
  if (!begun) return false;  // whoever reads there will say what is wrong with it
  const int64_t age_max_ms = segment_ms_max(limits);
  const bool is_ahead = begun->timestamp_ms >= 0 && coming.max_timestamp_ms - begun->timestamp_ms > age_max_ms;
  if (!is_ahead && now_ms - begun->at_ms < age_max_ms) return false;
  // Each segment that is closed keeps its file open until a checkpoint: with a time of a millisecond there could be as
  // many as appends.
  return !shared_->open_files.are_too_many();
}

Result<bool> PartitionLog::close_if_due(int64_t now_ms) {
  const TopicPolicy limits = policy();
  MutexLock lock(append_mutex_);
  if (is_deleted() || active()->size_bytes() == 0 || damage()) return false;
  MILLRACE_ASSIGN_OR_RETURN(const Begun begun, active_begun(now_ms));
  if (now_ms - begun.at_ms < segment_ms_max(limits)) return false;
  MILLRACE_RETURN_IF_ERROR(flush_active());
  roll();
  return true;
}

Offset PartitionLog::retention_start(int64_t now_ms) const {
  const TopicPolicy limits = policy();
  const Offset decided = last_stable_offset();
  MutexLock lock(mutex_);
  Offset start = log_start_;
  if (!limits.deletes || !damage_.empty()) return start;
  const auto end_of = [&](size_t i) REQUIRES(mutex_) {
    return i + 1 < segments_.size() ? segments_[i + 1]->base_offset() : log_end_;
  };
  uint64_t bytes = 0;
  for (const auto& segment : segments_) bytes += segment->size_bytes();
  bool by_time = limits.retention_ms >= 0;
  bool by_size = limits.retention_bytes >= 0;
  // From the oldest on; the first segment that neither rule gives up ends it.
  for (size_t i = 0; i < segments_.size() && end_of(i) <= decided; ++i) {
    const uint64_t size = segments_[i]->size_bytes();
    if (size == 0) break;
    int64_t newest_ms = segments_[i]->max_timestamp().timestamp_ms;
    if (newest_ms < 0) newest_ms = segments_[i]->closed_at_ms();
    by_time = by_time && newest_ms >= 0 && now_ms - newest_ms > limits.retention_ms;
    by_size = by_size && bytes - size >= static_cast<uint64_t>(limits.retention_bytes);
    if (!by_time && !by_size) break;
    bytes -= size;
    start = std::max(start, end_of(i));
  }
  return start;
}

}  // namespace millrace::log
