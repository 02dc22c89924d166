#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/uuid.h"
#include "env/file_system.h"
#include "record/batch.h"

namespace millrace::log {

// A point in the write-ahead log: everything appended up to it is durable once the log is durable up to it. Later
// appends have equal or greater positions, so one wait for the greatest of several covers all.
using WalPosition = StrongId<struct WalPositionTag, uint64_t>;

// What became of an append that did not fail: the sequence rules of idempotent producers decide.
enum class AppendOutcome {
  kAppended,
  kDuplicate,             // one of the producer's last five batches, again: its original offsets are given
  kOutOfOrderSequence,    // OUT_OF_ORDER_SEQUENCE_NUMBER: nothing was appended
  kInvalidProducerEpoch,  // INVALID_PRODUCER_EPOCH: a newer epoch has written; nothing was appended
  // TRANSACTION_COORDINATOR_FENCED: a marker of an older coordinator, and not from the reserve, as our own are; nothing
  // was appended
  kCoordinatorFenced,
  // INVALID_TXN_STATE: a transactional batch of a producer that was not admitted, or another one of a producer that
  // was; nothing was appended
  kInvalidTxnState,
  kNoRoom,  // only with WhenFull::kRefuse: nothing was appended; Store::when_room() tells when to come again
};

struct Appended {
  AppendOutcome outcome = AppendOutcome::kAppended;
  // The offsets below are set for kAppended and kDuplicate.
  Offset base_offset{-1};
  Offset last_offset{-1};
  int64_t log_append_time_ms = record::kNoTimestamp;  // kNoTimestamp unless the option asked for LogAppendTime
  Offset log_start_offset{0};
  // Wait for this before telling anybody: Store::when_durable(). For a duplicate too, whose original may be on its way.
  WalPosition position{0};
};

class Wal;

// Room in the write-ahead log's buffer that is kept for one append: Store::when_room() gives it, and AppendOptions
// hands it in. What is not used goes back on destruction, which must come before the store's. One thread at a time.
class Room {
 public:
  Room() = default;  // none
  Room(Room&& other) noexcept;
  Room& operator=(Room&& other) noexcept;
  ~Room();

  bool is_empty() const { return bytes_ == 0; }

 private:
  friend class Wal;
  Room(Wal& wal, size_t bytes) : wal_(&wal), bytes_(bytes) {}

  Wal* wal_ = nullptr;
  size_t bytes_ = 0;
};

// What an append does while the write-ahead log's buffer is full, that is, while the disk is slower than those who
// append: wait in line, or come back with kNoRoom.
enum class WhenFull { kWait, kRefuse };

struct AppendOptions {
  // kLogAppendTime stamps the batches with the store's clock.
  record::TimestampType timestamp_type = record::TimestampType::kCreateTime;
  // Use what is kept for those that must go on (committed offsets, internal topics): a reserve of a full disk, and a
  // second buffer's worth beyond a full buffer, past everyone in line.
  bool from_reserve = false;
  WhenFull when_full = WhenFull::kWait;
  // With kRefuse: what when_room() gave. An append that does not need it leaves it.
  Room* room = nullptr;
};

// What a reader wants to see: everything durable, or only what is decided (Kafka's isolation.level).
enum class Isolation { kReadUncommitted, kReadCommitted };

// Whole batches one after another.
struct BatchRun {
  size_t bytes = 0;
  // Where there are any:
  Offset next{0};  // the offset after their last record
  int64_t records = 0;
};

// What was read: the first batch holds the offset asked for; none at the high watermark.
struct ReadInfo : BatchRun {
  Offset log_start_offset{0};
  Offset high_watermark{0};
  Offset last_stable_offset{0};
};

// A transaction that was aborted: the records of `producer_id` from its first offset to its marker at `last_offset` do
// not count. `last_stable_offset` was where read_committed ended when the marker was written.
struct AbortedTransaction {
  ProducerId producer_id;
  Offset first_offset;
  Offset last_offset;
  Offset last_stable_offset;

  friend bool operator==(const AbortedTransaction&, const AbortedTransaction&) = default;
};

// What a partition knows of a producer.
struct ProducerInfo {
  ProducerId id;
  ProducerEpoch epoch;
  int32_t last_sequence = record::kNoSequence;
  int64_t last_append_ms = record::kNoTimestamp;
  int32_t coordinator_epoch = -1;           // of its last marker; -1: none so far
  std::optional<Offset> transaction_start;  // of its open transaction
};

struct TimestampedOffset {
  Offset offset{-1};
  int64_t timestamp_ms = record::kNoTimestamp;
  LeaderEpoch leader_epoch{-1};
};

struct EpochEnd {
  LeaderEpoch epoch{-1};
  Offset end_offset{-1};
};

class PartitionLog;

// A partition's log, open as long as its topic is and somebody holds it. Thread-safe: appends to one partition follow
// each other, reads run beside them and each other. After its topic is deleted, appends and reads are kNotFound.
//
// Used only as long as the store lives; a handle may be destroyed later.
//
// An append is visible to read() only once it is durable: the high watermark is what is on disk.
class Partition {
 public:
  explicit Partition(std::unique_ptr<PartitionLog> log);
  ~Partition();
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  const std::string& topic() const;
  const Uuid& topic_id() const;
  PartitionId id() const;

