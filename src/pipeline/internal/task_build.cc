#include <fmt/core.h>

#include <algorithm>

#include "pipeline/internal/task.h"

namespace millrace::pipeline {
namespace {

// How late rows may be and still find their windows, and the truth of their labels, complete: at least as late as the
// watermark allows. Negative: a step's own default.
int64_t lateness_of(const Plan& plan, const Stage& stage) {
  int64_t lag_us = 0;
  for (const size_t source : stage.sources) lag_us = std::max(lag_us, plan.sources[source].watermark_us);
  return lag_us > 0 ? lag_us : -1;
}

// The label that `step`'s rows have waited at, null if there is none: rows of an aggregate are new.
const StepPlan* label_before(const Plan& plan, const StepPlan& step) {
  const StepPlan* before = plan.find_step(step.from.value);
  while (before != nullptr && !std::holds_alternative<LabelPlan>(before->kind))
    before = std::holds_alternative<AggregatePlan>(before->kind) ? nullptr : plan.find_step(before->from.value);
  return before;
}

}  // namespace

Task::Task(const StageContext& context, PartitionId partition) : context_(context), partition_(partition) {
  for (const auto& [step, rounds] : context_.rounds) rounds->arrive(partition_);
}

Task::~Task() {
  for (const auto& [step, rounds] : context_.rounds) rounds->leave(partition_);
}

Result<std::unique_ptr<Task>> Task::make(const StageContext& context, PartitionId partition) {
  auto task = std::unique_ptr<Task>(new Task(context, partition));
  MILLRACE_RETURN_IF_ERROR(task->build());
  return task;
}

Status Task::build() {
  const Stage& stage = *context_.stage;
  for (size_t s = 0; s < stage.sources.size(); ++s) MILLRACE_RETURN_IF_ERROR(build_source(s));
  // Trainers first: a label works together with those behind it.
  for (const size_t index : stage.steps) {
    const StepPlan& step = context_.plan().steps[index];
    const auto* train = std::get_if<TrainPlan>(&step.kind);
    if (train == nullptr) continue;
    const columns::SchemaPtr labelled = schema_of(step.from.value);
    const StepPlan* label = label_before(context_.plan(), step);
    const columns::SchemaPtr released = label != nullptr ? label->schema : labelled;
    const columns::SchemaPtr arriving = label != nullptr ? schema_of(label->from.value) : labelled;
    const std::string live = live_column(label != nullptr ? *label : step, train->model.value);
    Training training;
    MILLRACE_ASSIGN_OR_RETURN(training.core, TrainCore::make(step, *train, *arriving, *released, *labelled, live));
    trainers_.emplace(step.id, training.core.get());
    if (label != nullptr) {
      auto& pass = passes_[label->id];
      if (!pass) pass = std::make_shared<LabelPass>();
      training.pass = pass;
      training.number = pass->trainers++;
    }
    trainings_.emplace(step.id, std::move(training));
  }
  for (const size_t index : stage.steps) MILLRACE_RETURN_IF_ERROR(build_node(index));
  for (const size_t index : stage.sinks) MILLRACE_RETURN_IF_ERROR(build_sink(index));
  build_schedules();
  outputs_.resize(nodes_.size());
  source_rows_.resize(stage.sources.size());
  written_.resize(context_.plan().sinks.size());
  return {};
}

Status Task::build_source(size_t source) {
  const SourcePlan& plan = context_.plan().sources[context_.stage->sources[source]];
  format::DecoderOptions options;
  options.format = plan.format;
  options.columns = plan.columns;
  options.time = plan.time;
  options.wanted = plan.schema->names();
  options.delimiter = plan.delimiter;
  options.schema = plan.json_schema;
  MILLRACE_ASSIGN_OR_RETURN(format::Decoder decoder, format::Decoder::make(std::move(options), *context_.clock));
  decoders_.push_back(std::move(decoder));
  SourceClock clock;
  clock.lag_us = plan.watermark_us;
  clocks_.push_back(clock);
  queues_.emplace_back();
  end_requested_.push_back(false);
  StepCounters counters;
  counters.id = plan.name;
  counters.kind = "source";
  source_counters_.push_back(std::move(counters));
  return {};
}

columns::SchemaPtr Task::schema_of(std::string_view name) const {
  if (const StepPlan* step = context_.plan().find_step(name)) return step->schema;
  return context_.plan().find_source(name)->schema;
}

// The column of the score that was served for the model, if a predict step of it stands upstream of `behind`.
std::string Task::live_column(const StepPlan& behind, const std::string& model) const {
  for (const StepPlan* step = context_.plan().find_step(behind.from.value); step != nullptr;
       step = context_.plan().find_step(step->from.value))
    if (const auto* predict = std::get_if<PredictPlan>(&step->kind);
        predict != nullptr && predict->model.value == model && predict->output != PredictOutput::kClass)
      return predict->as;
  return {};
}

Status Task::build_node(size_t index) {
  const StepPlan& plan = context_.plan().steps[index];
  const Stage& stage = *context_.stage;
  Node node;
  node.plan = &plan;
  for (size_t n = 0; n < nodes_.size(); ++n)
    if (nodes_[n].plan->id == plan.from.value) node.from_node = n;
  node.behind_label = label_before(context_.plan(), plan) != nullptr;
  for (size_t s = 0; s < stage.sources.size(); ++s) {
    const std::string& name = context_.plan().sources[stage.sources[s]].name;
    if (!node.from_node && name == plan.from.value) node.from_source = s;
    if (const auto* label = std::get_if<LabelPlan>(&plan.kind); label != nullptr && name == label->of.value)
      node.side_source = s;
  }
  if (const auto* sql = std::get_if<SqlPlan>(&plan.kind); sql != nullptr && sql->time) {
    node.front = true;
    clocks_[node.from_source].lag_us = sql->watermark_us;
  }
  MILLRACE_ASSIGN_OR_RETURN(node.step, make_step(plan, schema_of(plan.from.value), node));
  nodes_.push_back(std::move(node));
  StepCounters counters;
  counters.id = plan.id;
  counters.kind = kind_name(plan.kind);
  node_counters_.push_back(std::move(counters));
  return {};
}

Result<std::unique_ptr<Step>> Task::make_step(const StepPlan& plan, const columns::SchemaPtr& in, Node& node) {
  struct Maker {
    Task& task;
    const StepPlan& step;
    const columns::SchemaPtr& in;
    const Node& node;

    Result<std::unique_ptr<Step>> operator()(const SqlPlan& sql) const {
      return make_sql_step(sql, step.from.value, in, task.context_.database, *task.context_.clock);
    }
    Result<std::unique_ptr<Step>> operator()(const ValidatePlan& validate) const {
      return make_validate_step(validate, in);
    }
    Result<std::unique_ptr<Step>> operator()(const FeaturesPlan& features) const {
      return make_features_step(step, features, in, lateness_of(task.context_.plan(), *task.context_.stage),
                                task.context_.database);
    }
    Result<std::unique_ptr<Step>> operator()(const AggregatePlan& aggregate) const {
      return make_aggregate_step(step, aggregate, in, task.context_.database);
    }
    Result<std::unique_ptr<Step>> operator()(const LabelPlan& label) const {
      const columns::SchemaPtr other = node.side_source ? task.schema_of(label.of.value) : nullptr;
      const auto pass = task.passes_.find(step.id);
      return make_label_step(step, label, in, other, lateness_of(task.context_.plan(), *task.context_.stage),
                             pass == task.passes_.end() ? nullptr : pass->second);
    }
    Result<std::unique_ptr<Step>> operator()(const TrainPlan&) const {
      auto& training = task.trainings_.at(step.id);
      return make_train_step(step, std::move(training.core), std::move(training.pass), training.number);
    }
    Result<std::unique_ptr<Step>> operator()(const PredictPlan& predict) const {
      return make_predict_step(step, predict, task.served_lookup(predict));
    }
  };
  return std::visit(Maker{*this, plan, in, node}, plan.kind);
}

ServedLookup Task::served_lookup(const PredictPlan& plan) {
  const std::string model = plan.model.value;
  const VersionPolicy policy =
      plan.version.value_or(context_.bounded ? VersionPolicy::kEventTime : VersionPolicy::kLatest);
  if (policy == VersionPolicy::kEventTime && rounds_of(model) != nullptr) {
    event_time_models_.insert(model);
    served_.emplace(model, context_.champions->get(model));
    return [this, model] { return served_.at(model); };
  }
  return [this, model] { return context_.champions->get(model); };
}

// Null where the stage does not train the model.
Rounds* Task::rounds_of(std::string_view model) const {
  for (const auto& [step, rounds] : context_.rounds)
    if (rounds->model() == model) return rounds;
  return nullptr;
}

Status Task::build_sink(size_t index) {
  const SinkPlan& plan = context_.plan().sinks[index];
  SinkWriter sink;
  sink.index = index;
  for (size_t n = 0; n < nodes_.size(); ++n)
    if (nodes_[n].plan->id == plan.from.value) sink.from_node = n;
  for (size_t s = 0; s < context_.stage->sources.size(); ++s)
    if (context_.plan().sources[context_.stage->sources[s]].name == plan.from.value) sink.from_source = s;
  const columns::SchemaPtr schema = schema_of(plan.from.value);
  std::vector<std::string> names;
  for (const Text& column : plan.columns) names.push_back(column.value);
  MILLRACE_ASSIGN_OR_RETURN(sink.encoder, format::Encoder::make(format::Format::kJson, schema, std::move(names)));
  for (const Text& key : plan.key) sink.key_columns.push_back(*schema->index_of(key.value));
  sinks_.push_back(std::move(sink));
  return {};
}

void Task::build_schedules() {
  for (const size_t index : context_.stage->steps) {
    const StepPlan& step = context_.plan().steps[index];
    const auto* train = std::get_if<TrainPlan>(&step.kind);
    if (train == nullptr || !context_.rounds.contains(step.id)) continue;
    Schedule schedule;
    schedule.step = step.id;
    if (train->register_at) {
      schedule.every = train->register_at->every;
      schedule.amount = train->register_at->amount;
    } else if (!context_.bounded) {
      schedule.every = RegisterEvery::kTime;
      schedule.amount = defaults::kRegisterEveryUs;
    }
    schedules_.push_back(std::move(schedule));
  }
}

}  // namespace millrace::pipeline
