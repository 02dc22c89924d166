#include "log/internal/partition_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/logging.h"
#include "base/text.h"
#include "log/internal/aborted_transactions.h"
#include "record/marker.h"
#include "record/records.h"

namespace millrace::log {

namespace {

// How far the tail of a partition that may use the reserve grows while the disk is full.
constexpr uint64_t kReserveTailBytes = 1u << 20;
// Recovery writes in larger pieces: there is one partition's worth of them at a time.
constexpr uint64_t kReplayTailBytes = 256u << 10;
// Of one batch, to find a record by its time.
constexpr size_t kPlainBytesMax = 128u << 20;

}  // namespace

PartitionLog::PartitionLog(std::shared_ptr<Shared> shared, Identity identity)
    : shared_(std::move(shared)),
      identity_(std::move(identity)),
      directory_(fmt::format("{}/topics/{}-{}", shared_->options.dir, identity_.topic, identity_.partition.value())) {
  MutexLock lock(mutex_);
  segments_.push_back(Segment::make(shared_->files, directory_, Offset{0}, segment_options()));
  epochs_.push_back({LeaderEpoch{0}, Offset{0}});
}

Segment::Options PartitionLog::segment_options() const {
  return {.index_interval_bytes = shared_->options.index_interval_bytes, .tails_bytes = &shared_->tails_bytes};
}

Status PartitionLog::restore(const PartitionSnapshot& snapshot) {
  env::FileSystem& files = shared_->files;
  std::vector<std::shared_ptr<Segment>> opened;
  if (snapshot.has_directory) {
    MILLRACE_ASSIGN_OR_RETURN(const auto entries, files.list(directory_));
    std::vector<Offset> older;
    for (const auto& entry : entries) {
      const size_t dot = entry.name.find('.');
      const auto base = parse_int64(std::string_view(entry.name).substr(0, dot));
      if (!base || segment_name(Offset{*base}) != entry.name.substr(0, dot)) continue;
      if (*base > snapshot.active.base_offset.value()) {
        // Begun after the checkpoint: the write-ahead log has it all.
        MILLRACE_RETURN_IF_ERROR(files.remove(env::join_path(directory_, entry.name)));
      } else if (*base < snapshot.active.base_offset.value() && entry.name.ends_with(".log")) {
        older.push_back(Offset{*base});
      }
    }
    std::ranges::sort(older);
    if (!older.empty() && older.front() > snapshot.log_start_offset) {
      return fail(Errc::kCorruption,
                  fmt::format("{} lacks the segment of offset {}", directory_, snapshot.log_start_offset.value()));
    }
    for (size_t i = 0; i < older.size(); ++i) {
      const Offset end = i + 1 < older.size() ? older[i + 1] : snapshot.active.base_offset;
      MILLRACE_ASSIGN_OR_RETURN(auto segment,
                                Segment::open_closed(files, directory_, older[i], end, segment_options()));
      opened.push_back(std::move(segment));
    }
    if (older.empty() && snapshot.active.base_offset > snapshot.log_start_offset) {
      return fail(Errc::kCorruption,
                  fmt::format("{} lacks the segment of offset {}", directory_, snapshot.log_start_offset.value()));
    }
  } else {
    MILLRACE_RETURN_IF_ERROR(files.remove_all(directory_));
  }
  MILLRACE_ASSIGN_OR_RETURN(auto last, Segment::open_active(files, directory_, snapshot.active, segment_options()));
  opened.push_back(std::move(last));
  std::vector<AbortedTransaction> aborted;
  if (snapshot.has_directory) {
    MILLRACE_ASSIGN_OR_RETURN(aborted, load_aborted(opened, snapshot.log_end_offset));
  }

  MutexLock append_lock(append_mutex_);
  ByteReader producers(snapshot.producers);
  if (!snapshot.producers.empty()) MILLRACE_RETURN_IF_ERROR(producers_.decode(producers));
  has_directory_ = snapshot.has_directory;
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
  log_start_ = snapshot.log_start_offset;
  log_end_ = snapshot.log_end_offset;
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
    if (active()->is_full(batch.size_bytes(), batch.last_offset(), shared_->options.segment_bytes)) {
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
  high_watermark_.store(log_end_.value(), std::memory_order_release);
}

tl::unexpected<Error> PartitionLog::deleted() const {
  return fail(Errc::kNotFound, fmt::format("topic {} was deleted", identity_.topic));
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
  if (has_directory_) return {};
  env::FileSystem& files = shared_->files;
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
                            files.open(env::join_path(directory_, "partition.metadata"), env::OpenMode::kCreateNew));
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
  active()->close_for_append();
  MutexLock lock(mutex_);
  segments_.push_back(Segment::make(shared_->files, directory_, log_end_, segment_options()));
}

Status PartitionLog::make_room(size_t bytes, Offset last_offset, bool from_reserve) {
  if (active()->is_full(bytes, last_offset, shared_->options.segment_bytes)) {
    MILLRACE_RETURN_IF_ERROR(flush_active());
    roll();
  }
  const uint64_t tail = active()->tail_bytes();
  if (tail == 0 || tail + bytes <= shared_->options.tail_bytes) return {};
  const Status flushed = flush_active();
  if (!flushed && flushed.error().code == Errc::kOutOfSpace && from_reserve && tail + bytes <= kReserveTailBytes) {
    return {};
  }
  return flushed;
}

Status PartitionLog::prepare(std::span<std::byte> batches, const AppendOptions& options, Plan& plan) {
  if (is_deleted()) return deleted();
  if (batches.size() > kAppendBytesMax) {
    return fail(Errc::kTooLarge, fmt::format("{} bytes are more than one append may have", batches.size()));
  }
  LeaderEpoch epoch;
  Offset next;
  {
    MutexLock lock(mutex_);
    epoch = leader_epoch_;
    next = log_end_;
    plan.result.log_start_offset = log_start_;
  }
  if (options.timestamp_type == record::TimestampType::kLogAppendTime) {
    plan.result.log_append_time_ms = to_unix_ms(shared_->clock.wall_now());
  }
  plan.result.base_offset = next;
  for (size_t at = 0; at < batches.size();) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, record::BatchView::first_of(batches.subspan(at)));
    const std::span<std::byte> bytes = batches.subspan(at, batch.size_bytes());
    if (batch.is_control()) {
      MILLRACE_ASSIGN_OR_RETURN(const auto type, record::marker_type(batch));
      if (!type) return fail(Errc::kInvalidArgument, "a control batch that is no transaction marker");
    }
    if (batch.has_producer_id()) {
      if (bytes.size() != batches.size()) {
        return fail(Errc::kInvalidArgument, "a batch with a producer id must be alone in its append");
      }
      const auto verdict = producers_.check(batch);
      plan.result.outcome = verdict.outcome;
      if (verdict.outcome != AppendOutcome::kAppended) {
        plan.result.base_offset = verdict.original.base_offset;
        plan.result.last_offset = verdict.original.last_offset;
        plan.result.position = last_position_;
        return {};
      }
    }
    record::set_base_offset(bytes, next);
    record::set_leader_epoch(bytes, epoch);
    if (plan.result.log_append_time_ms != record::kNoTimestamp) {
      record::set_log_append_time(bytes, plan.result.log_append_time_ms);
    }
    next = next + (batch.last_offset_delta() + 1);
    at += bytes.size();
  }
  if (batches.empty()) return fail(Errc::kInvalidArgument, "an append without record batches");
  plan.result.last_offset = next + -1;
  MILLRACE_RETURN_IF_ERROR(make_room(batches.size(), plan.result.last_offset, options.from_reserve));
  if (batches.size() > shared_->options.tail_bytes && active()->tail_bytes() == 0) {
    MILLRACE_RETURN_IF_ERROR(make_directory());
    const Status written = active()->write_ahead(batches);
    const bool reserved = options.from_reserve && batches.size() <= kReserveTailBytes;
    if (!written && !(reserved && written.error().code == Errc::kOutOfSpace)) return written;
    plan.written_ahead = written.has_value();
  }
  plan.batches = batches;
  return {};
}

