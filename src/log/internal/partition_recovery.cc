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
  Segment::Options options = segment_options();
  options.keeps_file = ahead_.batches_in.contains(active.base_offset);
  auto last = Segment::open_active(shared_->files, directory_, active, log_end, options);
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
  opened.segments.push_back(new_segment(log_end));
  return {};
}

bool PartitionLog::is_needed(std::string_view file) const {
  const auto base = base_offset_of(file);
  return base && file.ends_with(kLogSuffix) && ahead_.batches_in.contains(*base);
}

Status PartitionLog::remove_what_nobody_needs() const {
  if (ahead_.batches_in.empty()) return shared_->files.remove_all(directory_);
  const auto entries = shared_->files.list(directory_);
  if (!entries) return entries.error().code == Errc::kNotFound ? Status{} : tl::unexpected(entries.error());
  for (const auto& entry : *entries) {
    if (is_needed(entry.name)) continue;
    MILLRACE_RETURN_IF_ERROR(shared_->files.remove_all(env::join_path(directory_, entry.name)));
  }
  return {};
}

Result<PartitionLog::Opened> PartitionLog::open_segments(bool has_directory, const SegmentEnd& active, Offset log_start,
                                                         Offset log_end) {
  env::FileSystem& files = shared_->files;
  Opened opened;
  if (!has_directory) {
    MILLRACE_RETURN_IF_ERROR(remove_what_nobody_needs());
    MILLRACE_RETURN_IF_ERROR(open_active_segment(active, log_end, opened));
    return opened;
  }
  auto entries = finish_swaps().and_then([&] { return files.list(directory_); });
  if (!entries) {
    if (!is_damage(entries.error())) return tl::unexpected(std::move(entries).error());
    if (log_start < log_end) take_damaged(log_start, log_end, entries.error(), opened);
    opened.segments.push_back(new_segment(log_end));
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
    // Begun after the checkpoint: the write-ahead log has it all, or points at it. Or before the log start: on its way
    // out.
    const bool is_left_over = base && (*base > active.base_offset || *base < bases.front());
    if (is_needed(entry.name)) continue;
    if (is_left_over && (opened.damage.empty() || *base >= log_end)) {
      MILLRACE_RETURN_IF_ERROR(files.remove(env::join_path(directory_, entry.name)));
    }
  }
  return opened;
}

Status PartitionLog::restore(const PartitionSnapshot& snapshot, const WalAhead& ahead) {
  const Offset log_start = ahead.log_start;
  ahead_ = ahead;
  std::erase_if(ahead_.batches_in, [&](const auto& one) { return one.second <= snapshot.log_end_offset; });
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
  has_directory_ = has_directory || !ahead_.batches_in.empty();
  // It may have been made for an append that was refused then: the checkpoint knows it, but nothing made it durable.
  if (has_directory_ && opened.damage.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(has_directory_, shared_->files.exists(directory_));
  }
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

Status PartitionLog::roll_for(const record::BatchView& next) {
  const auto segment = active();
  const Offset end = log_end_offset();
  // A segment that holds batches which stand nowhere else is laid out as it was; others need not be.
  const auto held = ahead_.batches_in.find(segment->base_offset());
  const bool holds_more = held != ahead_.batches_in.end() && end < held->second;
  const bool was_begun = ahead_.batches_in.contains(end) && segment->base_offset() != end;
  const bool is_full = segment->is_full(next.size_bytes(), next.last_offset(), policy().segment_bytes);
  if (!was_begun && (holds_more || !is_full)) return {};
  MILLRACE_RETURN_IF_ERROR(flush_active());
  if (holds_more) segment->keep_rest();
  MILLRACE_RETURN_IF_ERROR(segment->trim());
  roll();
  return {};
}

// Everything before `next` is there, and it comes into the active segment.
Status PartitionLog::begin_replay(const record::BatchView& next) {
  const Offset end = log_end_offset();
  if (next.base_offset() != end) {
    return fail(Errc::kCorruption, fmt::format("{}: offset {} follows {} in the write-ahead log", directory_,
                                               next.base_offset().value(), end.value() - 1));
  }
  MILLRACE_RETURN_IF_ERROR(roll_for(next));
  MutexLock lock(mutex_);
  leader_epoch_ = std::max(leader_epoch_, next.leader_epoch());
  if (epochs_.empty() || epochs_.back().epoch < next.leader_epoch()) {
    epochs_.push_back({next.leader_epoch(), next.base_offset()});
  }
  return {};
}

Status PartitionLog::replay(ByteView batches) {
  MutexLock append_lock(append_mutex_);
  while (!batches.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const record::BatchView batch, record::BatchView::first_of(batches));
    batches = batches.subspan(batch.size_bytes());
    if (batch.last_offset() < log_end_offset()) continue;
    MILLRACE_RETURN_IF_ERROR(begin_replay(batch));
    apply(batch.bytes(), Plan::Place::kTail);
    if (active()->tail_bytes() >= kReplayTailBytes) MILLRACE_RETURN_IF_ERROR(flush_active());
  }
  return {};
}

