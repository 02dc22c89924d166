#include "pipeline/internal/topics.h"

#include <fmt/core.h>

#include <algorithm>

namespace millrace::pipeline {
namespace {

constexpr client::Millis kTimeout{30'000};

// Whether `kind` keeps state per key, so that rows of one key must meet in one partition.
const std::vector<Text>* keys_of(const StepKind& kind) {
  if (const auto* features = std::get_if<FeaturesPlan>(&kind)) return &features->key;
  if (const auto* aggregate = std::get_if<AggregatePlan>(&kind)) return &aggregate->by;
  if (const auto* label = std::get_if<LabelPlan>(&kind); label != nullptr && !label->delay_rows && !label->delay_us)
    return &label->keys;
  return nullptr;
}

// A topic may have been made by others with more partitions than the plan was checked for.
Status check_keyed(const Plan& plan, const Stage& stage) {
  if (stage.partitions == 1) return {};
  for (const size_t index : stage.steps) {
    const StepPlan& step = plan.steps[index];
    const std::vector<Text>* keys = keys_of(step.kind);
    if (keys == nullptr) continue;
    for (const size_t s : stage.sources) {
      const Text& key = plan.sources[s].key;
      if (!key.empty() && std::any_of(keys->begin(), keys->end(), [&](const Text& k) { return k.value == key.value; }))
        continue;
      return fail(
          Errc::kNotBuiltYet,
          fmt::format("step '{}': the topic '{}' has {} partitions and the source's key is not among the step's: "
                      "re-keying: not built yet",
                      step.id, plan.sources[s].topic.value, stage.partitions),
          "give the source the key that its records have");
    }
  }
  return {};
}

}  // namespace

Status prepare_topics(client::Admin& admin, ResolvedPlan& resolved, std::map<std::string, int32_t>& partitions) {
  Plan& plan = resolved.plan;
  const auto ensure = [&](const std::string& name, int32_t count) -> Status {
    if (partitions.contains(name)) return {};
    const client::TopicSpec spec{name, count, {{"retention.ms", "-1"}}};
    MILLRACE_ASSIGN_OR_RETURN(const auto outcomes, admin.create_topics({&spec, 1}, kTimeout));
    const Status& status = outcomes.front().status;
    if (status) {
      partitions[name] = count;
      return {};
    }
    if (status.error().code != Errc::kAlreadyExists) return status;
    MILLRACE_ASSIGN_OR_RETURN(const client::TopicInfo info, admin.describe_topic(name, kTimeout));
    partitions[name] = static_cast<int32_t>(info.partitions.size());
    return {};
  };
  for (Stage& stage : resolved.stages) {
    for (const size_t s : stage.sources) {
      SourcePlan& source = plan.sources[s];
      MILLRACE_RETURN_IF_ERROR(ensure(source.topic.value, source.partitions));
      source.partitions = partitions.at(source.topic.value);
    }
    stage.partitions = plan.sources[stage.sources.front()].partitions;
    for (const size_t s : stage.sources)
      if (plan.sources[s].partitions != stage.partitions)
        return fail(Errc::kConflict,
                    fmt::format("the topics '{}' and '{}' meet in a step and have {} and {} partitions",
                                plan.sources[stage.sources.front()].topic.value, plan.sources[s].topic.value,
                                stage.partitions, plan.sources[s].partitions),
                    "make them with equal partitions");
    MILLRACE_RETURN_IF_ERROR(check_keyed(plan, stage));
    for (const size_t s : stage.sinks) MILLRACE_RETURN_IF_ERROR(ensure(plan.sinks[s].topic.value, stage.partitions));
    if (!stage.has_state) continue;
    const std::string changelog = stage.changelog(plan);
    MILLRACE_RETURN_IF_ERROR(ensure(changelog, stage.partitions));
    if (partitions.at(changelog) != stage.partitions)
      return fail(
          Errc::kConflict,
          fmt::format("'{}' has {} partitions, and its source '{}' has {}: the number of partitions was changed",
                      changelog, partitions.at(changelog), plan.sources[stage.sources.front()].topic.value,
                      stage.partitions),
          "run the pipeline under a new name, from the beginning");
  }
  return ensure(plan.defaults.dlq, 1);
}

}  // namespace millrace::pipeline