size_t PartitionLog::wal_bytes(const Plan& plan) const {
  if (plan.batches.empty()) return 0;
  return encoded_size({.type = WalEntryType::kBatches, .body = plan.batches});
}

void PartitionLog::apply(ByteView batches, bool written_ahead) {
  const auto segment = active();
  if (written_ahead) {
    segment->append_written(batches);
  } else {
    segment->append(batches);
  }
  if (unsynced_.empty() || unsynced_.back() != segment) unsynced_.push_back(segment);
  Offset end;
  for (ByteView rest = batches; !rest.empty();) {
    const auto batch = record::BatchView::first_of(rest);
    MILLRACE_CHECK(batch.has_value());
    if (batch->has_producer_id()) {
      producers_.update(*batch, to_unix_ms(shared_->clock.wall_now()));
      if (batch->is_transactional()) {
        MutexLock lock(mutex_);
        note_transaction(*batch);
      }
    }
    end = batch->last_offset() + 1;
    rest = rest.subspan(batch->size_bytes());
  }
  MutexLock lock(mutex_);
  log_end_ = end;
}

void PartitionLog::note_transaction(const record::BatchView& batch) {
  if (!batch.is_control()) return open_transactions_.note_record(batch.producer_id(), batch.base_offset());
  // prepare() has seen that it is a marker; in a log of Kafka's other control records may be there.
  const auto type = record::marker_type(batch);
  if (!type || !*type) return;
  const Offset marker = batch.last_offset();
  const auto first = open_transactions_.end(batch.producer_id(), marker);
  if (!first || **type == record::MarkerType::kCommit) return;
  aborted_.push_back({batch.producer_id(), *first, marker, open_transactions_.first_open(marker + 1)});
}

