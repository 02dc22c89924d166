#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "log/internal/partition_log.h"

// The part of PartitionLog that keeps damage in its place: docs/adr/0008-damage-is-quarantined.md.
namespace millrace::log {

bool PartitionLog::is_damage(const Error& error) {
  return error.code == Errc::kCorruption || error.code == Errc::kNotFound || error.code == Errc::kIo;
}

Error PartitionLog::as_damage(Error error) {
  error.code = Errc::kCorruption;
  if (error.hint.empty()) error.hint = "restore the file from a copy and start again, or delete the topic";
  return error;
}

std::optional<Error> PartitionLog::damage() const {
  MutexLock lock(mutex_);
  if (damage_.empty()) return std::nullopt;
  return damage_.front().error;
}

void PartitionLog::report(const Damage& damage) const {
  log_error("log", "{}-{} is quarantined, offsets {} to {} cannot be read: {}; {}", identity_.topic,
            identity_.partition.value(), damage.from.value(), damage.end.value() - 1, damage.error.message,
            damage.error.hint);
}

void PartitionLog::note_damage(Offset from, Offset end, const Error& error) const {
  if (is_deleted()) return;
  Damage damage{from, end, error};
  {
    MutexLock lock(mutex_);
    damage.from = std::max(from, log_start_);
    const auto holds = [&](const Damage& one) { return one.from <= damage.from && one.end >= end; };
    if (damage.from >= end || std::ranges::any_of(damage_, holds)) return;
    damage_.push_back(damage);
  }
  report(damage);
}

tl::unexpected<Error> PartitionLog::quarantined() const {
  return fail(Errc::kUnavailable,
              fmt::format("{}-{} is quarantined: {}", identity_.topic, identity_.partition.value(),
                          damage_.front().error.message),
              damage_.front().error.hint);
}

void PartitionLog::forget_damage(Offset to) {
  if (damage_.empty()) return;
  std::erase_if(damage_, [&](const Damage& one) { return one.end <= to; });
  if (!damage_.empty()) return;
  aborted_is_known_ = true;  // what was not known of lies before the log start
  // What was left as it was found joins the checkpoints again.
  for (const auto& segment : segments_) {
    if (segment->needs_sync() && std::ranges::find(unsynced_, segment) == unsynced_.end()) {
      unsynced_.insert(unsynced_.begin(), segment);
    }
  }
}

Status PartitionLog::check_decided(ByteView batches) const {
  MutexLock lock(mutex_);
  if (aborted_is_known_) return {};
  while (!batches.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, record::BatchView::first_of(batches));
    // Whether its transaction was aborted may have stood in what is damaged.
    if (batch.is_transactional() && !damage_.empty()) return tl::unexpected(damage_.front().error);
    batches = batches.subspan(batch.size_bytes());
  }
  return {};
}

}  // namespace millrace::log