Status PartitionLog::replay_from_segment(const WalEntry& entry) {
  MutexLock append_lock(append_mutex_);
  const auto header = record::BatchView::of_header(entry.body);
  if (header.last_offset() < log_end_offset()) return {};
  MILLRACE_RETURN_IF_ERROR(begin_replay(header));
  // The batches before it end where it begins.
  MILLRACE_RETURN_IF_ERROR(flush_active());
  auto bytes = read_batch_in_segment(shared_->files, directory_, entry);
  const auto segment = active();
  const bool is_its_segment = segment->base_offset() == entry.segment;
  if (bytes && is_its_segment && segment->size_bytes() != entry.position) {
    bytes = fail(Errc::kCorruption, fmt::format("{}: the write-ahead log has a batch at byte {}, and those before it "
                                                "end at byte {}",
                                                segment->log_path(), entry.position, segment->size_bytes()));
  }
  if (bytes) {
    // Beside damage new batches go into a new segment, and so do these. Until a checkpoint knows them there, the next
    // start will want them from where they were.
    for (const auto& one : segments()) {
      if (!is_its_segment && one->base_offset() == entry.segment) one->keep_rest();
    }
    apply(*bytes, is_its_segment ? Plan::Place::kFileOnly : Plan::Place::kTail);
    return flush_active();
  }
  if (!is_damage(bytes.error())) return tl::unexpected(std::move(bytes).error());
  if (header.last_offset() < ahead_.log_start) return skip_removed(header);
  return skip_damaged(header, bytes.error());
}

Status PartitionLog::skip_removed(const record::BatchView& batch) {
  note_producer(batch);
  const Offset next = batch.last_offset() + 1;
  const bool is_empty = active()->size_bytes() == 0;
  {
    MutexLock lock(mutex_);
    log_end_ = next;
    if (is_empty) segments_.back() = new_segment(next);
  }
  return remove_before(next);
}

Status PartitionLog::skip_damaged(const record::BatchView& batch, const Error& error) {
  note_producer(batch);
  const Offset from = batch.base_offset();
  const Offset next = batch.last_offset() + 1;
  const auto closing = active();
  const bool is_empty = closing->size_bytes() == 0;
  closing->keep_rest();
  if (!is_empty) closing->close_for_append();
  const Damage damage{from, next, as_damage(error)};
  report(damage);
  MutexLock lock(mutex_);
  if (is_empty) segments_.pop_back();
  segments_.push_back(Segment::make_damaged(shared_->files, directory_, from, damage.error));
  segments_.push_back(new_segment(next));
  damage_.push_back(damage);
  log_end_ = next;
  return {};
}

Status PartitionLog::remove_before(Offset to) {
  for (const auto& segment : drop_before(to)) {
    // Its file may hold batches that are still to come.
    const auto held = ahead_.batches_in.find(segment->base_offset());
    if (held != ahead_.batches_in.end() && held->second > to) continue;
    for (const std::string& path : segment->paths()) MILLRACE_RETURN_IF_ERROR(shared_->files.remove_all(path));
  }
  return {};
}

Status PartitionLog::replay_log_start(Offset to) {
  MutexLock append_lock(append_mutex_);
  if (to > log_end_offset()) {
    return fail(Errc::kCorruption, fmt::format("{}: the write-ahead log begins it at {}, but it ends at {}", directory_,
                                               to.value(), log_end_offset().value()));
  }
  return to <= log_start_offset() ? Status{} : remove_before(to);
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
  ahead_ = {};
  high_watermark_.store(log_end_.value(), std::memory_order_release);
  return {};
}

}  // namespace millrace::log