void PartitionLog::commit(Plan& plan) {
  if (plan.batches.empty()) return;
  // Readable, but for the high watermark, before the write-ahead log can report it durable.
  apply(plan.batches, plan.written_ahead);
  last_position_ = shared_->wal.append({.type = WalEntryType::kBatches,
                                        .topic = identity_.topic_number,
                                        .partition = identity_.partition.value(),
                                        .body = plan.batches},
                                       this, plan.result.last_offset + 1);
  plan.result.position = last_position_;
  if (shared_->tails_bytes.load(std::memory_order_relaxed) > shared_->options.tails_bytes_max) {
    // Where this fails the next append meets the same and reports it.
    static_cast<void>(flush_active());
  }
}

Result<Appended> PartitionLog::append(std::span<std::byte> batches, const AppendOptions& options) {
  MutexLock lock(append_mutex_);
  Plan plan;
  MILLRACE_RETURN_IF_ERROR(prepare(batches, options, plan));
  if (!plan.batches.empty()) {
    MILLRACE_RETURN_IF_ERROR(shared_->wal.admit(wal_bytes(plan), options.from_reserve));
    commit(plan);
  }
  return plan.result;
}

void PartitionLog::admit(ProducerId producer, ProducerEpoch epoch) {
  MutexLock lock(append_mutex_);
  producers_.admit(producer, epoch);
}

bool PartitionLog::is_admitted(ProducerId producer, ProducerEpoch epoch) const {
  MutexLock lock(append_mutex_);
  return producers_.is_admitted(producer, epoch);
}

Result<ReadInfo> PartitionLog::read(Offset from, size_t bytes_max, bool at_least_one, Bytes& out,
                                    Isolation isolation) const {
  if (is_deleted()) return deleted();
  ReadInfo info;
  info.high_watermark = high_watermark();
  std::shared_ptr<Segment> segment;
  Offset limit;
  {
    MutexLock lock(mutex_);
    info.log_start_offset = log_start_;
    if (from < log_start_ || from > log_end_) {
      return fail(Errc::kInvalidArgument,
                  fmt::format("offset {} of {}-{} is outside {}..{}", from.value(), identity_.topic,
                              identity_.partition.value(), log_start_.value(), log_end_.value()));
    }
    info.last_stable_offset = open_transactions_.last_stable(info.high_watermark);
    limit = isolation == Isolation::kReadCommitted ? info.last_stable_offset : info.high_watermark;
    if (from >= limit || (bytes_max == 0 && !at_least_one)) return info;
    segment = *std::prev(std::ranges::upper_bound(segments_, from, {}, [](const auto& s) { return s->base_offset(); }));
  }
  MILLRACE_ASSIGN_OR_RETURN(info.bytes, segment->read(from, limit, bytes_max, at_least_one, out));
  return info;
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

Result<std::optional<TimestampedOffset>> PartitionLog::first_record_at(const Segment& segment, uint64_t position,
                                                                       int64_t timestamp_ms) const {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes bytes, segment.read_batch(position));
  MILLRACE_ASSIGN_OR_RETURN(const record::BatchView batch, record::BatchView::first_of(bytes));
  TimestampedOffset found{batch.base_offset(), batch.max_timestamp_ms(), batch.leader_epoch()};
  auto reader = record::RecordReader::open(batch, kPlainBytesMax);
  record::Record record;
  while (reader) {
    const auto more = reader->next(record);
    // Arrived batches are not decompressed, so records need not be what the header says: then the whole batch it is.
    if (!more || !*more) break;
    if (record.timestamp_ms < timestamp_ms) continue;
    found.offset = record.offset;
    found.timestamp_ms = record.timestamp_ms;
    break;
  }
  return found;
}

