#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "client/group_consumer.h"
#include "pipeline/internal/delivery.h"
#include "pipeline/internal/fail_window.h"
#include "pipeline/internal/task.h"
#include "pipeline/status.h"

namespace millrace::pipeline {

// What the workers of one stage in one process share.
struct StageShared {
  const ResolvedPlan* resolved = nullptr;
  const Stage* stage = nullptr;
  client::Options client;
  const Clock* clock = nullptr;
  std::map<std::string, int32_t> topic_partitions;
  VersionStore* store = nullptr;  // null where no step needs models
  std::map<std::string, Rounds*, std::less<>> rounds;
  // A run that ends: where each source partition does. Empty: it never ends.
  std::map<client::TopicPartition, Offset> ends;
  bool bounded = false;

  // Partitions whose input has ended, and is committed.
  Mutex mutex;
  std::set<PartitionId> finished GUARDED_BY(mutex);
  bool all_finished() {
    MutexLock lock(mutex);
    return bounded && finished.size() == static_cast<size_t>(stage->partitions);
  }
};

// What a worker did, for others to read.
struct WorkerReport {
  std::vector<StepCounters> counters;  // sources and steps of the stage
  std::map<size_t, uint64_t> written;  // by sink
  uint64_t records_in = 0;
  uint64_t dead_letters = 0;
  int partitions = 0;
  std::optional<MonoTime> first_record, last_commit;
  std::map<std::string, std::vector<PartitionMetrics>> models;  // by train step
};

// One thread's membership in a stage's consumer group: it owns the partitions it is assigned, end to end.
class StageWorker {
 public:
  explicit StageWorker(StageShared& shared) : shared_(shared), failures_(shared.resolved->plan.defaults.fail_ratio) {}

  // Until `stop`, or until the input of a bounded run has ended everywhere. Losing the broker or the membership is
  // survived: everything since the last commit is dropped and done again. Errors that trying again cannot mend end it.
  Status run(const std::stop_token& stop);

  WorkerReport report() const;

 private:
  // What a task did up to a commit.
  struct Counts {
    std::vector<StepCounters> steps;
    std::map<size_t, uint64_t> written;  // by sink
    uint64_t records_in = 0;
    uint64_t dead_letters = 0;
  };
  struct Held {
    std::unique_ptr<Task> task;
    Counts done;  // as of the last commit
    state::Generation generation = 0;
    std::vector<Offset> committed;  // per source
    std::vector<Offset> told;       // per source: what the group took of that
    std::vector<MonoTime> heard;    // per source: when its last record came
    std::vector<bool> paused;       // per source
    bool reported_end = false;
    std::optional<MonoTime> waits_since;  // for a version; said aloud once it is long
    bool said_so = false;
  };

  Status run_membership(const std::stop_token& stop);
  // A round of the membership: records, what partitions need besides, and a commit where one is due. Returns what the
  // group wants, which then comes first.
  Result<std::optional<client::GroupEvent>> work(client::Millis wait);
  Status handle(const client::GroupEvent& event);
  Status assign(const std::vector<client::TopicPartition>& partitions);
  Result<Held> take_over(PartitionId partition, std::vector<client::TopicOffset>& starts);
  Status work_while_restoring();
  Result<bool> is_member() const;
  Status take_records(const client::Records& records);
  Status tend();
  Status tend_ends(PartitionId partition, Held& held);
  void watch_wait(PartitionId partition, Held& held, MonoTime now) const;
  Status commit();
  void commit_offsets();
  Status check_failures();
  Counts counts_of(const Task& task) const;
  void retire(const Held& held);
  void drop(const std::vector<client::TopicPartition>& partitions);
  void publish(bool with_models);
  const std::string& topic(size_t source) const {
    return shared_.resolved->plan.sources[shared_.stage->sources[source]].topic.value;
  }

  StageShared& shared_;
  std::shared_ptr<sql::Database> database_;
  std::unique_ptr<Champions> champions_;
  std::unique_ptr<Delivery> delivery_;
  std::unique_ptr<client::GroupConsumer> consumer_;
  StageContext context_;
  std::map<PartitionId, Held> held_;
  FailWindow failures_;
  uint64_t seen_records_ = 0, seen_dead_letters_ = 0;
  MonoTime models_published_{};
  std::stop_token stop_;
  MonoTime worked_{}, committed_{};  // the last round, the last commit

  // Counts of partitions that went away.
  WorkerReport retired_;

  mutable Mutex mutex_;
  WorkerReport report_ GUARDED_BY(mutex_);
};

}  // namespace millrace::pipeline
