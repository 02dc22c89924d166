#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "pipeline/internal/round_state.h"
#include "pipeline/internal/version_store.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

// Turns the contributions of a round into a version of the model: merged in partition order, registered, and champion
// where the plan says so. Doing it again for the same round changes nothing. Thread-safe.
class VersionMaker {
 public:
  struct Options {
    std::string pipeline;
    TrainPlan plan;
    std::string label_json = "{}";
  };
  VersionMaker(Options options, VersionStore& store) : options_(std::move(options)), store_(store) {}

  const std::string& model() const { return options_.plan.model.value; }

  // `parts` have their trainers, where they learned anything; where none did, there is no version. `round` names the
  // round for good; without one, what was registered last is known by its bytes.
  // kAlreadyExists: a later round of the series is registered.
  Result<RoundDecision> make(const std::vector<ContributionPtr>& parts, std::optional<registry::Round> round);

 private:
  Result<RoundDecision> register_version(const std::vector<ContributionPtr>& parts,
                                         std::optional<registry::Round> round);
  int64_t champion() const;

  const Options options_;
  VersionStore& store_;
};

}  // namespace millrace::pipeline
