#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/mutex.h"
#include "base/result.h"
#include "env/file_system.h"
#include "log/internal/index_file.h"
#include "log/partition.h"
#include "record/batch.h"

namespace millrace::log {

class OpenFiles;

// What a checkpoint knows of the segment that is appended to: the files up to there are durable, beyond it nothing is
// to be believed.
struct SegmentEnd {
  Offset base_offset{0};
  uint64_t bytes = 0;
  uint64_t index_entries = 0;
  uint64_t time_index_entries = 0;
  int64_t max_timestamp_ms = record::kNoTimestamp;
  Offset max_timestamp_offset{-1};  // the last offset of the batch that has it
};

// One segment of a partition: a run of batches in a file, the newest of them still in memory (the tail), and its two
// indexes. One thread at a time writes (append, flush, close_for_append), any number read beside it.
//
// Index entries live in memory until sync() has put them into their files; a segment that is no longer appended to then
// looks them up there.
//
// The file is opened when it is used, and may be closed between two uses where all that was written to it is synced: an
// error of a write that is not is told only to who has had the file open since. Who uses it shares it, and so does a
// range of it that is on its way to a client.
class Segment final : public std::enable_shared_from_this<Segment> {
 public:
  struct Options {
    uint32_t index_interval_bytes = 4096;
    std::atomic<uint64_t>* tails_bytes = nullptr;  // the sum over all segments, kept up to date
    OpenFiles* open_files = nullptr;               // outlives the segment; null: the file stays open
    bool keeps_file = false;                       // a new segment leaves what its file holds already
  };

  // A new, empty segment. Files are made when they are first written.
  static std::shared_ptr<Segment> make(env::FileSystem& files, std::string directory, Offset base_offset,
                                       const Options& options);
  // The segment that a checkpoint describes, to be appended to; its last batch ends at `log_end`. What the file has
  // beyond that does not count, and is for trim(); kCorruption where something is missing; index files that do not fit
  // are built anew.
  static Result<std::shared_ptr<Segment>> open_active(env::FileSystem& files, std::string directory,
                                                      const SegmentEnd& end, Offset log_end, const Options& options);
  // An older one, of which batches from `end_offset` on do not count. Where the log of its file ends before that,
  // `next` says where.
  struct Closed {
    std::shared_ptr<Segment> segment;
    Offset next{0};
  };
  static Result<Closed> open_closed(env::FileSystem& files, std::string directory, Offset base_offset,
                                    Offset end_offset, const Options& options);
  // In the place of one that cannot be read: has its names, and answers every reader with `damage`.
  static std::shared_ptr<Segment> make_damaged(env::FileSystem& files, std::string directory, Offset base_offset,
                                               Error damage);
  // What compaction wrote, under the name that it has for now. Its checksums are checked, its indexes built.
  static Result<std::shared_ptr<Segment>> open_cleaned(env::FileSystem& files, std::string directory,
                                                       Offset base_offset, const char* suffix, const Options& options);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  Offset base_offset() const { return base_offset_; }
  uint64_t size_bytes() const;
  uint64_t tail_bytes() const;
  std::string log_path() const;
  // All files that it may have, its transaction index among them.
  std::vector<std::string> paths() const;

  // For the writer.
  // Whether `bytes` more, ending at `last_offset`, would go beyond `segment_bytes` or the format's limits.
  bool is_full(uint64_t bytes, Offset last_offset, uint64_t segment_bytes) const;
  // Append whole batches with their final offsets to the tail.
  void append(ByteView batches);
  // Write batches at the end of the file, past a tail that is empty, without counting them yet: so that a full disk is
  // found out before anything is promised. append_written() then counts them.
  Status write_ahead(ByteView batches);
  // `is_log`: the file is all that will have them; sync_batches() must follow.
  void append_written(ByteView batches, bool is_log);
  // What a sync of the file takes along beside batches appended with `is_log`: written to it and not synced since.
  uint64_t unsynced_copy_bytes() const;
  // Write the tail to the file. On an error it stays where it is.
  Status flush();
  // Cut off what the file has beyond what counts.
  Status trim();
  // Leave what the file has beyond that: at a start, batches that stand nowhere else and are copied into a later
  // segment.
  void keep_rest();
  // Nothing is appended any more.
  void close_for_append();
  SegmentEnd end() const;
  // When it was closed, or found so at a start: what stands for the age of records without timestamps.
  void set_closed_at(int64_t now_ms) { closed_at_ms_.store(now_ms, std::memory_order_relaxed); }

