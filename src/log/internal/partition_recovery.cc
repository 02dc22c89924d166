#include <fmt/format.h>

#include <algorithm>

#include "log/internal/partition_log.h"

// The part of PartitionLog that brings it back at a start.
namespace millrace::log {

namespace {

// Recovery writes in larger pieces: there is one partition's worth of them at a time.
constexpr uint64_t kReplayTailBytes = 256u << 10;

}  // namespace

void PartitionLog::take_damaged(Offset from, Offset end, const Error& error, Opened& opened) const {
  opened.damage.push_back({from, end, as_damage(error)});
  opened.segments.push_back(Segment::make_damaged(shared_->files, directory_, from, as_damage(error)));
}

Status PartitionLog::open_closed_segments(const std::vector<Offset>& bases, Offset log_start, Opened& opened) const {
  if (bases.front() > log_start) {
    const std::string what =
        fmt::format("no segment in {} holds offset {}, where the log begins; the first is of offset {}", directory_,
                    log_start.value(), bases.front().value());
    take_damaged(log_start, bases.front(), {Errc::kCorruption, what, {}}, opened);
  }
  for (size_t i = 0; i + 1 < bases.size(); ++i) {
    const Offset end = bases[i + 1];
    auto one = Segment::open_closed(shared_->files, directory_, bases[i], end, segment_options());
    if (!one && !is_damage(one.error())) return tl::unexpected(std::move(one).error());
    if (!one) {
      take_damaged(bases[i], end, one.error(), opened);
      continue;
    }
    const Offset next = one->next;
    if (next > bases[i]) opened.segments.push_back(one->segment);
    if (next == end) continue;
    const std::string path = one->segment->log_path();
    std::string what = fmt::format("{} is empty, and the next segment begins at offset {}", path, end.value());
    if (next > bases[i]) {
      what = fmt::format(
          "{} ends at byte {} with offset {}, and the next segment begins at offset {}: it was cut, or {} is missing",
          path, one->segment->size_bytes(), next.value() - 1, end.value(), segment_path(directory_, next, kLogSuffix));
    }
    take_damaged(next, end, {Errc::kCorruption, std::move(what), {}}, opened);
  }
  return {};
}

Status PartitionLog::open_active_segment(const SegmentEnd& active, Offset log_end, Opened& opened) const {
  auto last = Segment::open_active(shared_->files, directory_, active, log_end, segment_options());
  if (last) {
    opened.segments.push_back(std::move(*last));
  } else if (is_damage(last.error())) {
    take_damaged(active.base_offset, log_end, last.error(), opened);
  } else {
    return tl::unexpected(std::move(last).error());
  }
  // Beside damage every file stays as it is, but for those of new segments.
  if (opened.damage.empty() || active.bytes == 0) return {};
  opened.segments.back()->close_for_append();
  opened.segments.push_back(Segment::make(shared_->files, directory_, log_end, segment_options()));
  return {};
}

Result<PartitionLog::Opened> PartitionLog::open_segments(bool has_directory, const SegmentEnd& active, Offset log_start,
                                                         Offset log_end) {
  env::FileSystem& files = shared_->files;
  Opened opened;
  if (!has_directory) {
    MILLRACE_RETURN_IF_ERROR(files.remove_all(directory_));
    MILLRACE_RETURN_IF_ERROR(open_active_segment(active, log_end, opened));
    return opened;
  }
  auto entries = finish_swaps().and_then([&] { return files.list(directory_); });
  if (!entries) {
    if (!is_damage(entries.error())) return tl::unexpected(std::move(entries).error());
    if (log_start < log_end) take_damaged(log_start, log_end, entries.error(), opened);
    opened.segments.push_back(Segment::make(files, directory_, log_end, segment_options()));
    return opened;
  }
  std::vector<Offset> bases;
  for (const auto& entry : *entries) {
    const auto base = base_offset_of(entry.name);
    if (base && *base < active.base_offset && entry.name.ends_with(kLogSuffix)) bases.push_back(*base);
  }
  std::ranges::sort(bases);
  bases.push_back(active.base_offset);
  const auto after = std::ranges::upper_bound(bases, log_start);
  if (after != bases.begin()) bases.erase(bases.begin(), std::prev(after));
  MILLRACE_RETURN_IF_ERROR(open_closed_segments(bases, log_start, opened));
  MILLRACE_RETURN_IF_ERROR(open_active_segment(active, log_end, opened));
  for (const auto& entry : *entries) {
    const auto base = base_offset_of(entry.name);
    // Begun after the checkpoint: the write-ahead log has it all. Or before the log start: on its way out.
    const bool is_left_over = base && (*base > active.base_offset || *base < bases.front());
    if (is_left_over && (opened.damage.empty() || *base >= log_end)) {
      MILLRACE_RETURN_IF_ERROR(files.remove(env::join_path(directory_, entry.name)));
    }
  }
  return opened;
}

Status PartitionLog::restore(const PartitionSnapshot& snapshot, Offset log_start) {
  // All that the checkpoint has lies before the log start: the write-ahead log has what follows.
  const bool all_dropped = log_start >= snapshot.log_end_offset && log_start > snapshot.log_start_offset;
  const bool has_directory = snapshot.has_directory && !all_dropped;
  const SegmentEnd active = all_dropped ? SegmentEnd{.base_offset = snapshot.log_end_offset} : snapshot.active;
  const Offset start = std::max(snapshot.log_start_offset, std::min(log_start, snapshot.log_end_offset));
  MILLRACE_ASSIGN_OR_RETURN(Opened opened, open_segments(has_directory, active, start, snapshot.log_end_offset));
  std::vector<AbortedTransaction> aborted;
  if (has_directory) {
    auto loaded = load_aborted(opened.segments, snapshot.log_end_offset);
    if (loaded) {
      aborted = std::move(*loaded);
    } else if (is_damage(loaded.error())) {
      opened.damage.push_back({start, snapshot.log_end_offset, as_damage(loaded.error())});
    } else {
      return tl::unexpected(std::move(loaded).error());
    }
    std::erase_if(aborted, [&](const AbortedTransaction& one) { return one.last_offset < start; });
  }
  for (const Damage& damage : opened.damage) report(damage);

  MutexLock append_lock(append_mutex_);
  ByteReader producers(snapshot.producers);
  if (!snapshot.producers.empty()) MILLRACE_RETURN_IF_ERROR(producers_.decode(producers));
  producer_count_.store(producers_.size(), std::memory_order_relaxed);
  has_directory_ = has_directory;
  for (const auto& segment : opened.segments) {
    if (segment->needs_sync() && opened.damage.empty()) unsynced_.push_back(segment);
    if (segment != opened.segments.back()) segment->set_closed_at(to_unix_ms(shared_->clock.wall_now()));
  }
  MutexLock lock(mutex_);
  ByteReader open_transactions(snapshot.open_transactions);
  if (!snapshot.open_transactions.empty()) {
    MILLRACE_RETURN_IF_ERROR(open_transactions_.decode(open_transactions));
  }
  aborted_ = std::move(aborted);
  aborted_is_known_ = opened.damage.empty();
  checkpointed_active_ = active.base_offset;
  segments_ = std::move(opened.segments);
  damage_ = std::move(opened.damage);
  log_start_ = start;
  log_end_ = snapshot.log_end_offset;
  cleaned_ = snapshot.cleaned_offset;
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
      MILLRACE_RETURN_IF_ERROR(active()->trim());
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

Status PartitionLog::finish_recovery(bool crashed) {
  MutexLock append_lock(append_mutex_);
  // Not before: what a crash left behind the checkpoint is written again with the same bytes, which costs much less
  // than to free these blocks and to take others.
  MILLRACE_RETURN_IF_ERROR(active()->trim());
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
  return {};
}

}  // namespace millrace::log
