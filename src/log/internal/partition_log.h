#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/result.h"
#include "env/file_system.h"
#include "log/internal/checkpoint_file.h"
#include "log/internal/open_files.h"
#include "log/internal/open_transactions.h"
#include "log/internal/producer_state.h"
#include "log/internal/segment.h"
#include "log/internal/wal.h"
#include "log/partition.h"
#include "log/store.h"
#include "log/topic_policy.h"

namespace millrace::log {

// What a start has to know of a partition before it reads the write-ahead log for its batches.
struct WalAhead {
  Offset log_start{0};  // the last that it has
  // The segments whose files hold batches that stand nowhere else, by base offset, and where the last of these ends.
  std::map<Offset, Offset> batches_in;
};

// A partition's log behind the public handle. Promises as in Partition.
//
// Locks, in the order in which they are taken: append_mutex_ makes appends, flushes and snapshots follow each other and
// is held while the segment is written; mutex_ is for what readers share and is never held over I/O. Segments and the
// write-ahead log have their own below.
class PartitionLog final : public WalParticipant {
 public:
  // What all partitions share. Outlives them.
  struct Shared {
    const StoreOptions& options;
    env::FileSystem& files;
    const Clock& clock;
    Wal& wal;
    std::atomic<uint64_t> tails_bytes{0};
    OpenFiles open_files{options.open_files_max};
    // A segment of a compacted partition was closed. Must not block.
    std::function<void()> closed_to_compact;
    Counter removed_segments;
    Counter removed_bytes;
    // Remove files of a partition in the background, unless its topic is deleted by then. Must not block.
    std::function<void(std::shared_ptr<Partition>, std::vector<std::string>)> remove_later;
  };
  struct Identity {
    std::string topic;
    Uuid topic_id;
    uint32_t topic_number = 0;
    PartitionId partition{0};
  };

  // A new, empty partition. Its directory is made with the first write.
  PartitionLog(std::shared_ptr<Shared> shared, Identity identity);
  // As the checkpoint has it: opens the segments, cuts off what came after but for batches that stand nowhere else.
  // What lies wholly before the log start may be missing and is removed. Where files
  // that should be durable are damaged, missing or unreadable it is quarantined: see Partition::damage(). For use
  // before the store is shared.
  Status restore(const PartitionSnapshot& snapshot, const WalAhead& ahead);
  // Apply batches that the write-ahead log holds, with their offsets; those that are there already are skipped.
  Status replay(ByteView batches);
  // The same of a batch that stands in a segment's file. Where it cannot be read the partition is quarantined, unless
  // it lies before the log start.
  Status replay_from_segment(const WalEntry& entry);
  // The same of an advance of the log start.
  Status replay_log_start(Offset to);
  // Recovery is over: everything there is durable. After a crash a new leader epoch begins.
  Status finish_recovery(bool crashed);
  void set_handle(std::weak_ptr<Partition> handle) { handle_ = std::move(handle); }

  void set_policy(const TopicPolicy& policy);
  TopicPolicy policy() const;
  // Close the segment that is appended to where its time has come; whether it was. partition_retention.cc.
  Result<bool> close_if_due(int64_t now_ms) EXCLUDES(append_mutex_);
  // Where the log should begin for what is beyond retention to go: the log start where nothing is.
  Offset retention_start(int64_t now_ms) const;

  // Compaction; partition_cleaning.cc. What can be compacted: closed segments, from the first on, that a checkpoint
  // knows as closed, whose records are decided and old enough. Nothing where it is not due.
  struct Cleanable {
    TopicPolicy policy;
    std::vector<std::shared_ptr<Segment>> segments;
    Offset end{0};      // where the last of them ends
    Offset cleaned{0};  // up to here it was done before
    std::vector<AbortedTransaction> aborted;
  };
  Result<std::optional<Cleanable>> cleanable(int64_t now_ms) const;
  // The segment that was written as ".log.cleaned".
  Result<std::shared_ptr<Segment>> open_cleaned(Offset base_offset) const;
  // Put it in the place of `group`, which ends at `end`; the aborted transactions whose markers were dropped are
  // forgotten. With no checkpoint running. Where the log begins later by now, nothing changes. After an error
  // is_half_swapped() says whether only a start can bring the files in order.
  Status replace(const std::vector<std::shared_ptr<Segment>>& group, Offset end, const std::shared_ptr<Segment>& made,
                 const std::vector<Offset>& dropped_markers);
  bool is_half_swapped() const { return half_swapped_.load(std::memory_order_acquire); }
  void set_cleaned(Offset end);
  // A checkpoint has been written that has this segment as the one that is appended to.
  void set_checkpointed(Offset active);

