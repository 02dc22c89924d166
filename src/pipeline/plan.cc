#include "pipeline/plan.h"

#include <algorithm>

namespace millrace::pipeline {
namespace {

struct KindName {
  std::string_view operator()(const SqlPlan&) const { return "sql"; }
  std::string_view operator()(const ValidatePlan&) const { return "validate"; }
  std::string_view operator()(const FeaturesPlan&) const { return "features"; }
  std::string_view operator()(const AggregatePlan&) const { return "aggregate"; }
  std::string_view operator()(const LabelPlan&) const { return "label"; }
  std::string_view operator()(const TrainPlan&) const { return "train"; }
  std::string_view operator()(const PredictPlan&) const { return "predict"; }
};

}  // namespace

const SourcePlan* Plan::find_source(std::string_view source) const {
  const auto found = std::find_if(sources.begin(), sources.end(), [&](const auto& s) { return s.name == source; });
  return found == sources.end() ? nullptr : &*found;
}

const StepPlan* Plan::find_step(std::string_view id) const {
  const auto found = std::find_if(steps.begin(), steps.end(), [&](const auto& s) { return s.id == id; });
  return found == steps.end() ? nullptr : &*found;
}

std::string_view kind_name(const StepKind& kind) { return std::visit(KindName{}, kind); }

}  // namespace millrace::pipeline