  // What is wrong with the partition's files, with file and position (kCorruption); nullopt: nothing that is known.
  // Found at a start, where a file is missing or does not fit what was durable, or when what it holds is read. Until
  // the log begins behind the damage (advance_log_start()), or a start finds the files whole again, the partition is
  // quarantined: appends are kUnavailable but for those from the reserve, nothing is compacted or deleted by retention,
  // and no file is changed that was there before. What is whole can be read; read_committed gets no batches of
  // transactions where it is not known which of them were aborted.
  std::optional<Error> damage() const;

  // Append `batches`, one or more that passed record::check_batches() and lie one after another: assigns offsets and
  // the leader epoch in place, checks the producer's sequence, hands a copy to the write-ahead log. Nothing is durable
  // on return. A batch with a producer id must be alone. All batches are appended, or none:
  // kOutOfSpace: the disk is full; the same append works once there is room.
  // kTooLarge: more than kAppendBytesMax.
  // kNotFound: the topic was deleted.
  // kUnavailable: the store has failed (a sync did) or is closed; the message says which. It stays so.
  // A control batch must be a marker (record/marker.h): it ends the producer's transaction and admission.
  // While the write-ahead log's buffer is full it waits, holding up other appends to this partition, or is kNoRoom.
  Result<Appended> append(std::span<std::byte> batches, const AppendOptions& options = {});

  // From now on `producer` may append transactional batches with this epoch, until a marker ends that. Holds as long as
  // the store is open: whoever coordinates transactions admits the open ones again after a start. Transactional batches
  // are refused otherwise, so that none can come after its transaction's marker (KIP-890).
  void admit(ProducerId producer, ProducerEpoch epoch);
  bool is_admitted(ProducerId producer, ProducerEpoch epoch) const;

  // Begin the log at `to`, which is not beyond the high watermark: what is before is gone for readers at once, lookups
  // find nothing there, and the segments that lie wholly before it are removed in the background. Wait for the
  // position before telling anybody: until then a crash may bring the records back. Never moves back: where the log
  // begins at `to` or later already, nothing changes. What producers and undecided transactions have done stays known,
  // so that a retry is still seen as one. Works on a full disk.
  // kInvalidArgument: beyond the high watermark (OFFSET_OUT_OF_RANGE). kNotFound, kUnavailable as for append().
  Result<WalPosition> advance_log_start(Offset to);

  // Append to `out` whole batches from the one that holds `from`, at most `bytes_max` together; with `at_least_one` the
  // first comes even if it is larger. Never beyond the high watermark, or for kReadCommitted the last stable offset,
  // nor across a segment's end: a caller who wants more asks again. kInvalidArgument where `from` is below the log
  // start or beyond the log end (OFFSET_OUT_OF_RANGE); kCorruption names file and position; kIo: the disk.
  Result<ReadInfo> read(Offset from, size_t bytes_max, bool at_least_one, Bytes& out,
                        Isolation isolation = Isolation::kReadUncommitted) const;
  // As read(), for who only sends the batches on: where many of them lie in a segment's file they are not read but
  // given as `range` of it, else `range` is reset. What a range holds never changes, whatever is deleted or compacted.
  Result<ReadInfo> read_or_locate(Offset from, size_t bytes_max, bool at_least_one, Bytes& out,
                                  std::optional<env::FileRange>& range, Isolation isolation) const;
  // The aborted transactions with records or their marker in [from, end), in the order of their markers.
  std::vector<AbortedTransaction> aborted_transactions(Offset from, Offset end) const;

  // The first record, in offset order, stamped at or after `timestamp_ms`; nullopt if there is none below the high
  // watermark. Exact to the record: decompresses one batch.
  Result<std::optional<TimestampedOffset>> offset_for_time(int64_t timestamp_ms) const;
  // The first record with the greatest timestamp of all below the high watermark; nullopt where the log is empty.
  Result<std::optional<TimestampedOffset>> offset_of_max_timestamp() const;

  Offset log_start_offset() const;
  // The end of what is durable: the offset after the last readable record. Never waits for a lock.
  Offset high_watermark() const;
  // The first record of the oldest undecided transaction, or the high watermark where there is none.
  Offset last_stable_offset() const;
  // The offset that the next record gets.
  Offset log_end_offset() const;
  // Bytes in all segments.
  uint64_t size_bytes() const;
  size_t segment_count() const;
  // Producers whose last batches are remembered. Waits for no append.
  size_t producer_count() const;

  // The producers that are remembered, by id.
  std::vector<ProducerInfo> producers() const;

  LeaderEpoch leader_epoch() const;
  // For OffsetForLeaderEpoch: the greatest known epoch <= `epoch` and where it ends: the start of the next one, or the
  // high watermark for the current one. {-1, -1} where `epoch` is unknown.
  EpochEnd epoch_end_offset(LeaderEpoch epoch) const;
  // The epoch that `offset` was written in, or would be if it were the next one.
  LeaderEpoch epoch_at(Offset offset) const;

  // The implementation, for the store alone.
  PartitionLog& impl() { return *log_; }

 private:
  std::unique_ptr<PartitionLog> log_;
};

// Less than that of a file is cheaper to read than to send from where it is.
inline constexpr size_t kRangeBytesMin = 32u << 10;

// The largest append: more could not be one record of the write-ahead log.
inline constexpr size_t kAppendBytesMax = 64u << 20;

}  // namespace millrace::log