  // partition_damage.cc.
  std::optional<Error> damage() const;
  // `error` as a finding about a partition's files.
  static Error as_damage(Error error);
  // Something in [from, end) cannot be believed: quarantine the partition until the log begins at `end`, and say so in
  // the log, once.
  void note_damage(Offset from, Offset end, const Error& error) const;

  const Identity& identity() const { return identity_; }
  const std::string& directory() const { return directory_; }

  Result<Appended> append(std::span<std::byte> batches, const AppendOptions& options) EXCLUDES(append_mutex_);
  // append() in two steps, for several partitions at once: with append_mutex() held over both. prepare() changes
  // nothing that is visible and may fail; what it leaves in `plan` is for commit(), which cannot fail and needs
  // wal_bytes(plan) admitted.
  struct Plan {
    Appended result;
    std::span<std::byte> batches;
    enum class Place {
      kTail,     // in memory; the write-ahead log has them
      kFile,     // written to the segment's file; the write-ahead log has them, too
      kFileOnly  // and only there: the write-ahead log says where
    };
    Place place = Place::kTail;
    // Of kFileOnly: where they are.
    std::shared_ptr<Segment> segment;
    uint64_t position = 0;
  };
  Mutex& append_mutex() { return append_mutex_; }
  Status prepare(std::span<std::byte> batches, const AppendOptions& options, Plan& plan) REQUIRES(append_mutex_);
  size_t wal_bytes(const Plan& plan) const;
  void commit(Plan& plan) REQUIRES(append_mutex_);

  void admit(ProducerId producer, ProducerEpoch epoch) EXCLUDES(append_mutex_);
  bool is_admitted(ProducerId producer, ProducerEpoch epoch) const EXCLUDES(append_mutex_);

  Result<WalPosition> advance_log_start(Offset to) EXCLUDES(append_mutex_);

  // With `range`, as read_or_locate().
  Result<ReadInfo> read(Offset from, size_t bytes_max, bool at_least_one, Bytes& out, Isolation isolation,
                        std::optional<env::FileRange>* range = nullptr) const;
  std::vector<AbortedTransaction> aborted_transactions(Offset from, Offset end) const;
  Result<std::optional<TimestampedOffset>> offset_for_time(int64_t timestamp_ms) const;
  Result<std::optional<TimestampedOffset>> offset_of_max_timestamp() const;
  Offset log_start_offset() const;
  Offset high_watermark() const { return Offset{high_watermark_.load(std::memory_order_acquire)}; }
  Offset last_stable_offset() const;
  Offset log_end_offset() const;
  uint64_t size_bytes() const;
  size_t segment_count() const;
  size_t producer_count() const { return producer_count_.load(std::memory_order_relaxed); }
  std::vector<ProducerInfo> producers() const;
  LeaderEpoch leader_epoch() const;
  EpochEnd epoch_end_offset(LeaderEpoch epoch) const;
  LeaderEpoch epoch_at(Offset offset) const;

  // From now on appends and reads are kNotFound. Waits for a running append.
  void mark_deleted();

  // For a checkpoint: write the tail out, and give the state and the segments that need sync().
  struct Snapshot {
    PartitionSnapshot content;
    std::vector<std::shared_ptr<Segment>> unsynced;
    bool epochs_changed = false;
    std::map<Offset, Bytes> transaction_indexes;  // by base offset, of those segments that have one
  };
  Result<Snapshot> snapshot();
  // The checkpoint failed: what the snapshot gave still needs sync().
  void put_back(const Snapshot& snapshot);
  // leader-epoch-checkpoint, as Kafka has it, for its tools; ours is in the checkpoint.
  Status write_epoch_file(const PartitionSnapshot& content);
  // The .txnindex files, whole and durable.
  Status write_transaction_indexes(const Snapshot& snapshot);
  bool is_deleted() const { return deleted_.load(std::memory_order_acquire); }

