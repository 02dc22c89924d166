#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/random.h"
#include "env/file_system.h"
#include "log/internal/checkpoint_file.h"
#include "log/internal/partition_log.h"
#include "log/internal/wal.h"
#include "log/store.h"

namespace millrace::log {

// Locks, in the order in which they are taken: tidy_mutex_, checkpoint_mutex_ (one checkpoint at a time, held over its
// I/O; only the removal of files waits for it), changes_mutex_ (creating, growing and deleting topics, one at a time,
// each durable before the next; a checkpoint holds it while it notes which topics there are, and so does the removal of
// segments, whose names a new topic may take), then those of partitions, then of the write-ahead log. topics_mutex_,
// background_mutex_ and housekeeping_mutex_ are leaves.
class Store::Impl {
 public:
  Impl(const StoreOptions& options, env::FileSystem& files, const Clock& clock);
  ~Impl();

  Status open(Random& random);
  Status close();

  const Uuid& cluster_id() const { return cluster_id_; }
  bool recovered_from_crash() const { return recovered_from_crash_; }
  Wal& wal() { return wal_; }

  Result<std::shared_ptr<const Topic>> create_topic(const TopicInfo& info);
  Result<std::shared_ptr<const Topic>> add_partitions(const std::string& name, int32_t count);
  Result<std::shared_ptr<const Topic>> set_topic_config(const std::string& name,
                                                        std::map<std::string, std::string> config);
  Status delete_topic(const std::string& name);
  std::vector<std::shared_ptr<const Topic>> topics() const;
  std::shared_ptr<const Topic> find_topic(std::string_view name) const;
  std::shared_ptr<const Topic> find_topic(const Uuid& id) const;

  std::vector<Result<Appended>> append_all(std::span<const Item> items, Room* room);
  void set_fatal_callback(std::function<void(const Error&)> callback);
  Status checkpoint();
  Status commit_group();
  // housekeeping.cc
  void set_policies(PolicyOf policy_of);
  Status tidy();
  const std::string& dir() const { return options_.dir; }
  Result<uint64_t> free_bytes() const { return files_.free_bytes(options_.dir); }
  Statistics statistics() EXCLUDES(background_mutex_);

 private:
  // A topic as recovery finds it.
  struct Recovered {
    TopicInfo info;
    std::vector<PartitionSnapshot> partitions;  // those that the checkpoint has
    std::map<int32_t, WalAhead> ahead;          // from the write-ahead log
  };
  using RecoveredTopics = std::map<uint32_t, Recovered>;

  // recovery.cc
  Status open_folder(Random& random, bool& is_new);
  Status make_folder(Random& random);
  Status recover();
  Result<RecoveredTopics> recover_topics(const CheckpointContent& checkpoint, uint64_t& end);
  // Those of topics that were deleted, but for what `living` ones of the same name have there.
  Status remove_directories(const std::vector<TopicInfo>& deleted, const RecoveredTopics& living);
  Status remove_leftovers();

  std::string path(std::string_view name) const { return env::join_path(options_.dir, name); }
  // Of the partitions that `topic` lacks.
  void make_partitions(uint32_t number, Topic& topic);
  void publish_topic(const std::shared_ptr<const Topic>& topic) EXCLUDES(topics_mutex_);

  // After the last checkpoint: the write-ahead log, which the segments' files need not have yet, and all that a start
  // now would read, with the batches that stand in segments alone.
  uint64_t unsynced_bytes() EXCLUDES(background_mutex_);
  uint64_t replayable_bytes() REQUIRES(background_mutex_);
  void failed(const Error& error);

  // housekeeping.cc
  void apply_policy(const Topic& topic) REQUIRES(changes_mutex_);
  Status close_and_expire() REQUIRES(tidy_mutex_);
  Status compact(const std::function<bool(uint64_t)>& pace) REQUIRES(tidy_mutex_);
  // Wait as long as so many bytes may take compaction; false where the store is closing.
  bool wait_for_pace(uint64_t bytes) EXCLUDES(housekeeping_mutex_);
  bool is_closing() EXCLUDES(housekeeping_mutex_);
  void run_housekeeping();

