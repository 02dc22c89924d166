#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "base/uuid.h"
#include "env/file_system.h"
#include "log/partition.h"
#include "log/topic_policy.h"

namespace millrace::log {

struct StoreOptions {
  std::string dir;  // the data folder; made if missing

  // Of topics until set_policies() says what theirs are.
  uint64_t segment_bytes = 1ull << 30;
  uint32_t index_interval_bytes = 4096;

  // Checkpoint after this much write-ahead log, and this long after the first append since the last one.
  uint64_t checkpoint_bytes = 256ull << 20;
  std::chrono::milliseconds checkpoint_interval{60'000};

  // close() takes a checkpoint only where no more write-ahead log than this came after the last one: a stop must be
  // quick, and reading the log again at the next start costs less than syncing the segments does now.
  uint64_t closing_checkpoint_bytes = 32ull << 20;

  uint64_t wal_file_bytes = 64ull << 20;
  // Appends wait, or are refused (WhenFull), while this much is not yet written to the write-ahead log.
  uint64_t wal_buffer_bytes = 16ull << 20;

  // Appended bytes are kept in memory, from where they are read, until a partition has this many or all partitions
  // together tails_bytes_max; then they are written to the segment. 0 writes through.
  uint64_t tail_bytes = 64ull << 10;
  uint64_t tails_bytes_max = 32ull << 20;

  // A single batch of at least this many bytes is written once, into its segment, and the write-ahead log only says
  // where: docs/adr/0011-large-batches-are-written-once.md.
  uint64_t write_once_bytes = 1ull << 20;

  // So many segments' files stay open for whoever reads or writes there next, and beyond that those that were written
  // to since their last sync, and those that somebody reads.
  size_t open_files_max = 4096;

  // A producer id that wrote nothing for so long is forgotten.
  std::chrono::hours producer_id_expiration{24};

  // How often tidy() runs on its own, once set_policies() was called. Compaction is looked at after each checkpoint,
  // too, but not more often than cleaner_backoff.
  std::chrono::milliseconds retention_check_interval{300'000};
  bool cleaner_enabled = true;
  std::chrono::milliseconds cleaner_backoff{15'000};
  // The most memory for the keys of one compaction; with more keys it takes several.
  uint64_t cleaner_map_bytes = 128ull << 20;
  // How much compaction in the background reads and writes.
  uint64_t cleaner_bytes_per_s = 64ull << 20;

  // For simulations, the same each time: no threads. Appends become durable by commit_group(), or when somebody waits,
  // in vain on a full disk (kOutOfSpace); checkpoints and tidying are taken by hand. One thread uses the store.
  bool single_threaded = false;
};

inline constexpr int32_t kPartitionsMax = 10'000;  // of one topic

struct TopicInfo {
  std::string name;
  Uuid id;
  int32_t partitions = 1;
  std::map<std::string, std::string> config;  // for the broker to interpret: set_policies()
};

// A topic as it is at some moment. Immutable; stays usable after the topic is deleted, its partitions then refuse.
struct Topic {
  TopicInfo info;
  std::vector<std::shared_ptr<Partition>> partitions;  // by number
};

// All partitions of a broker in one data folder: topics, one write-ahead log, segments in Kafka's format, recovery. See
// docs/adr/0001-write-ahead-log.md and docs/formats/. Thread-safe.
//
// Threads: one writes and syncs the write-ahead log (group commit: the next sync starts when the last ends); one does
// checkpoints, prepares files and removes deleted topics; one, from set_policies() on, does what tidy() says. They
// sleep when there is nothing to do. Callbacks run on the first, without any lock held. They may read and ask, and
// register further callbacks; they must not append, change topics, wait for durability or close(), for all of these can
// wait for that very thread. What they take delays the next sync: hand work on.
class Store {
 public:
  // Open or make the data folder, recovering what a crash left: replays the write-ahead log from the last checkpoint,
  // cuts a torn end, rebuilds indexes, restores producers. Damage of a partition's files quarantines that partition
  // (Partition::damage()); of the checkpoint or the write-ahead log it is kCorruption, with file and position, and
  // nothing is changed. kConflict: another process has the folder, or it is of another version.
  // `files` and `clock` must outlive the store; `random` is used during the call, for a new cluster id.
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options, env::FileSystem& files, const Clock& clock,
                                             Random& random);
  // close(), ignoring its error.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Make everything appended durable, run what waits, stop the threads. A checkpoint that is running is abandoned
  // before its next segment, and one is taken only where it is quick (closing_checkpoint_bytes): then the next open has
  // nothing to replay. Appends fail with kUnavailable from now on; reads go on. What a full disk does not take is given
  // up, with kUnavailable: nobody was told that it is durable. Once; later calls do nothing.
  Status close();

  // Identifies this data folder; made with it.
  const Uuid& cluster_id() const;
  // Whether open() had something to replay: the last process ended without close(), or with too much to checkpoint.
  bool recovered_from_crash() const;

  // Durable on return. kAlreadyExists; kInvalidArgument for a name that Kafka does not allow (1 to 249 of a-z A-Z 0-9
  // . _ -, not "." or ".."), a zero id or no partitions; kOutOfSpace, kUnavailable as for appends.
  Result<std::shared_ptr<const Topic>> create_topic(const TopicInfo& info);
  // Give the topic more partitions, `count` in all, and return it with them; a handle that was taken before keeps those
  // it has. Durable on return. kNotFound; kInvalidArgument where that is not more than it has, or more than
  // kPartitionsMax; kOutOfSpace, kUnavailable as for appends.
  Result<std::shared_ptr<const Topic>> add_partitions(const std::string& name, int32_t count);
  // Replace the topic's configuration, and return it with that. Durable on return. kNotFound; kOutOfSpace, kUnavailable
  // as for appends.
  Result<std::shared_ptr<const Topic>> set_topic_config(const std::string& name,
                                                        std::map<std::string, std::string> config);
  // Durable on return; the files go in the background, once nobody reads them. Works on a full disk. kNotFound.
  Status delete_topic(const std::string& name);

  std::vector<std::shared_ptr<const Topic>> topics() const;              // by name
  std::shared_ptr<const Topic> find_topic(std::string_view name) const;  // null: none
  std::shared_ptr<const Topic> find_topic(const Uuid& id) const;

  // One partition's part of append_all().
  struct Item {
    std::shared_ptr<Partition> partition;
    std::span<std::byte> batches;
    AppendOptions options;
  };
  // Append to several partitions as one record of the write-ahead log: after a crash all are there, or none. Each
  // partition at most once (kInvalidArgument). The results stand in the items' order. Where one item is refused
  // (an error, or an outcome other than kAppended and kDuplicate), nothing of the others is appended either: they are
  // kCancelled.
  // `room`: what when_room() gave for these items.
  std::vector<Result<Appended>> append_all(std::span<const Item> items, Room* room = nullptr);

  // Called once, with room for an append of `batch_bytes`: for those whose append was kNoRoom. Who asked first is
  // served first, and as long as somebody waits nobody else gets room. Without room, for the append to say what is
  // wrong, where the store has failed or is closed or its disk is full. On the caller's thread, before this returns,
  // where the answer is known already; else on the write-ahead log's or on one that gives room back. As in a
  // DurableCallback nothing may be appended there: hand on.
  using RoomCallback = std::function<void(Room)>;
  void when_room(size_t batch_bytes, RoomCallback callback);
  // The same for append_all() of these items. Where all of them may use the reserve they are served before everybody
  // who may not.
  void when_room(std::span<const Item> items, RoomCallback callback);

  // Whether an append of `batch_bytes` from the reserve would find room on the disk, as far as the write-ahead log
  // knows: for those who had better decide nothing that cannot be written. It knows of a full disk from the first
  // append that found no room, and looks for room on its own from then on.
  bool has_disk_room(size_t batch_bytes) const;

  // Called once, with success when everything up to `position` is durable, or with kUnavailable when the store has
  // failed or is closed before it is. On the thread of the write-ahead log; on the caller's, before this returns, where
  // the answer is known already.
  using DurableCallback = std::function<void(const Status&)>;
  void when_durable(WalPosition position, DurableCallback callback);
  // The same, waiting. Not from a callback.
  Status wait_durable(WalPosition position);

  // With single_threaded: do what threads would have done by now: write and sync what was appended, as one group, and
  // run what waits for it. kOutOfSpace: there is no room for what was accepted yet. Fails where the store has failed.
  Status commit_group();

  // Told after each group commit which partitions' high watermarks have advanced, each once, before the group's
  // when_durable callbacks. Setting another, or none, waits until a running call has returned: not from a callback.
  using AdvanceObserver = std::function<void(std::span<const std::shared_ptr<Partition>>)>;
  void set_advance_observer(AdvanceObserver observer);

  // Called once when the store fails for good: a write or a sync of the write-ahead log, or a sync of a segment, did.
  // Nothing written after the last success can be trusted; the process should end. On whichever thread saw it, no lock
  // held. Set before the first append.
  void set_fatal_callback(std::function<void(const Error&)> callback);

  // Sync the segments, write a checkpoint and drop the write-ahead log before it; appends go on meanwhile. Done on its
  // own as the options say; for tests and tools. kOutOfSpace changes nothing.
  Status checkpoint();

  // What topics' configurations mean for their logs, of those that are there and of all that come; it holds at once.
  // Called again where the meaning changes. `policy_of` must be pure. Not from a callback.
  using PolicyOf = std::function<TopicPolicy(const TopicInfo&)>;
  void set_policies(PolicyOf policy_of);

  // Close segments whose time has come and delete what is beyond retention; compact what is due. Done on its own as the
  // options say, without hurry; for tests and tools. An error of one partition does not keep the others waiting: the
  // first is returned.
  Status tidy();

  // The data folder, as it was given, and the bytes that may still be written there.
  const std::string& dir() const;
  Result<uint64_t> free_bytes() const;

  // Counts are since open().
  struct Statistics {
    uint64_t wal_syncs = 0;
    uint64_t wal_bytes = 0;                         // written in all, with framing
    DurationHistogram::Snapshot wal_sync_times;     // of those syncs
    uint64_t wal_replayable_bytes = 0;              // after the last checkpoint: what a start now would read again
    uint64_t checkpoints = 0;                       // completed
    uint64_t checkpoints_failed = 0;                // of those taken in the background
    std::chrono::microseconds since_checkpoint{0};  // or since open()
    uint64_t tails_bytes = 0;                       // appended and still in memory
    // By retention and DeleteRecords: segments as a whole.
    uint64_t removed_segments = 0;
    uint64_t removed_bytes = 0;
    uint64_t retention_runs = 0;
    uint64_t retention_failures = 0;  // partitions that could not be looked after
    uint64_t compactions = 0;         // of a partition, where there was something to do
    uint64_t compaction_failures = 0;
    uint64_t compacted_bytes = 0;           // of segments that were written anew
    uint64_t compaction_removed_bytes = 0;  // how much smaller they are now
  };
  Statistics statistics() const;

 private:
  class Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::log