  void advance(Offset durable_end) override { high_watermark_.store(durable_end.value(), std::memory_order_release); }
  std::shared_ptr<Partition> handle() override { return handle_.lock(); }

 private:
  Result<Appended> append_locked(std::span<std::byte> batches, const AppendOptions& options) REQUIRES(append_mutex_);
  Segment::Options segment_options() const;
  Status write_indexes(Segment& made);
  Status write_group_index(Offset base, Offset end, const std::vector<Offset>& dropped_markers);
  bool is_in_place(const std::vector<std::shared_ptr<Segment>>& group) const;
  tl::unexpected<Error> begins_later() const;
  bool put_in_place(const std::vector<std::shared_ptr<Segment>>& group, const std::shared_ptr<Segment>& made);
  Status finish_swap(Offset base, const std::vector<Offset>& replaced);
  // What a crash left of compaction.
  Status finish_swaps();
  tl::unexpected<Error> deleted() const;
  tl::unexpected<Error> quarantined() const REQUIRES(mutex_);
  // The damage before `to` is gone with the segments.
  void forget_damage(Offset to) REQUIRES(append_mutex_, mutex_);
  // Whether a reader who leaves out aborted transactions can be given these batches.
  Status check_decided(ByteView batches) const;
  // What is about to be appended.
  struct Coming {
    size_t bytes = 0;
    Offset last_offset{0};
    int64_t max_timestamp_ms = record::kNoTimestamp;
    bool from_reserve = false;
  };
  // Make room for it in the active segment, or begin another.
  Status make_room(const Coming& coming) REQUIRES(append_mutex_);
  Status make_directory() REQUIRES(append_mutex_);
  // Where they are to stand; in the segment's file already, where they are many.
  Status place(ByteView batches, const Coming& coming, const AppendOptions& options, Plan& plan)
      REQUIRES(append_mutex_);
  Status flush_active() REQUIRES(append_mutex_);
  std::shared_ptr<Segment> active() const REQUIRES(append_mutex_);
  std::vector<std::shared_ptr<Segment>> segments() const;
  Result<std::vector<AbortedTransaction>> load_aborted(const std::vector<std::shared_ptr<Segment>>& segments,
                                                       Offset log_end) const;
  static Result<std::vector<AbortedTransaction>> find_aborted(const std::vector<std::shared_ptr<Segment>>& segments,
                                                              Offset log_end);
  std::map<Offset, Bytes> encode_transaction_indexes(const std::vector<std::shared_ptr<Segment>>& unsynced) const
      REQUIRES(mutex_);
  void note_transaction(const record::BatchView& batch) REQUIRES(mutex_);
  void apply(ByteView batches, Plan::Place place) REQUIRES(append_mutex_);
  // What producers and transactions have done with a batch; a header is enough of one with records.
  void note_producer(const record::BatchView& batch) REQUIRES(append_mutex_);
  WalEntry wal_entry(const Plan& plan) const;
  void roll() REQUIRES(append_mutex_);
  // When the segment that is appended to, which is not empty, began.
  struct Begun {
    int64_t at_ms = 0;                            // by the clock; before the start: by its first batch
    int64_t timestamp_ms = record::kNoTimestamp;  // the greatest of its first batch
  };
  Result<Begun> active_begun(int64_t now_ms) REQUIRES(append_mutex_);
  // Whether to begin another segment for its age alone. partition_retention.cc.
  bool is_due_before(const Coming& coming, const TopicPolicy& limits) REQUIRES(append_mutex_);
  // At a start: begin another segment where one was begun, or where this one is full and need not hold what follows.
  Status roll_for(const record::BatchView& next) REQUIRES(append_mutex_);
  Status begin_replay(const record::BatchView& next) REQUIRES(append_mutex_);
  // Go on behind a batch that cannot be read: before the log start, where its segment may have been removed, or not.
  Status skip_removed(const record::BatchView& batch) REQUIRES(append_mutex_);
  Status skip_damaged(const record::BatchView& batch, const Error& error) REQUIRES(append_mutex_);
  std::shared_ptr<Segment> new_segment(Offset base) const;
  // Whether it is a segment whose file holds batches that stand nowhere else.
  bool is_needed(std::string_view file) const;
  Status remove_what_nobody_needs() const;
  // drop_before(), with the files.
  Status remove_before(Offset to) REQUIRES(append_mutex_);
  // Begin at `to`, which is at most the log end: the segments wholly before it, which are dropped.
  std::vector<std::shared_ptr<Segment>> drop_before(Offset to) REQUIRES(append_mutex_);
  // Epochs whose every record is gone leave no trace.
  void trim_epochs() REQUIRES(mutex_);
  // A part of the log that cannot be read.
  struct Damage {
    Offset from{0};
    Offset end{0};
    Error error;
  };
  // What can be wrong with the files of one partition, and not with the whole start: a disk that refuses to be written
  // or has too few descriptors left is no damage.
  static bool is_damage(const Error& error);
  void report(const Damage& damage) const;
  struct Opened {
    std::vector<std::shared_ptr<Segment>> segments;
    std::vector<Damage> damage;
  };
  // The segments from the one that holds `log_start` to `active`; files of others are removed.
  Result<Opened> open_segments(bool has_directory, const SegmentEnd& active, Offset log_start, Offset log_end);
  Status open_closed_segments(const std::vector<Offset>& bases, Offset log_start, Opened& opened) const;
  Status open_active_segment(const SegmentEnd& active, Offset log_end, Opened& opened) const;
  void take_damaged(Offset from, Offset end, const Error& error, Opened& opened) const;
  tl::unexpected<Error> out_of_range(Offset offset) const REQUIRES(mutex_);
  // Lookups by time in [from, limit).
  Result<std::optional<TimestampedOffset>> find_time(int64_t timestamp_ms, Offset from, Offset limit) const;
  // `by_scan`: looking at every batch, for one that has records.
  Result<std::optional<TimestampedOffset>> find_max_timestamp(Offset from, Offset limit, bool by_scan) const;
  Result<TimestampedOffset> scan_for_max_timestamp(const Segment& segment, Offset from, Offset limit) const;
  Result<std::optional<TimestampedOffset>> first_record_at(const Segment& segment, uint64_t position,
                                                           int64_t timestamp_ms, Offset from) const;