Result<std::optional<TimestampedOffset>> PartitionLog::offset_for_time(int64_t timestamp_ms) const {
  if (is_deleted()) return deleted();
  const Offset limit = high_watermark();
  for (const auto& segment : segments()) {
    if (segment->base_offset() >= limit) break;
    const TimestampedOffset greatest = segment->max_timestamp();
    if (greatest.offset.value() < 0 || greatest.timestamp_ms < timestamp_ms) continue;
    MILLRACE_ASSIGN_OR_RETURN(const Offset from, segment->floor_of_time(timestamp_ms));
    std::optional<uint64_t> position;
    MILLRACE_RETURN_IF_ERROR(segment->scan(from, [&](const Segment::Found& found) {
      if (found.view().base_offset() >= limit) return false;
      if (found.view().max_timestamp_ms() < timestamp_ms) return true;
      position = found.position;
      return false;
    }));
    if (position) return first_record_at(*segment, *position, timestamp_ms);
  }
  return std::nullopt;
}

Result<Offset> PartitionLog::scan_for_max_timestamp(const Segment& segment, Offset limit) const {
  Offset best{-1};
  int64_t greatest = 0;
  MILLRACE_RETURN_IF_ERROR(segment.scan(segment.base_offset(), [&](const Segment::Found& found) {
    const record::BatchView batch = found.view();
    if (batch.base_offset() >= limit) return false;
    if (best.value() < 0 || batch.max_timestamp_ms() > greatest) {
      greatest = batch.max_timestamp_ms();
      best = batch.last_offset();
    }
    return true;
  }));
  return best;
}

Result<std::optional<TimestampedOffset>> PartitionLog::offset_of_max_timestamp() const {
  if (is_deleted()) return deleted();
  const Offset limit = high_watermark();
  std::shared_ptr<Segment> best_segment;
  TimestampedOffset best;
  for (const auto& segment : segments()) {
    if (segment->base_offset() >= limit) break;
    TimestampedOffset greatest = segment->max_timestamp();
    if (greatest.offset.value() < 0) continue;
    if (best_segment != nullptr && greatest.timestamp_ms <= best.timestamp_ms) continue;
    if (greatest.offset >= limit) {
      // The one that has it is not durable yet: look at those that are.
      MILLRACE_ASSIGN_OR_RETURN(greatest.offset, scan_for_max_timestamp(*segment, limit));
      if (greatest.offset.value() < 0) continue;
      MILLRACE_RETURN_IF_ERROR(segment->scan(greatest.offset, [&](const Segment::Found& found) {
        greatest.timestamp_ms = found.view().max_timestamp_ms();
        return false;
      }));
      if (best_segment != nullptr && greatest.timestamp_ms <= best.timestamp_ms) continue;
    }
    best = greatest;
    best_segment = segment;
  }
  if (best_segment == nullptr) return std::nullopt;
  uint64_t position = 0;
  MILLRACE_RETURN_IF_ERROR(best_segment->scan(best.offset, [&](const Segment::Found& found) {
    position = found.position;
    return false;
  }));
  return first_record_at(*best_segment, position, best.timestamp_ms);
}

Offset PartitionLog::log_start_offset() const {
  MutexLock lock(mutex_);
  return log_start_;
}
Offset PartitionLog::last_stable_offset() const {
  const Offset durable = high_watermark();
  MutexLock lock(mutex_);
  return open_transactions_.last_stable(durable);
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
  Snapshot snapshot;
  PartitionSnapshot& content = snapshot.content;
  content.has_directory = has_directory_;
  producers_.encode(content.producers);
  snapshot.unsynced.swap(unsynced_);
  snapshot.epochs_changed = std::exchange(epochs_changed_, false);
  MutexLock lock(mutex_);
  content.log_start_offset = log_start_;
  content.log_end_offset = log_end_;
  content.leader_epoch = leader_epoch_;
  content.epochs = epochs_;
  content.active = segments_.back()->end();
  open_transactions_.encode(content.open_transactions);
  snapshot.transaction_indexes = encode_transaction_indexes(snapshot.unsynced);
  return snapshot;
}

void PartitionLog::put_back(const Snapshot& snapshot) {
  MutexLock lock(append_mutex_);
  epochs_changed_ |= snapshot.epochs_changed;
  for (const auto& segment : snapshot.unsynced) {
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
