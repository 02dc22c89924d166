#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/result.h"
#include "env/file_system.h"
#include "log/internal/wal_format.h"
#include "log/store.h"

namespace millrace::log {

class Segment;

// One who appends to the write-ahead log and is told how far it is durable: a partition.
class WalParticipant {
 public:
  virtual ~WalParticipant() = default;
  // On the log's thread, before observers and callbacks. Must not take a lock that is held around Wal calls.
  virtual void advance(Offset durable_end) = 0;
  virtual std::shared_ptr<Partition> handle() = 0;

 private:
  friend class Wal;
  // Where this participant stands in the group that is filling; guarded by the Wal's mutex.
  uint64_t group_ = 0;
  size_t slot_ = 0;
};

// Writes the write-ahead log. Appends collect in memory in a group; its thread writes and syncs one group while the
// next one fills: the next sync starts when the last ends. Thread-safe.
//
// An append has two steps. admit() may wait or refuse, append() cannot: so a caller changes its own state between them
// and never has to take that back.
//
// While the buffer is full those who want room stand in one line, threads and callbacks alike, and are given it in
// their order: room is set aside for the first, and nobody who comes later takes it from them. wal_room.cc.
class Wal {
 public:
  struct Options {
    std::string directory;
    uint64_t file_bytes = 0;
    uint64_t buffer_bytes = 0;
    // Of the last file's room, kept for those who may use it when the disk is full.
    uint64_t reserve_bytes = 1u << 20;
    // No thread: whoever waits for durability, or calls commit_group(), does its work.
    bool single_threaded = false;
  };
  // On the log's thread, no lock held.
  struct Events {
    std::function<void()> wants_spare;                  // call prepare_spare() soon, on another thread
    std::function<void(uint64_t end_position)> synced;  // after each group
    std::function<void(const Error&)> failed;           // once
  };

  Wal(Options options, env::FileSystem& files, const Clock& clock, Events events);
  ~Wal();
  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // Begin at `position`, a multiple of kWalBlockBytes, in a new file; files before are for recycle(). With
  // `older_is_done` nothing before is needed any more, and the newest of them becomes that file. Once. A full disk is
  // no error: appends are refused until there is room.
  Status start(uint64_t position, bool older_is_done);
  // Admit nothing more. A group that waits for room on the disk is tried once more and then given up, as a failure: who
  // waits for it need not wait for that.
  void refuse();
  // Write what was appended, run its callbacks, end the thread. Nothing is admitted from now on.
  void stop();

  // Room for entries of `bytes` together. Waits in line while the buffer is full. kOutOfSpace, kUnavailable.
  Status admit(size_t bytes, bool from_reserve);
  // The same without waiting: false while the buffer is full, or others stand in line for it, which those who may take
  // from the reserve pass by. `room`, where there is enough of it, is used.
  Result<bool> try_admit(size_t bytes, bool from_reserve, Room* room = nullptr);
  // One of these, as the options say.
  Result<bool> admit(size_t bytes, const AppendOptions& options);
  // Store::when_room(), for entries of `bytes` together. Those who may take from the reserve stand before the others.
  void when_room(size_t bytes, bool from_reserve, Store::RoomCallback callback);
  // Whether the disk has room for an append of `bytes` from the reserve, as far as is known.
  bool has_disk_room(size_t bytes);
  // Whether somebody stands in line, so that try_admit() is in vain.
  bool is_crowded() const { return crowded_.load(std::memory_order_relaxed); }
  // The same entries: each admitted byte (admitted_size()) is appended exactly once. The participant's end is told to
  // it when durable. What kBatchInSegment speaks of is in the file of `segment`, which is synced before the entry is
  // written.
  WalPosition append(const WalEntry& entry, WalParticipant* participant, Offset end,
                     const std::shared_ptr<Segment>& segment = nullptr);

  // While one exists, appends go into the same group: all durable, or none. Take it after admit().
  class Hold {
   public:
    explicit Hold(Wal& wal);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Wal& wal_;
  };

  void when_durable(WalPosition position, Store::DurableCallback callback);
  Status wait_durable(WalPosition position);
  void set_observer(Store::AdvanceObserver observer);
  // With single_threaded only: as Store::commit_group().
  Status commit_group();

  // Wait until everything appended so far is durable; the position of the end of what is.
  Result<uint64_t> flush();

  // Make the next file ahead of time. kOutOfSpace is noted: next_look_for_room() says when to try again.
  Status prepare_spare();
  // While the disk is full: when prepare_spare() is due again, so that room is seen before somebody appends.
  std::optional<MonoTime> next_look_for_room();
  // Keep the files that end at or before `position` for reuse, or remove them.
  Status recycle(uint64_t position);

  // End in failure, as after a failed sync.
  void fail_for_good(const Error& error);

  DurationHistogram::Snapshot syncs() const { return syncs_.snapshot(); }
  uint64_t bytes_written() const { return bytes_written_.load(std::memory_order_relaxed); }
  // Of batches that entries only point at: what a start reads beside the log itself.
  uint64_t bytes_in_segments() const { return bytes_in_segments_.load(std::memory_order_relaxed); }

  static constexpr std::chrono::milliseconds kFullDiskRetry{250};

