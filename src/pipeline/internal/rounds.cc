#include "pipeline/internal/rounds.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/logging.h"
#include "pipeline/internal/timeline.h"

namespace millrace::pipeline {
namespace {

std::string params_json(const learn::Params& params) {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  for (const auto& [name, value] : params) {
    json.key(name);
    if (const auto* boolean = std::get_if<bool>(&value))
      json.boolean(*boolean);
    else if (const auto* integer = std::get_if<int64_t>(&value))
      json.number(*integer);
    else if (const auto* number = std::get_if<double>(&value))
      json.number(*number);
    else
      json.text(std::get<std::string>(value));
  }
  json.end_object();
  return text;
}

std::string features_json(const std::vector<learn::FeatureSpec>& features) {
  std::string text;
  JsonWriter json(text);
  json.begin_array();
  for (const learn::FeatureSpec& feature : features) {
    json.begin_object().key("name").text(feature.name);
    if (feature.scale == learn::Scale::kStandard) json.key("scale").text("standard");
    if (feature.indicator) json.key("indicator").boolean(true);
    json.end_object();
  }
  json.end_array();
  return text;
}

std::string metrics_json(const learn::Round& round) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("learner");
  round.learner.write_json(json);
  json.key("learner_window");
  round.learner_window.write_json(json);
  json.key("baseline_prior");
  round.prior.write_json(json);
  json.key("baseline_last");
  round.last.write_json(json);
  json.end_object();
  return text;
}

}  // namespace

std::optional<Rounds::Due> Rounds::take_due() {
  if (merging_ || rounds_.empty()) return std::nullopt;
  Due due{*rounds_.begin(), {}};
  for (int32_t p = 0; p < options_.partitions; ++p) {
    const auto partition = snapshots_.find(PartitionId(p));
    if (partition == snapshots_.end()) return std::nullopt;
    // The first cut at or past the boundary crossed it.
    const auto cut = partition->second.lower_bound(due.boundary);
    if (cut == partition->second.end()) return std::nullopt;
    due.parts.push_back(cut->second);
  }
  for (auto& [partition, cuts] : snapshots_) cuts.erase(cuts.begin(), cuts.lower_bound(due.boundary));
  merging_ = true;
  return due;
}

Status Rounds::submit(Snapshot snapshot) {
  {
    MutexLock lock(mutex_);
    const int64_t boundary = snapshot.boundary;
    if (snapshot.makes_round && !decisions_.contains(boundary)) rounds_.insert(boundary);
    snapshots_[snapshot.partition].insert_or_assign(boundary, std::move(snapshot));
  }
  while (true) {
    std::optional<Due> due;
    {
      MutexLock lock(mutex_);
      due = take_due();
    }
    if (!due) return {};
    auto decision = decide(*due);
    MutexLock lock(mutex_);
    merging_ = false;
    if (!decision) return tl::unexpected<Error>(std::move(decision).error());
    rounds_.erase(due->boundary);
    decisions_.emplace(due->boundary, std::move(*decision));
  }
}

Result<Rounds::Decision> Rounds::decide(const Due& due) {
  std::vector<const Snapshot*> parts;
  for (const Snapshot& part : due.parts)
    if (part.trainer->model().rows_learned() > 0) parts.push_back(&part);
  if (!parts.empty()) return register_version(parts);
  Champions champions(store_);
  return Decision{champions.get(model())};
}

Result<Rounds::Decision> Rounds::register_version(const std::vector<const Snapshot*>& parts) {
  std::vector<const learn::Trainer*> trainers;
  registry::VersionInfo info;
  info.model = model();
  info.pipeline = options_.pipeline;
  for (const Snapshot* part : parts) {
    trainers.push_back(part->trainer.get());
    info.learned.push_back(part->learned);
    if (part->event_time_from_us)
      info.event_time_from_us = std::min(info.event_time_from_us.value_or(INT64_MAX), *part->event_time_from_us);
    if (part->event_time_until_us)
      info.event_time_until_us = std::max(info.event_time_until_us.value_or(INT64_MIN), *part->event_time_until_us);
    info.rows += part->trainer->model().rows_learned();
  }
  MILLRACE_ASSIGN_OR_RETURN(learn::Round round, learn::merge_round(trainers));
  info.algorithm = options_.plan.algorithm.value;
  info.params_json = params_json(options_.plan.params);
  info.features_json = features_json(options_.plan.resolved_features);
  info.label_json = options_.label_json;
  info.positives = round.learner.task == learn::Task::kBinary ? round.learner.positives() : 0;
  info.metrics_json = metrics_json(round);
  MILLRACE_ASSIGN_OR_RETURN(const registry::VersionPtr version,
                            store_.publish(std::move(info), round.model.serialize()));
  Champions champions(store_);
  auto champion = champions.get(model());
  std::string why;
  switch (options_.plan.promote) {
    case Promote::kAlways:
      why = "promote: always";
      break;
    case Promote::kNever:
      break;
    case Promote::kAuto:
      if (!champion && learn::beats_baseline(round.learner, round.prior))
        why = fmt::format("the first to beat the baseline: loss {:.6f} against {:.6f} over {} rows",
                          round.learner.loss(), round.prior.loss(), round.learner.rows);
      break;
  }
  if (!why.empty()) {
    MILLRACE_RETURN_IF_ERROR(store_.promote(model(), version->info.version, "pipeline " + options_.pipeline, why));
    champion = std::make_shared<const ServedModel>(ServedModel{version->info.version, std::move(round.model)});
  }
  log_info("pipeline", "model {}: version {} registered{}", model(), version->info.version,
           why.empty() ? "" : ", now champion: " + why);
  return Decision{std::move(champion)};
}

std::optional<Rounds::Decision> Rounds::decided(int64_t boundary) const {
  MutexLock lock(mutex_);
  const auto decision = decisions_.find(boundary);
  if (decision == decisions_.end()) return std::nullopt;
  return decision->second;
}

std::optional<int64_t> Rounds::pending() const {
  MutexLock lock(mutex_);
  if (rounds_.empty()) return std::nullopt;
  return *rounds_.begin();
}

bool Rounds::is_past(PartitionId partition, int64_t boundary) const {
  MutexLock lock(mutex_);
  const auto cuts = snapshots_.find(partition);
  return cuts != snapshots_.end() && cuts->second.lower_bound(boundary) != cuts->second.end();
}

void Rounds::arrive(PartitionId partition) {
  MutexLock lock(mutex_);
  here_.insert(partition);
}

void Rounds::forget(PartitionId partition) {
  MutexLock lock(mutex_);
  here_.erase(partition);
  snapshots_.erase(partition);
}

int32_t Rounds::elsewhere() const {
  MutexLock lock(mutex_);
  return options_.partitions - static_cast<int32_t>(here_.size());
}

}  // namespace millrace::pipeline
