#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "learn/trainer.h"
#include "pipeline/internal/version_store.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

// A partition's training at a cut: all boundaries up to `boundary` are behind it.
struct Snapshot {
  PartitionId partition;
  int64_t boundary = 0;     // event time or a number of rows; kEndOfTime: the partition has ended
  bool makes_round = true;  // false: only says that the partition is past
  std::shared_ptr<const learn::Trainer> trainer;
  registry::LearnedRange learned;
  std::optional<int64_t> event_time_from_us, event_time_until_us;
};

// Cuts of a model's partitions become versions: version b merges the states at the cuts of boundary b in partition
// order, and is a function of the input alone. The cuts of one process meet here; a model whose partitions are spread
// over several processes gets no new versions until rounds travel between them. Thread-safe; merging and registering
// happen on the thread whose snapshot completes the round.
class Rounds {
 public:
  struct Options {
    std::string pipeline;
    TrainPlan plan;
    std::string label_json = "{}";
    int32_t partitions = 1;
  };
  Rounds(Options options, VersionStore& store) : options_(std::move(options)), store_(store) {}

  const std::string& model() const { return options_.plan.model.value; }

  // Take a cut. Blocks while a round that it completes is registered.
  Status submit(Snapshot snapshot);

  // Whether the version of this boundary, or its refusal, is registered; then what is champion behind the boundary
  // (null: none).
  struct Decision {
    std::shared_ptr<const ServedModel> champion;
  };
  std::optional<Decision> decided(int64_t boundary) const;

  // The lowest boundary that waits for partitions; nullopt: none.
  std::optional<int64_t> pending() const;
  // Whether `partition` has said that it is past `boundary`.
  bool is_past(PartitionId partition, int64_t boundary) const;
  // This process works on the partition from now on; no longer. Its state went elsewhere, or is restored anew.
  void arrive(PartitionId partition);
  void forget(PartitionId partition);
  // Partitions that other processes work on: while there are any, no version is made.
  int32_t elsewhere() const;

 private:
  struct Due {
    int64_t boundary;
    std::vector<Snapshot> parts;  // in partition order
  };
  std::optional<Due> take_due() REQUIRES(mutex_);
  Result<Decision> decide(const Due& due);
  Result<Decision> register_version(const std::vector<const Snapshot*>& parts);

  const Options options_;
  VersionStore& store_;
  mutable Mutex mutex_;
  bool merging_ GUARDED_BY(mutex_) = false;
  std::map<PartitionId, std::map<int64_t, Snapshot>> snapshots_ GUARDED_BY(mutex_);  // by boundary
  std::set<int64_t> rounds_ GUARDED_BY(mutex_);                                      // asked for, not decided
  std::map<int64_t, Decision> decisions_ GUARDED_BY(mutex_);
  std::set<PartitionId> here_ GUARDED_BY(mutex_);
};

}  // namespace millrace::pipeline
