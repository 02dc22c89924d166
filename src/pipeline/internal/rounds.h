#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "pipeline/internal/outputs.h"
#include "pipeline/internal/round_log.h"
#include "pipeline/internal/served_model.h"
#include "pipeline/internal/version_maker.h"

namespace millrace::pipeline {

// Where the cuts of a model's partitions meet and become versions: version b merges the states at the cuts of boundary
// b in partition order, and is a function of the input alone. Tasks submit cuts and ask for decisions; thread-safe.
//
// In a run that ends all partitions are in this process, and cuts meet in its memory: who completes a round decides it.
// Workers that run on may hold any partitions, together with other processes: cuts travel by the topic of rounds, and
// RoundTopic, which follows it, decides the rounds of models whose partition 0 is here.
class Rounds {
 public:
  struct Options {
    VersionMaker::Options versions;
    int32_t partitions = 1;
    // Of the topic of rounds. Empty: all partitions are in this process.
    std::string series;
  };
  Rounds(Options options, VersionStore& store)
      : options_(std::move(options)), store_(store), maker_(options_.versions, store), log_(options_.partitions) {}

  const std::string& model() const { return maker_.model(); }
  const std::string& series() const { return options_.series; }

  // Take a cut. Where it travels, it is safe when `outputs` are flushed; otherwise this blocks while a round that it
  // completes is registered.
  Status submit(Contribution cut, Outputs& outputs);

  // What is champion behind the cuts of this boundary, once its version or its refusal is registered; null: none.
  using Champion = std::shared_ptr<const ServedModel>;
  Result<std::optional<Champion>> decided(int64_t boundary);
  // A version as a model that can predict; 0: null. kNotFound where the registry no longer has it.
  Result<Champion> load(int64_t version);

  // The lowest boundary that waits for partitions; nullopt: none.
  std::optional<int64_t> pending() const;
  // The partitions that have not said that they are past `boundary`.
  std::vector<PartitionId> missing(int64_t boundary) const;
  // Whether `partition` has said that it is past `boundary`.
  bool is_past(PartitionId partition, int64_t boundary) const;
  // A task of this process works on the partition from now on; no longer.
  void arrive(PartitionId partition);
  void leave(PartitionId partition);
  // Why there are no more decisions: an error that trying again cannot mend.
  Status status() const;

  // For who follows the topic of rounds: one thread, in the order of offsets.
  Status apply(const RoundKey& key, Offset offset, std::optional<ByteView> value);
  // Whether the task of partition 0 is here, which merges.
  bool leads() const;
  std::optional<RoundState::Due> due() const;
  std::optional<std::vector<Offset>> chunks_of(const Contribution& contribution) const;
  Result<RoundDecision> decide(int64_t boundary, const std::vector<ContributionPtr>& parts);
  std::vector<RoundKey> take_garbage();
  void end(Error error);

 private:
  Status decide_here();
  bool is_sent(PartitionId partition, int64_t boundary) const REQUIRES(mutex_);

  const Options options_;
  VersionStore& store_;
  VersionMaker maker_;
  mutable Mutex mutex_;
  RoundLog log_ GUARDED_BY(mutex_);
  bool deciding_ GUARDED_BY(mutex_) = false;
  std::map<PartitionId, int> here_ GUARDED_BY(mutex_);      // tasks
  std::map<PartitionId, int64_t> sent_ GUARDED_BY(mutex_);  // boundaries on their way to the topic
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  int64_t loaded_version_ GUARDED_BY(mutex_) = 0;
  Champion loaded_ GUARDED_BY(mutex_);
};

}  // namespace millrace::pipeline