  // For any thread.
  int64_t closed_at_ms() const { return closed_at_ms_.load(std::memory_order_relaxed); }  // negative: not closed
  const std::optional<Error>& damage() const { return damage_; }
  // Whether a closed segment has indexes that are not in their files.
  bool needs_sync() const;
  // Make everything flushed so far, and the index up to there, durable; of a closed segment trim() the file, too. Not
  // two at a time. `sync_failed` is set where the operating system failed to sync: then nothing is known about what is
  // on disk, and nothing may be tried again.
  Status sync(bool& sync_failed);

  // Make all batches in the file durable, its name included, but no index. Beside sync(), but not two at a time.
  Status sync_batches();

  // Its files are about to be replaced or removed: reading goes on in the one that is open from now on, without
  // indexes. Nobody opens it by its name any more.
  Status detach();
  // For OpenFiles. The file, if it need not stay open: the caller lets go of it, with no lock held. Null where none is
  // open, or where it goes with the segment; nullopt where it must stay, or was used since the last call.
  std::optional<std::shared_ptr<env::File>> give_up_file() const;

  struct Found {
    uint64_t position = 0;
    ByteView header;  // kBatchHeaderBytes, valid during the call
    record::BatchView view() const { return record::BatchView::of_header(header); }
  };
  // Visit batch headers from the batch that holds `from`, or the first after it, until `visit` returns false or the
  // end.
  Status scan(Offset from, const std::function<bool(const Found&)>& visit) const;

  // Which batches a reader wants: `limit` is the offset that none may reach; the rest is Partition::read()'s.
  struct Wanted {
    Offset from;
    Offset limit;
    size_t bytes_max = 0;
    bool at_least_one = false;
  };
  // Append them to `out`.
  Result<BatchRun> read(const Wanted& wanted, Bytes& out) const;
  // The same, or where they are in the file, as Partition::read_or_locate().
  Result<BatchRun> read_or_locate(const Wanted& wanted, Bytes& out, std::optional<env::FileRange>& range) const;
  // One whole batch, from its position.
  Result<Bytes> read_batch(uint64_t position) const;

  // The greatest timestamp and the last offset of the first batch that has it.
  TimestampedOffset max_timestamp() const;
  // An offset at or before the first record stamped at or after the timestamp, to scan from.
  Result<Offset> floor_of_time(int64_t timestamp_ms) const;

 private:
  Segment(env::FileSystem& files, std::string directory, Offset base_offset, const Options& options);

  std::string path(const char* suffix) const;
  // The file that is there, all of which counts for now, and its size.
  Result<uint64_t> open_file(const char* suffix);
  Status load_indexes(uint64_t index_entries, uint64_t time_index_entries);
  // Where the last batch ends, kCorruption where the indexes do not fit.
  Result<Offset> check_closed();
  // What follows the last index entry of the segment that is appended to.
  Status check_active_end(Offset log_end) const;
  // Scan the file up to `bytes`, checking every batch, and make index entries in memory. What follows the batch that
  // ends at `end_offset` does not count. Where the last batch that does ends.
  Result<Offset> rebuild(uint64_t bytes, Offset end_offset);
  void note_batch(const record::BatchView& batch, uint64_t position) REQUIRES(mutex_);
  void note_batches(ByteView batches, uint64_t position) REQUIRES(mutex_);
  Result<std::shared_ptr<env::File>> file() const;
  // Change the file with `change`. Not two at a time.
  Status write(const std::function<Status(env::File&)>& change);
  // The file was opened.
  void note_open() const EXCLUDES(mutex_);
  Result<size_t> read_raw(uint64_t position, size_t bytes, Bytes& out) const;
  class OffsetOrder;
  // The batches wanted in `file`, whose `position`, where `order` begins, is at a batch before or with them; moves it
  // to the first of them.
  Result<BatchRun> locate(const env::File& file, const Wanted& wanted, OffsetOrder order, uint64_t& position) const;
  // A read that goes on at `offset` finds it at `position`.
  void remember(Offset offset, uint64_t position) const;
  // Where a walk to an offset begins, and what is known of the batch there.
  struct Floor {
    uint64_t position = 0;
    Offset next{0};              // it begins there, or later
    std::optional<Offset> last;  // the last offset that it has by its index entry, where that led there
  };
  Floor floor_at(const IndexEntry& entry) const;
  Result<Floor> floor_of(Offset offset) const;
  Result<Floor> floor_in_file(Offset offset, uint64_t count) const;
  Result<Offset> floor_of_time_in_file(int64_t timestamp_ms, uint64_t count) const;
  Status write_index_file(const char* suffix, uint64_t position, ByteView entries, bool& sync_failed);
  tl::unexpected<Error> damaged(uint64_t position, std::string_view what) const;

