#include "pipeline/internal/version_maker.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/logging.h"

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

int64_t VersionMaker::champion() const {
  const registry::VersionPtr champion = store_.champion(model());
  return champion ? champion->info.version : 0;
}

Result<RoundDecision> VersionMaker::make(const std::vector<ContributionPtr>& parts,
                                         std::optional<registry::Round> round) {
  std::vector<ContributionPtr> learned;
  for (const ContributionPtr& part : parts)
    if (part->trainer && part->trainer->model().rows_learned() > 0) learned.push_back(part);
  if (learned.empty()) return RoundDecision{0, champion()};
  return register_version(learned, std::move(round));
}

Result<RoundDecision> VersionMaker::register_version(const std::vector<ContributionPtr>& parts,
                                                     std::optional<registry::Round> round_id) {
  std::vector<const learn::Trainer*> trainers;
  registry::VersionInfo info;
  info.model = model();
  info.pipeline = options_.pipeline;
  info.round = std::move(round_id);
  for (const ContributionPtr& part : parts) {
    trainers.push_back(part->trainer.get());
    info.learned.push_back(part->learned);
    if (part->event_time_from_us)
      info.event_time_from_us = std::min(info.event_time_from_us.value_or(INT64_MAX), *part->event_time_from_us);
    if (part->event_time_until_us)
      info.event_time_until_us = std::max(info.event_time_until_us.value_or(INT64_MIN), *part->event_time_until_us);
    info.rows += part->trainer->model().rows_learned();
  }
  MILLRACE_ASSIGN_OR_RETURN(const learn::Round round, learn::merge_round(trainers));
  info.algorithm = options_.plan.algorithm.value;
  info.params_json = params_json(options_.plan.params);
  info.features_json = features_json(options_.plan.resolved_features);
  info.label_json = options_.label_json;
  info.positives = round.learner.task == learn::Task::kBinary ? round.learner.positives() : 0;
  info.metrics_json = metrics_json(round);
  MILLRACE_ASSIGN_OR_RETURN(const registry::VersionPtr version,
                            store_.publish(std::move(info), round.model.serialize()));

  RoundDecision decision{version->info.version, champion()};
  std::string why;
  switch (options_.plan.promote) {
    case Promote::kAlways:
      if (decision.champion != decision.version) why = "promote: always";
      break;
    case Promote::kNever:
      break;
    case Promote::kAuto:
      if (decision.champion == 0 && learn::beats_baseline(round.learner, round.prior))
        why = fmt::format("the first to beat the baseline: loss {:.6f} against {:.6f} over {} rows",
                          round.learner.loss(), round.prior.loss(), round.learner.rows);
      break;
  }
  if (!why.empty()) {
    MILLRACE_RETURN_IF_ERROR(store_.promote(model(), decision.version, "pipeline " + options_.pipeline, why));
    decision.champion = decision.version;
  }
  log_info("pipeline", "model {}: version {} registered{}", model(), decision.version,
           why.empty() ? "" : ", now champion: " + why);
  return decision;
}

}  // namespace millrace::pipeline
