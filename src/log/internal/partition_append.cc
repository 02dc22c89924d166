#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "log/internal/partition_log.h"
#include "record/marker.h"

// The part of PartitionLog that appends: what is checked, where the batches go, and what is known of them then.
namespace millrace::log {

namespace {

// How far the tail of a partition that may use the reserve grows while the disk is full.
constexpr uint64_t kReserveTailBytes = 1u << 20;

// Whether batches that are in the segment's file need not go into the write-ahead log as well: a single large one with
// records, where the sync of the file is for it, and not for much that nobody waits for yet.
bool is_written_once(ByteView batches, const AppendOptions& options, const Segment& segment, uint64_t bytes_min) {
  if (batches.size() < bytes_min || options.from_reserve) return false;
  const auto batch = record::BatchView::first_of(batches);
  return batch && batch->size_bytes() == batches.size() && !batch->is_control() &&
         segment.unsynced_copy_bytes() <= batches.size();
}

constexpr Appended kNoRoomNow{.outcome = AppendOutcome::kNoRoom};

}  // namespace

Status PartitionLog::make_room(const Coming& coming) {
  const TopicPolicy limits = policy();
  if (active()->is_full(coming.bytes, coming.last_offset, limits.segment_bytes)) {
    MILLRACE_RETURN_IF_ERROR(flush_active());
    roll();
  } else if (is_due_before(coming, limits) && flush_active()) {
    // On a disk that is full its age can wait: no append is refused for it.
    roll();
  }
  const uint64_t tail = active()->tail_bytes();
  if (tail == 0 || tail + coming.bytes <= shared_->options.tail_bytes) return {};
  const Status flushed = flush_active();
  const bool is_full = !flushed && flushed.error().code == Errc::kOutOfSpace;
  if (is_full && coming.from_reserve && tail + coming.bytes <= kReserveTailBytes) return {};
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
    // What must go on does: markers and the coordinators' own records.
    if (!damage_.empty() && !options.from_reserve) return quarantined();
    epoch = leader_epoch_;
    next = log_end_;
    plan.result.log_start_offset = log_start_;
  }
  if (options.timestamp_type == record::TimestampType::kLogAppendTime) {
    plan.result.log_append_time_ms = to_unix_ms(shared_->clock.wall_now());
  }
  plan.result.base_offset = next;
  Coming coming{.bytes = batches.size(), .from_reserve = options.from_reserve};
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
      auto verdict = producers_.check(batch);
      // Who writes from the reserve is the coordinator that there is: an epoch that an administrator has named must not
      // keep it from ending its transactions.
      if (verdict.outcome == AppendOutcome::kCoordinatorFenced && options.from_reserve) verdict = {};
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
    coming.max_timestamp_ms = std::max(coming.max_timestamp_ms, batch.max_timestamp_ms());
    next = next + (batch.last_offset_delta() + 1);
    at += bytes.size();
  }
  if (batches.empty()) return fail(Errc::kInvalidArgument, "an append without record batches");
  coming.last_offset = plan.result.last_offset = next + -1;
  if (Status placed = place(batches, coming, options, plan); !placed) {
    // Of a file or its directory, which somebody has taken away: callers take it for the topic's deletion.
    if (placed.error().code == Errc::kNotFound) placed.error().code = Errc::kIo;
    return placed;
  }
  plan.batches = batches;
  return {};
}

Status PartitionLog::place(ByteView batches, const Coming& coming, const AppendOptions& options, Plan& plan) {
  MILLRACE_RETURN_IF_ERROR(make_room(coming));
  if (batches.size() <= shared_->options.tail_bytes || active()->tail_bytes() > 0) return {};
  MILLRACE_RETURN_IF_ERROR(make_directory());
  const Status written = active()->write_ahead(batches);
  const bool reserved = options.from_reserve && batches.size() <= kReserveTailBytes;
  if (!written) return reserved && written.error().code == Errc::kOutOfSpace ? Status{} : written;
  plan.segment = active();
  plan.position = plan.segment->size_bytes();
  plan.place = is_written_once(batches, options, *plan.segment, shared_->options.write_once_bytes)
                   ? Plan::Place::kFileOnly
                   : Plan::Place::kFile;
  return {};
}