  // store_background.cc
  struct Taken {
    std::shared_ptr<Partition> partition;
    PartitionLog::Snapshot snapshot;
  };
  Status take_snapshots(const std::vector<std::shared_ptr<const Topic>>& topics, CheckpointContent& content,
                        std::vector<Taken>& taken);
  // The files that the checkpoint will tell of, durable.
  Status write_snapshots(const std::vector<Taken>& taken, bool& sync_failed);
  // Files on their way out: of this partition, unless its topic is deleted by then, or of nobody any more.
  struct Removal {
    std::shared_ptr<Partition> partition;
    std::vector<std::string> paths;
  };
  void remove_later(Removal removal) EXCLUDES(background_mutex_);
  void remove_files(const std::vector<Removal>& removals) EXCLUDES(checkpoint_mutex_, changes_mutex_);
  void run_background();
  void run_errands(bool make_spare, const std::vector<Removal>& removals);
  void wal_synced(uint64_t end_position);

  const StoreOptions options_;
  env::FileSystem& files_;
  const Clock& clock_;
  std::unique_ptr<env::FileLock> lock_;
  Uuid cluster_id_;
  bool recovered_from_crash_ = false;
  bool is_open_ = false;
  Wal wal_;
  const std::shared_ptr<PartitionLog::Shared> shared_;

  Mutex tidy_mutex_;  // one tidy() at a time; before checkpoint_mutex_
  Random cleaner_random_ GUARDED_BY(tidy_mutex_){0};
  Mutex checkpoint_mutex_;
  Mutex changes_mutex_;
  uint32_t next_topic_number_ GUARDED_BY(changes_mutex_) = 1;
  PolicyOf policy_of_ GUARDED_BY(changes_mutex_);

  mutable Mutex topics_mutex_;
  std::map<std::string, std::shared_ptr<const Topic>, std::less<>> by_name_ GUARDED_BY(topics_mutex_);
  std::map<Uuid, std::shared_ptr<const Topic>> by_id_ GUARDED_BY(topics_mutex_);

  Mutex background_mutex_;
  CondVar background_wake_;
  bool stopping_ GUARDED_BY(background_mutex_) = false;
  bool closed_ GUARDED_BY(background_mutex_) = false;
  bool spare_wanted_ GUARDED_BY(background_mutex_) = false;
  std::optional<MonoTime> dirty_since_ GUARDED_BY(background_mutex_);  // the first sync after the last checkpoint
  std::optional<MonoTime> not_before_ GUARDED_BY(background_mutex_);   // after a checkpoint that failed
  uint64_t wal_end_ GUARDED_BY(background_mutex_) = 0;
  uint64_t checkpoint_position_ GUARDED_BY(background_mutex_) = 0;
  uint64_t checkpoint_in_segments_ GUARDED_BY(background_mutex_) = 0;  // Wal::bytes_in_segments() when it was taken
  MonoTime checkpointed_at_ GUARDED_BY(background_mutex_);
  std::vector<Removal> removals_ GUARDED_BY(background_mutex_);
  std::function<void(const Error&)> fatal_callback_ GUARDED_BY(background_mutex_);
  std::atomic<bool> failed_{false};              // for good
  std::atomic<bool> abandon_checkpoint_{false};  // close() does not wait for the background's
  Counter checkpoints_;
  Counter checkpoints_failed_;
  Counter retention_runs_;
  Counter retention_failures_;
  Counter compactions_;
  Counter compaction_failures_;
  Counter compacted_bytes_;
  Counter compaction_removed_bytes_;
  std::thread background_;

  Mutex housekeeping_mutex_;
  CondVar housekeeping_wake_;
  bool housekeeping_ends_ GUARDED_BY(housekeeping_mutex_) = false;
  bool checkpoint_taken_ GUARDED_BY(housekeeping_mutex_) = false;   // since compaction was looked at
  bool closed_to_compact_ GUARDED_BY(housekeeping_mutex_) = false;  // a segment, since the last checkpoint began
  std::thread housekeeping_;
};

}  // namespace millrace::log
