#include "log/internal/partition_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/logging.h"

namespace millrace::log {

PartitionLog::PartitionLog(std::shared_ptr<Shared> shared, Identity identity)
    : shared_(std::move(shared)),
      identity_(std::move(identity)),
      directory_(fmt::format("{}/topics/{}-{}", shared_->options.dir, identity_.topic, identity_.partition.value())) {
  {
    MutexLock lock(policy_mutex_);
    policy_.segment_bytes = shared_->options.segment_bytes;
    policy_.index_interval_bytes = shared_->options.index_interval_bytes;
  }
  MutexLock lock(mutex_);
  segments_.push_back(Segment::make(shared_->files, directory_, Offset{0}, segment_options()));
  epochs_.push_back({LeaderEpoch{0}, Offset{0}});
}

Segment::Options PartitionLog::segment_options() const {
  return {.index_interval_bytes = policy().index_interval_bytes,
          .tails_bytes = &shared_->tails_bytes,
          .open_files = &shared_->open_files};
}

tl::unexpected<Error> PartitionLog::deleted() const {
  return fail(Errc::kNotFound, fmt::format("topic {} was deleted", identity_.topic));
}

std::shared_ptr<Segment> PartitionLog::new_segment(Offset base) const {
  Segment::Options options = segment_options();
  options.keeps_file = ahead_.batches_in.contains(base);
  return Segment::make(shared_->files, directory_, base, options);
}

std::shared_ptr<Segment> PartitionLog::active() const {
  MutexLock lock(mutex_);
  return segments_.back();
}

std::vector<std::shared_ptr<Segment>> PartitionLog::segments() const {
  MutexLock lock(mutex_);
  return segments_;
}

Status PartitionLog::make_directory() {
  env::FileSystem& files = shared_->files;
  // Whoever has lost the directory, too, gets one for what is new.
  if (has_directory_) return damage() ? files.make_directories(directory_) : Status{};
  MILLRACE_ASSIGN_OR_RETURN(const bool exists, files.exists(directory_));
  if (exists) {
    const std::string stray = fmt::format("{}.{}-stray", directory_, identity_.topic_id.to_string());
    log_warning("log", "{} belongs to no topic; moving it to {}", directory_, stray);
    MILLRACE_RETURN_IF_ERROR(files.rename(directory_, stray));
  }
  MILLRACE_RETURN_IF_ERROR(files.make_directories(directory_));
  has_directory_ = true;
  // For Kafka's tools, and for people.
  MILLRACE_ASSIGN_OR_RETURN(const auto metadata,
                            files.open(env::join_path(directory_, "partition.metadata"), env::OpenMode::kCreateEmpty));
  return metadata->write_at(0, as_byte_view(fmt::format("version: 0\ntopic_id: {}\n", identity_.topic_id.to_string())));
}

Status PartitionLog::flush_active() {
  if (is_deleted()) return {};
  const auto segment = active();
  if (segment->tail_bytes() == 0) return {};
  MILLRACE_RETURN_IF_ERROR(make_directory());
  return segment->flush();
}

void PartitionLog::roll() {
  const auto closing = active();
  closing->close_for_append();
  closing->set_closed_at(to_unix_ms(shared_->clock.wall_now()));
  // Its last index entries are only in memory: a checkpoint must come by, though it may have seen every batch.
  if (closing->size_bytes() > 0 && (unsynced_.empty() || unsynced_.back() != closing)) unsynced_.push_back(closing);
  {
    MutexLock lock(mutex_);
    segments_.push_back(new_segment(log_end_));
  }
  if (policy().compacts) shared_->closed_to_compact();
}

void PartitionLog::admit(ProducerId producer, ProducerEpoch epoch) {
  MutexLock lock(append_mutex_);
  producers_.admit(producer, epoch);
}

bool PartitionLog::is_admitted(ProducerId producer, ProducerEpoch epoch) const {
  MutexLock lock(append_mutex_);
  return producers_.is_admitted(producer, epoch);
}

Result<ReadInfo> PartitionLog::read(Offset from, size_t bytes_max, bool at_least_one, Bytes& out, Isolation isolation,
                                    std::optional<env::FileRange>* range) const {
  if (is_deleted()) return deleted();
  ReadInfo info;
  std::shared_ptr<Segment> segment;
  Offset segment_end;
  Offset limit;
  {
    MutexLock lock(mutex_);
    // Not before the segment: in one that was compacted since, the first record may lie behind an earlier end.
    info.high_watermark = high_watermark();
    info.log_start_offset = log_start_;
    if (from < log_start_ || from > log_end_) return out_of_range(from);
    info.last_stable_offset = std::max(open_transactions_.last_stable(info.high_watermark), log_start_);
    limit = isolation == Isolation::kReadCommitted ? info.last_stable_offset : info.high_watermark;
    if (from >= limit || (bytes_max == 0 && !at_least_one)) return info;
    const auto next = std::ranges::upper_bound(segments_, from, {}, [](const auto& one) { return one->base_offset(); });
    segment = *std::prev(next);
    segment_end = next == segments_.end() ? log_end_ : (*next)->base_offset();
    // Then each batch must be looked at below.
    if (isolation == Isolation::kReadCommitted && !aborted_is_known_) range = nullptr;
  }
  const size_t before = out.size();
  const Segment::Wanted wanted{from, limit, bytes_max, at_least_one};
  const auto batches = range != nullptr ? segment->read_or_locate(wanted, out, *range) : segment->read(wanted, out);
  if (is_deleted()) {
    // The file's name may be that of another topic's by now.
    out.resize(before);
    if (range != nullptr) range->reset();
    return deleted();
  }
  if (!batches) {
    out.resize(before);
    {
      MutexLock lock(mutex_);
      if (from < log_start_) return out_of_range(from);  // removed meanwhile
    }
    // An error of the disk itself may pass.
    if (batches.error().code == Errc::kIo || !is_damage(batches.error())) return tl::unexpected(batches.error());
    const Error damage = as_damage(batches.error());
    note_damage(segment->base_offset(), segment_end, damage);
    return tl::unexpected(damage);
  }
  if (isolation == Isolation::kReadCommitted) {
    if (const Status decided = check_decided(ByteView(out).subspan(before)); !decided) {
      out.resize(before);
      return tl::unexpected(decided.error());
    }
  }
  static_cast<BatchRun&>(info) = *batches;
  return info;
}

tl::unexpected<Error> PartitionLog::out_of_range(Offset offset) const {
  return fail(Errc::kInvalidArgument,
              fmt::format("offset {} of {}-{} is outside {}..{}", offset.value(), identity_.topic,
                          identity_.partition.value(), log_start_.value(), log_end_.value()));
}

std::vector<std::shared_ptr<Segment>> PartitionLog::drop_before(Offset to) {
  // With everything gone the segment that is appended to goes, too.
  if (to == log_end_offset() && active()->size_bytes() > 0) roll();
  std::vector<std::shared_ptr<Segment>> dropped;
  MutexLock lock(mutex_);
  log_start_ = to;
  const auto kept = std::prev(
      std::ranges::upper_bound(segments_, to, {}, [](const auto& segment) { return segment->base_offset(); }));
  dropped.assign(segments_.begin(), kept);
  segments_.erase(segments_.begin(), kept);
  std::erase_if(unsynced_, [&](const auto& segment) { return std::ranges::find(dropped, segment) != dropped.end(); });
  std::erase_if(aborted_, [&](const AbortedTransaction& one) { return one.last_offset < to; });
  trim_epochs();
  epochs_changed_ = true;
  forget_damage(to);
  return dropped;
}

void PartitionLog::trim_epochs() {
  while (epochs_.size() > 1 && epochs_[1].start_offset <= log_start_) epochs_.erase(epochs_.begin());
  if (!epochs_.empty()) epochs_.front().start_offset = std::max(epochs_.front().start_offset, log_start_);
}

Result<WalPosition> PartitionLog::advance_log_start(Offset to) {
  std::vector<std::string> leaving;
  WalPosition position;
  const bool was_quarantined = damage().has_value();
  {
    MutexLock lock(append_mutex_);
    if (is_deleted()) return deleted();
    if (to.value() < 0 || to > high_watermark()) {
      MutexLock shared_lock(mutex_);
      return out_of_range(to);
    }
    if (to <= log_start_offset()) return last_position_;
    const WalEntry entry{.type = WalEntryType::kAdvanceLogStart,
                         .topic = identity_.topic_number,
                         .partition = identity_.partition.value(),
                         .log_start = to};
    // Without waiting: producers to this partition would wait for the lock.
    MILLRACE_ASSIGN_OR_RETURN(const bool admitted, shared_->wal.try_admit(encoded_size(entry), true));
    if (!admitted) return fail(Errc::kUnavailable, "the write-ahead log's buffer is full", "try again");
    for (const auto& segment : drop_before(to)) {
      shared_->removed_segments.add();
      shared_->removed_bytes.add(segment->size_bytes());
      std::ranges::copy(segment->paths(), std::back_inserter(leaving));
    }
    last_position_ = position = shared_->wal.append(entry, nullptr, Offset{0});
  }
  if (!leaving.empty()) {
    // Not before: after a crash that loses the entry they are still wanted.
    shared_->wal.when_durable(position, [shared = shared_, self = handle_.lock(), leaving](const Status& durable) {
      if (durable) shared->remove_later(self, leaving);
    });
  }
  if (was_quarantined && !damage()) {
    log_info("log", "{}-{} is no longer quarantined: it begins at {}, behind the damage", identity_.topic,
             identity_.partition.value(), to.value());
  }
  return position;
}

std::vector<AbortedTransaction> PartitionLog::aborted_transactions(Offset from, Offset end) const {
  std::vector<AbortedTransaction> found;
  MutexLock lock(mutex_);
  for (auto it = std::ranges::lower_bound(aborted_, from, {}, &AbortedTransaction::last_offset); it != aborted_.end();
       ++it) {
    if (it->first_offset < end) found.push_back(*it);
    // What was undecided when this one ended begins at `end` or later, and so does all that was aborted since.
    if (it->last_stable_offset >= end) break;
  }
  return found;
}

Offset PartitionLog::log_start_offset() const {
  MutexLock lock(mutex_);
  return log_start_;
}
Offset PartitionLog::last_stable_offset() const {
  const Offset durable = high_watermark();
  MutexLock lock(mutex_);
  return std::max(open_transactions_.last_stable(durable), log_start_);
}
Offset PartitionLog::log_end_offset() const {
  MutexLock lock(mutex_);
  return log_end_;
}
LeaderEpoch PartitionLog::leader_epoch() const {
  MutexLock lock(mutex_);
  return leader_epoch_;
}

std::vector<ProducerInfo> PartitionLog::producers() const {
  MutexLock append_lock(append_mutex_);
  std::vector<ProducerInfo> all = producers_.all();
  MutexLock lock(mutex_);
  for (ProducerInfo& producer : all) producer.transaction_start = open_transactions_.first_offset_of(producer.id);
  return all;
}

uint64_t PartitionLog::size_bytes() const {
  uint64_t bytes = 0;
  for (const auto& segment : segments()) bytes += segment->size_bytes();
  return bytes;
}

size_t PartitionLog::segment_count() const {
  MutexLock lock(mutex_);
  return segments_.size();
}

EpochEnd PartitionLog::epoch_end_offset(LeaderEpoch epoch) const {
  MutexLock lock(mutex_);
  if (epoch == leader_epoch_) return {epoch, high_watermark()};
  if (epoch > leader_epoch_ || epoch.value() < 0) return {};
  const auto next = std::ranges::upper_bound(epochs_, epoch, {}, &EpochStart::epoch);
  if (next == epochs_.end()) return {epochs_.empty() ? epoch : epochs_.back().epoch, high_watermark()};
  // Before the first known epoch nothing is here: it ends where that begins.
  return {next == epochs_.begin() ? epoch : std::prev(next)->epoch, next->start_offset};
}

LeaderEpoch PartitionLog::epoch_at(Offset offset) const {
  MutexLock lock(mutex_);
  const auto next = std::ranges::upper_bound(epochs_, offset, {}, &EpochStart::start_offset);
  if (next != epochs_.begin()) return std::prev(next)->epoch;
  return epochs_.empty() ? leader_epoch_ : epochs_.front().epoch;
}

void PartitionLog::mark_deleted() {
  MutexLock lock(append_mutex_);
  deleted_.store(true, std::memory_order_release);
}

Result<PartitionLog::Snapshot> PartitionLog::snapshot() {
  MutexLock append_lock(append_mutex_);
  MILLRACE_RETURN_IF_ERROR(flush_active());
  const int64_t expiration_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(shared_->options.producer_id_expiration).count();
  producers_.expire(to_unix_ms(shared_->clock.wall_now()) - expiration_ms);
  producer_count_.store(producers_.size(), std::memory_order_relaxed);
  Snapshot snapshot;
  PartitionSnapshot& content = snapshot.content;
  content.has_directory = has_directory_;
  producers_.encode(content.producers);
  snapshot.unsynced.swap(unsynced_);
  MutexLock lock(mutex_);
  // Of a quarantined partition nothing changes but what new records need.
  snapshot.epochs_changed = damage_.empty() && std::exchange(epochs_changed_, false);
  content.log_start_offset = log_start_;
  content.log_end_offset = log_end_;
  content.leader_epoch = leader_epoch_;
  content.cleaned_offset = cleaned_;
  content.epochs = epochs_;
  content.active = segments_.back()->end();
  open_transactions_.encode(content.open_transactions);
  snapshot.transaction_indexes = encode_transaction_indexes(snapshot.unsynced);
  return snapshot;
}

void PartitionLog::put_back(const Snapshot& snapshot) {
  MutexLock lock(append_mutex_);
  epochs_changed_ |= snapshot.epochs_changed;
  const Offset first = segments().front()->base_offset();
  for (const auto& segment : snapshot.unsynced) {
    if (segment->base_offset() < first) continue;  // dropped meanwhile
    if (std::ranges::find(unsynced_, segment) == unsynced_.end()) unsynced_.insert(unsynced_.begin(), segment);
  }
}

Status PartitionLog::write_epoch_file(const PartitionSnapshot& content) {
  std::string text = fmt::format("0\n{}\n", content.epochs.size());
  for (const EpochStart& start : content.epochs) {
    text += fmt::format("{} {}\n", start.epoch.value(), start.start_offset.value());
  }
  return env::write_file_atomically(shared_->files, env::join_path(directory_, "leader-epoch-checkpoint"),
                                    as_byte_view(text));
}

}  // namespace millrace::log