  WalAhead ahead_;  // during recovery alone: before the store is shared
  const std::shared_ptr<Shared> shared_;
  const Identity identity_;
  const std::string directory_;
  std::weak_ptr<Partition> handle_;
  std::atomic<int64_t> high_watermark_{0};
  std::atomic<bool> deleted_{false};
  std::atomic<bool> half_swapped_{false};

  mutable Mutex policy_mutex_;  // a leaf
  TopicPolicy policy_ GUARDED_BY(policy_mutex_);

  mutable Mutex append_mutex_;
  ProducerStates producers_ GUARDED_BY(append_mutex_);
  std::atomic<size_t> producer_count_{0};  // of those, for who does not append
  WalPosition last_position_ GUARDED_BY(append_mutex_){0};
  bool has_directory_ GUARDED_BY(append_mutex_) = false;
  std::vector<std::shared_ptr<Segment>> unsynced_ GUARDED_BY(append_mutex_);  // written since their last sync
  bool epochs_changed_ GUARDED_BY(append_mutex_) = true;
  std::optional<Begun> active_begun_ GUARDED_BY(append_mutex_);  // nullopt: before the start

  mutable Mutex mutex_;
  std::vector<std::shared_ptr<Segment>> segments_ GUARDED_BY(mutex_);  // ascending; the last is appended to
  Offset log_start_ GUARDED_BY(mutex_){0};
  Offset log_end_ GUARDED_BY(mutex_){0};
  Offset cleaned_ GUARDED_BY(mutex_){0};              // compacted up to here
  Offset checkpointed_active_ GUARDED_BY(mutex_){0};  // what the last checkpoint appends to
  LeaderEpoch leader_epoch_ GUARDED_BY(mutex_){0};
  std::vector<EpochStart> epochs_ GUARDED_BY(mutex_);
  mutable OpenTransactions open_transactions_ GUARDED_BY(mutex_);
  std::vector<AbortedTransaction> aborted_ GUARDED_BY(mutex_);  // by last offset
  mutable std::vector<Damage> damage_ GUARDED_BY(mutex_);
  bool aborted_is_known_ GUARDED_BY(mutex_) = true;  // not where it was read beside damage
};

}  // namespace millrace::log
