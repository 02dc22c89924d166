#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "learn/trainer.h"
#include "registry/version.h"

namespace millrace::pipeline {

// A partition's training at its cut of a boundary: all boundaries up to this one are behind it.
struct Contribution {
  PartitionId partition;
  int64_t boundary = 0;     // event time or a number of rows; kEndOfTime: the partition has ended
  bool makes_round = true;  // false: only says that the partition is past
  registry::LearnedRange learned;
  std::optional<int64_t> event_time_from_us, event_time_until_us;
  // Null where nothing was learned, or while its bytes are in the topic only.
  std::shared_ptr<const learn::Trainer> trainer;

  // In the topic of rounds: of the trainer's bytes and all of the above.
  std::string hash;
  uint32_t chunks = 0;
};
using ContributionPtr = std::shared_ptr<const Contribution>;

// What became of a round: the version that was registered, and the champion from there on. 0: none.
struct RoundDecision {
  int64_t version = 0;
  int64_t champion = 0;

  friend bool operator==(const RoundDecision&, const RoundDecision&) = default;
};

// The rounds of one model: which boundaries become versions, and of what. Contributions and decisions go in, in one
// order for all who follow it (a topic's, or that of one process); equal orders give equal rounds. Pure: no topic, no
// clock. Not thread-safe.
//
// A round is asked for by the first contribution that makes one, and closes when every partition has contributed at its
// boundary or behind: then its parts are fixed, per partition the first cut at or behind the boundary. A partition's
// first contribution at a boundary counts, later ones are repeats of a worker that was restarted. Rounds close, and are
// decided, in the order of their boundaries; a boundary behind the last closed one makes no round any more.
class RoundState {
 public:
  explicit RoundState(int32_t partitions) : partitions_(partitions) {}

  // False: another one counts, and nobody will need this.
  bool contribute(ContributionPtr contribution);
  // The first decision of a boundary counts. False: this one does not.
  bool decide(int64_t boundary, RoundDecision decision);
  // The topic no longer has the decision.
  void forget_decision(int64_t boundary) { decisions_.erase(boundary); }

  // The next round to be decided: closed, and no round below it is open. In partition order.
  struct Due {
    int64_t boundary = 0;
    std::vector<ContributionPtr> parts;
  };
  std::optional<Due> due() const;

  // What is in force behind a partition's cut of `boundary`: the decision of the first round at or behind it. nullopt:
  // not decided yet.
  std::optional<RoundDecision> decided(int64_t boundary) const;
  // The lowest boundary that waits for partitions.
  std::optional<int64_t> pending() const;
  // The partitions that a round of `boundary` waits for.
  std::vector<PartitionId> missing(int64_t boundary) const;
  // Whether a contribution of the partition at `boundary` would change nothing.
  bool has(PartitionId partition, int64_t boundary, bool makes_round) const;
  bool is_past(PartitionId partition, int64_t boundary) const;
  // Decisions known, by boundary.
  const std::map<int64_t, RoundDecision>& decisions() const { return decisions_; }
  // Whether a round that is not decided, or one still to come, may use this contribution.
  bool may_need(const Contribution& contribution) const;

 private:
  using Cuts = std::map<int64_t, ContributionPtr>;  // by boundary

  bool behind_last_closed(int64_t boundary) const { return closed_until_ && boundary <= *closed_until_; }
  void close_complete_rounds();
  void close_until(int64_t boundary);
  const ContributionPtr* first_cut(int32_t partition, int64_t boundary) const;

  int32_t partitions_;
  std::map<PartitionId, Cuts> cuts_;                        // behind the last closed boundary
  std::set<int64_t> asked_;                                 // not closed
  std::map<int64_t, std::vector<ContributionPtr>> closed_;  // not decided
  std::map<int64_t, RoundDecision> decisions_;
  std::optional<int64_t> closed_until_;
};

}  // namespace millrace::pipeline