size_t PartitionLog::wal_bytes(const Plan& plan) const {
  if (plan.batches.empty()) return 0;
  return admitted_size(wal_entry(plan));
}

WalEntry PartitionLog::wal_entry(const Plan& plan) const {
  WalEntry entry{.type = WalEntryType::kBatches,
                 .topic = identity_.topic_number,
                 .partition = identity_.partition.value(),
                 .body = plan.batches};
  if (plan.place == Plan::Place::kFileOnly) {
    entry.type = WalEntryType::kBatchInSegment;
    entry.body = entry.body.first(record::kBatchHeaderBytes);
    entry.segment = plan.segment->base_offset();
    entry.position = plan.position;
  }
  return entry;
}

void PartitionLog::apply(ByteView batches, Plan::Place place) {
  const auto segment = active();
  if (segment->size_bytes() == 0) {
    const auto first = record::BatchView::first_of(batches);
    MILLRACE_CHECK(first.has_value());
    active_begun_ = Begun{.at_ms = to_unix_ms(shared_->clock.wall_now()), .timestamp_ms = first->max_timestamp_ms()};
  }
  if (place == Plan::Place::kTail) {
    segment->append(batches);
  } else {
    segment->append_written(batches, place == Plan::Place::kFileOnly);
  }
  if (unsynced_.empty() || unsynced_.back() != segment) unsynced_.push_back(segment);
  Offset end;
  for (ByteView rest = batches; !rest.empty();) {
    const auto batch = record::BatchView::first_of(rest);
    MILLRACE_CHECK(batch.has_value());
    note_producer(*batch);
    end = batch->last_offset() + 1;
    rest = rest.subspan(batch->size_bytes());
  }
  MutexLock lock(mutex_);
  log_end_ = end;
}

void PartitionLog::note_producer(const record::BatchView& batch) {
  if (!batch.has_producer_id()) return;
  producers_.update(batch, to_unix_ms(shared_->clock.wall_now()));
  producer_count_.store(producers_.size(), std::memory_order_relaxed);
  if (!batch.is_transactional()) return;
  MutexLock lock(mutex_);
  note_transaction(batch);
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
  apply(plan.batches, plan.place);
  last_position_ = shared_->wal.append(wal_entry(plan), this, plan.result.last_offset + 1,
                                       plan.place == Plan::Place::kFileOnly ? plan.segment : nullptr);
  plan.result.position = last_position_;
  if (shared_->tails_bytes.load(std::memory_order_relaxed) > shared_->options.tails_bytes_max) {
    // Where this fails the next append meets the same and reports it.
    static_cast<void>(flush_active());
  }
}

Result<Appended> PartitionLog::append(std::span<std::byte> batches, const AppendOptions& options) {
  const bool waits_its_turn = !options.from_reserve && (options.room == nullptr || options.room->is_empty());
  if (options.when_full == WhenFull::kRefuse && waits_its_turn && shared_->wal.is_crowded()) return kNoRoomNow;
  MutexLock lock(append_mutex_);
  auto appended = append_locked(batches, options);
  if (!appended || appended->outcome == AppendOutcome::kInvalidTxnState) {
    if (const auto refused = record::BatchView::first_of(batches)) producers_.note_refused(*refused);
  }
  return appended;
}

Result<Appended> PartitionLog::append_locked(std::span<std::byte> batches, const AppendOptions& options) {
  Plan plan;
  MILLRACE_RETURN_IF_ERROR(prepare(batches, options, plan));
  if (!plan.batches.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const bool admitted, shared_->wal.admit(wal_bytes(plan), options));
    if (!admitted) return kNoRoomNow;
    commit(plan);
  }
  return plan.result;
}

}  // namespace millrace::log
