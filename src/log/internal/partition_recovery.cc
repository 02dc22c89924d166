#include <fmt/format.h>

#include <algorithm>

#include "log/internal/partition_log.h"

// The part of PartitionLog that brings it back at a start.
namespace millrace::log {

namespace {

// Recovery writes in larger pieces: there is one partition's worth of them at a time.
constexpr uint64_t kReplayTailBytes = 256u << 10;

}  // namespace

Result<std::vector<std::shared_ptr<Segment>>> PartitionLog::open_segments(bool has_directory, const SegmentEnd& active,
                                                                          Offset log_start) {
  env::FileSystem& files = shared_->files;
  std::vector<std::shared_ptr<Segment>> opened;
  if (!has_directory) {
    MILLRACE_RETURN_IF_ERROR(files.remove_all(directory_));
  } else {
    MILLRACE_RETURN_IF_ERROR(finish_swaps());
    MILLRACE_ASSIGN_OR_RETURN(const auto entries, files.list(directory_));
    std::vector<Offset> bases;
    for (const auto& entry : entries) {
      const auto base = base_offset_of(entry.name);
      if (base && *base < active.base_offset && entry.name.ends_with(".log")) bases.push_back(*base);
    }
    std::ranges::sort(bases);
    bases.push_back(active.base_offset);
    const auto after = std::ranges::upper_bound(bases, log_start);
    if (after == bases.begin()) {
      return fail(Errc::kCorruption, fmt::format("{} lacks the segment of offset {}", directory_, log_start.value()));
    }
    bases.erase(bases.begin(), std::prev(after));
    for (const auto& entry : entries) {
      const auto base = base_offset_of(entry.name);
      // Begun after the checkpoint: the write-ahead log has it all. Or before the log start: on its way out.
      if (base && (*base > active.base_offset || *base < bases.front())) {
        MILLRACE_RETURN_IF_ERROR(files.remove(env::join_path(directory_, entry.name)));
      }
    }
    for (size_t i = 0; i + 1 < bases.size(); ++i) {
      MILLRACE_ASSIGN_OR_RETURN(auto segment,
                                Segment::open_closed(files, directory_, bases[i], bases[i + 1], segment_options()));
      opened.push_back(std::move(segment));
    }
  }
  MILLRACE_ASSIGN_OR_RETURN(auto last, Segment::open_active(files, directory_, active, segment_options()));
  opened.push_back(std::move(last));
  return opened;
}

Status PartitionLog::restore(const PartitionSnapshot& snapshot, Offset log_start) {
  // All that the checkpoint has lies before the log start: the write-ahead log has what follows.
  const bool all_dropped = log_start >= snapshot.log_end_offset && log_start > snapshot.log_start_offset;
  const bool has_directory = snapshot.has_directory && !all_dropped;
  const SegmentEnd active = all_dropped ? SegmentEnd{.base_offset = snapshot.log_end_offset} : snapshot.active;
  const Offset start = std::max(snapshot.log_start_offset, std::min(log_start, snapshot.log_end_offset));
  MILLRACE_ASSIGN_OR_RETURN(auto opened, open_segments(has_directory, active, start));
  std::vector<AbortedTransaction> aborted;
  if (has_directory) {
    MILLRACE_ASSIGN_OR_RETURN(aborted, load_aborted(opened, snapshot.log_end_offset));
    std::erase_if(aborted, [&](const AbortedTransaction& one) { return one.last_offset < start; });
  }

  MutexLock append_lock(append_mutex_);
  ByteReader producers(snapshot.producers);
  if (!snapshot.producers.empty()) MILLRACE_RETURN_IF_ERROR(producers_.decode(producers));
  producer_count_.store(producers_.size(), std::memory_order_relaxed);
  has_directory_ = has_directory;
  for (const auto& segment : opened) {
    if (segment->needs_sync()) unsynced_.push_back(segment);
  }
  MutexLock lock(mutex_);
  ByteReader open_transactions(snapshot.open_transactions);
  if (!snapshot.open_transactions.empty()) {
    MILLRACE_RETURN_IF_ERROR(open_transactions_.decode(open_transactions));
  }
  aborted_ = std::move(aborted);
  segments_ = std::move(opened);
  log_start_ = start;
  log_end_ = snapshot.log_end_offset;
  cleaned_ = snapshot.cleaned_offset;
  checkpointed_active_ = active.base_offset;
  leader_epoch_ = snapshot.leader_epoch;
  epochs_ = snapshot.epochs;
  return {};
}

Status PartitionLog::replay(ByteView batches) {
  MutexLock append_lock(append_mutex_);
  while (!batches.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const record::BatchView batch, record::BatchView::first_of(batches));
    batches = batches.subspan(batch.size_bytes());
    const Offset end = log_end_offset();
    if (batch.last_offset() < end) continue;
    if (batch.base_offset() != end) {
      return fail(Errc::kCorruption, fmt::format("{}: offset {} follows {} in the write-ahead log", directory_,
                                                 batch.base_offset().value(), end.value() - 1));
    }
    if (active()->is_full(batch.size_bytes(), batch.last_offset(), policy().segment_bytes)) {
      MILLRACE_RETURN_IF_ERROR(flush_active());
      roll();
    }
    {
      MutexLock lock(mutex_);
      leader_epoch_ = std::max(leader_epoch_, batch.leader_epoch());
      if (epochs_.empty() || epochs_.back().epoch < batch.leader_epoch()) {
        epochs_.push_back({batch.leader_epoch(), batch.base_offset()});
      }
    }
    apply(batch.bytes(), false);
    if (active()->tail_bytes() >= kReplayTailBytes) MILLRACE_RETURN_IF_ERROR(flush_active());
  }
  return {};
}

Status PartitionLog::replay_log_start(Offset to) {
  MutexLock append_lock(append_mutex_);
  if (to > log_end_offset()) {
    return fail(Errc::kCorruption, fmt::format("{}: the write-ahead log begins it at {}, but it ends at {}", directory_,
                                               to.value(), log_end_offset().value()));
  }
  if (to <= log_start_offset()) return {};
  for (const auto& segment : drop_before(to)) {
    for (const std::string& path : segment->paths()) MILLRACE_RETURN_IF_ERROR(shared_->files.remove_all(path));
  }
  return {};
}

void PartitionLog::finish_recovery(bool crashed) {
  MutexLock append_lock(append_mutex_);
  MutexLock lock(mutex_);
  if (crashed) {
    leader_epoch_ = leader_epoch_ + 1;
    // An epoch without records leaves no trace.
    while (!epochs_.empty() && epochs_.back().start_offset >= log_end_) epochs_.pop_back();
    epochs_.push_back({leader_epoch_, log_end_});
    epochs_changed_ = true;
  }
  trim_epochs();
  high_watermark_.store(log_end_.value(), std::memory_order_release);
}

}  // namespace millrace::log