  env::FileSystem& files_;
  const std::string directory_;
  const Offset base_offset_;
  const Options options_;
  std::optional<Error> damage_;  // set before it is shared
  // Where the last batch ends, of a segment that compaction may have taken batches out of; in one without it each
  // begins where the one before ends. Set before it is shared.
  std::optional<Offset> sparse_end_;
  std::atomic<int64_t> closed_at_ms_{-1};

  mutable Mutex mutex_;
  mutable std::shared_ptr<env::File> file_ GUARDED_BY(mutex_);
  mutable bool file_used_ GUARDED_BY(mutex_) = false;  // since the last give_up_file()
  // Writes to the file, counted; the first so many of them are synced.
  struct Writes {
    uint64_t begun = 0;
    uint64_t ended = 0;
    uint64_t synced = 0;
  };
  Writes writes_ GUARDED_BY(mutex_);
  uint64_t file_bytes_ GUARDED_BY(mutex_) = 0;
  Bytes tail_ GUARDED_BY(mutex_);  // what follows file_bytes_
  // What was ever written to the file that the write-ahead log has as well, and how much of that is synced.
  uint64_t copied_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t copied_synced_ GUARDED_BY(mutex_) = 0;
  bool name_is_durable_ GUARDED_BY(mutex_) = false;
  std::vector<IndexEntry> index_ GUARDED_BY(mutex_);
  std::vector<TimeIndexEntry> time_index_ GUARDED_BY(mutex_);
  bool index_in_memory_ GUARDED_BY(mutex_) = true;
  uint64_t index_written_ GUARDED_BY(mutex_) = 0;  // entries in the files
  uint64_t time_index_written_ GUARDED_BY(mutex_) = 0;
  uint64_t bytes_since_index_ GUARDED_BY(mutex_) = 0;
  int64_t max_timestamp_ms_ GUARDED_BY(mutex_) = record::kNoTimestamp;
  Offset max_timestamp_offset_ GUARDED_BY(mutex_){-1};
  bool closed_ GUARDED_BY(mutex_) = false;
  bool detached_ GUARDED_BY(mutex_) = false;
  bool keeps_rest_ GUARDED_BY(mutex_) = false;
  // Where the last reads ended, so that the next ones need not search.
  struct Cursor {
    Offset offset{-1};
    uint64_t position = 0;
  };
  mutable std::array<Cursor, 8> cursors_ GUARDED_BY(mutex_);
  mutable size_t next_cursor_ GUARDED_BY(mutex_) = 0;
};

// "00000000000000000042" of offset 42, as Kafka names segment files.
std::string segment_name(Offset base_offset);

// A segment's files.
inline constexpr const char* kLogSuffix = ".log";
inline constexpr const char* kIndexSuffix = ".index";
inline constexpr const char* kTimeIndexSuffix = ".timeindex";
inline constexpr const char* kTransactionIndexSuffix = ".txnindex";
// Compaction's, on their way to be a ".log": partition_cleaning.cc.
inline constexpr const char* kCleanedSuffix = ".log.cleaned";
inline constexpr const char* kSwapSuffix = ".log.swap";
std::string segment_path(const std::string& directory, Offset base_offset, const char* suffix);
// The offset in the name of a segment's file, of whatever kind.
std::optional<Offset> base_offset_of(std::string_view file);

}  // namespace millrace::log