 private:
  struct Target {
    WalParticipant* participant;
    std::shared_ptr<Partition> partition;  // keeps the participant alive
    Offset end;
  };
  struct Group {
    AlignedBuffer frame;  // begins with room for the header
    uint32_t entries = 0;
    std::vector<Target> targets;
    // To be synced before the frame is written, and how many bytes of batches that is for.
    std::vector<std::shared_ptr<Segment>> segments;
    size_t segments_bytes = 0;
    size_t bytes() const { return frame.size() + segments_bytes; }
    void clear();
  };
  // A group that found no room on the disk, where there is no thread to try again.
  struct Stuck {
    Group group;
    uint64_t number = 0;
  };
  struct InLine {
    size_t bytes;
    bool from_reserve;
    Store::RoomCallback callback;
  };
  // Leaves the line, to be called without a lock, with room or without.
  struct Served {
    Store::RoomCallback callback;
    Room room;
  };
  struct Waiting {
    WalPosition position;
    Store::DurableCallback callback;
  };

  void run();
  // The group that was filling, for `writing` to write, and its number. Something is in it. Leaves room for `served`,
  // to be told of it.
  uint64_t take_group(Group& writing, std::vector<Served>& served) REQUIRES(mutex_);
  // Fails for good where it cannot be written; false then.
  bool write_and_publish(Group& writing, uint64_t number);
  // What the thread would have done by now, where there is none.
  void catch_up(WalPosition position);
  // These belong to the thread.
  Status write_group(Group& group);
  Status sync_batches(const Group& group);
  Status write_frame(AlignedBuffer& frame, uint64_t padded_bytes);
  Status switch_file(uint64_t bytes_needed);
  void publish(Group& group, uint64_t number);

  friend class Room;
  void give_back(size_t bytes);
  // Whether the buffer has so much room.
  bool fits(size_t bytes, bool from_reserve) const REQUIRES(mutex_);
  bool fits_on_disk(size_t bytes, bool from_reserve) const REQUIRES(mutex_);
  Room set_aside(size_t bytes) REQUIRES(mutex_);
  // Those first in line for whom there is room.
  std::vector<Served> serve_line() REQUIRES(mutex_);
  // The whole line: there will be no room.
  std::vector<Served> dismiss_line() REQUIRES(mutex_);
  static void tell(std::vector<Served> served);

  // The disk is: says so in the log, once.
  void note_full(const Error& why) EXCLUDES(mutex_);
  Status remove_old_spares();
  Status reuse_newest();
  // A file for the log's frames; nothing is left of one that could not be made whole.
  Status make_file(const std::string& path, uint64_t bytes, bool zero_fill);
  Status reserve_file(const std::string& path, uint64_t bytes);
  Status fill_with_zeros(const std::string& path, uint64_t bytes);
  std::vector<Waiting> take_waiting(uint64_t durable) REQUIRES(mutex_);
  Status refusal() const REQUIRES(mutex_);

  const Options options_;
  env::FileSystem& files_;
  const Clock& clock_;
  const Events events_;

  Mutex mutex_;
  CondVar wake_;  // the thread: there is something to write, or to stop for
  CondVar durable_changed_;
  Group filling_ GUARDED_BY(mutex_);
  Bytes entry_head_ GUARDED_BY(mutex_);  // kept for its memory
  uint64_t filling_number_ GUARDED_BY(mutex_) = 1;
  uint64_t durable_number_ GUARDED_BY(mutex_) = 0;
  uint64_t durable_position_ GUARDED_BY(mutex_) = 0;
  size_t admitted_bytes_ GUARDED_BY(mutex_) = 0;  // admitted and not yet appended
  size_t aside_bytes_ GUARDED_BY(mutex_) = 0;     // set aside and not yet admitted or given back
  std::deque<InLine> line_ GUARDED_BY(mutex_);    // for room, the first to be served first
  int holds_ GUARDED_BY(mutex_) = 0;
  bool sleeping_ GUARDED_BY(mutex_) = false;
  bool refusing_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool ended_ GUARDED_BY(mutex_) = false;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  std::vector<Waiting> waiting_ GUARDED_BY(mutex_);
  std::vector<std::string> spares_ GUARDED_BY(mutex_);  // paths of files of file_bytes, ready to be renamed
  uint64_t spares_made_ GUARDED_BY(mutex_) = 0;
  bool spare_wanted_ GUARDED_BY(mutex_) = false;
  MonoTime next_spare_ GUARDED_BY(mutex_);  // after an attempt that failed
  bool disk_full_ GUARDED_BY(mutex_) = false;
  uint64_t file_room_ GUARDED_BY(mutex_) =
      0;  // left in the current file, the room of the group being written taken off

  Mutex observer_mutex_;
  CondVar observer_idle_;
  std::shared_ptr<const Store::AdvanceObserver> observer_ GUARDED_BY(observer_mutex_);
  bool observer_running_ GUARDED_BY(observer_mutex_) = false;

  // The thread's own.
  std::unique_ptr<env::File> file_;
  uint64_t file_start_ = 0;
  uint64_t file_size_ = 0;
  uint64_t position_ = 0;
  uint64_t written_end_ = 0;  // up to here the blocks of the file have been written before
  std::unique_ptr<Stuck> stuck_;

  std::atomic<bool> crowded_{false};  // line_ is not empty
  DurationHistogram syncs_;
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<uint64_t> bytes_in_segments_{0};
  std::thread thread_;
};

}  // namespace millrace::log
