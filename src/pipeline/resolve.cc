#include "pipeline/resolve.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "pipeline/internal/map_reader.h"
#include "pipeline/internal/resolver.h"
#include "pipeline/internal/specs.h"

namespace millrace::pipeline {
namespace {

constexpr std::string_view kHidden[] = {"_key", "_partition", "_offset", "_timestamp", "_headers", "_rest"};

// Kafka's rule for topic names.
bool is_topic_name(std::string_view name) {
  return !name.empty() && name.size() <= 249 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; });
}

bool mentions(std::string_view text, std::string_view word) {
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool begins = at == 0 || !is_word(text[at - 1]);
    const bool ends = at + word.size() == text.size() || !is_word(text[at + word.size()]);
    if (begins && ends) return true;
  }
  return false;
}

// Every text of the plan that can name a column.
std::string all_expressions(const Plan& plan) {
  std::string all;
  const auto add = [&](const Text& text) { all += text.value, all += '\n'; };
  for (const StepPlan& step : plan.steps) {
    if (const auto* sql = std::get_if<SqlPlan>(&step.kind)) add(sql->sql);
    if (const auto* validate = std::get_if<ValidatePlan>(&step.kind))
      for (const ColumnRule& rule : validate->rules) add(rule.column);
    if (const auto* features = std::get_if<FeaturesPlan>(&step.kind)) {
      for (const Text& key : features->key) add(key);
      for (const Aggregate& aggregate : features->aggregates) add(aggregate.expression), add(aggregate.where);
      for (const LastValue& last : features->last) add(last.column);
    }
    if (const auto* aggregate = std::get_if<AggregatePlan>(&step.kind)) {
      for (const Text& by : aggregate->by) add(by);
      for (const Aggregate& one : aggregate->aggregates) add(one.expression), add(one.where);
    }
    if (const auto* label = std::get_if<LabelPlan>(&step.kind)) {
      for (const Text& key : label->keys) add(key);
      add(label->value);
    }
    if (const auto* train = std::get_if<TrainPlan>(&step.kind))
      for (const Text& feature : train->features) add(feature);
  }
  for (const SinkPlan& sink : plan.sinks) {
    for (const Text& key : sink.key) add(key);
    for (const Text& column : sink.columns) add(column);
  }
  return all;
}

}  // namespace

Resolver::Resolver(Plan plan, Diagnostics& diagnostics) : plan_(std::move(plan)), diagnostics_(diagnostics) {}

ResolvedPlan Resolver::resolve() {
  check_names();
  for (size_t i = 0; i < plan_.sources.size(); ++i) resolve_source(i);
  for (StepPlan& step : plan_.steps) resolve_step(step);
  for (SinkPlan& sink : plan_.sinks) resolve_sink(sink);
  check_learners();
  if (plan_.sinks.empty() && plan_.steps.empty() && plan_.unreadable.empty())
    report().invalid({1, 1}, "the pipeline does nothing: it has neither steps nor sinks");
  result_.plan = std::move(plan_);
  if (report().empty()) build_stages();
  if (report().empty()) check_served_versions();
  report().sort();
  return std::move(result_);
}

std::vector<std::string> Resolver::flow_names() const {
  std::vector<std::string> names;
  for (const auto& [name, flow] : flows_) names.push_back(name);
  return names;
}

bool Resolver::is_reported(std::string_view name) const {
  return plan_.find_step(name) != nullptr ||
         std::find(plan_.unreadable.begin(), plan_.unreadable.end(), name) != plan_.unreadable.end();
}

void Resolver::check_names() {
  if (plan_.group.empty()) plan_.group = plan_.name;
  if (plan_.defaults.dlq.empty()) plan_.defaults.dlq = plan_.name + ".dlq";
  if (!plan_.name.empty() && !is_topic_name(plan_.name))
    report().invalid({1, 1}, fmt::format("'{}' cannot name a pipeline: its topics are called after it", plan_.name),
                     "letters, digits, '.', '_' and '-'");
  if (plan_.sources.empty()) report().invalid({1, 1}, "the pipeline has no sources");
  std::set<std::string> names = {"self"};
  for (const SourcePlan& source : plan_.sources)
    if (!names.insert(source.name).second)
      report().invalid(source.place, fmt::format("the name '{}' is taken", source.name));
  for (const StepPlan& step : plan_.steps)
    if (!names.insert(step.id).second) report().invalid(step.place, fmt::format("the name '{}' is taken", step.id));
}

bool Resolver::check_time(const format::TimeColumn& time, const columns::Schema& schema, Place place,
                          const std::string& where) {
  const auto index = schema.index_of(time.column);
  if (!index) {
    report().add(place, require_column(schema, time.column, where + ": time").error());
    return false;
  }
  const columns::Type& type = schema.field(*index).type;
  switch (type.kind) {
    case columns::Kind::kTimestamp:
    case columns::Kind::kVarchar:
      return true;
    case columns::Kind::kBigint:
    case columns::Kind::kDouble:
      if (time.format.takes_numbers()) return true;
      report().invalid(place,
                       fmt::format("{}: time: {} is a number, and nothing says in which unit", where, time.column),
                       fmt::format("time: {{column: {}, format: unix_s}} or unix_ms", time.column));
      return false;
    case columns::Kind::kBoolean:
    case columns::Kind::kDecimal:
      break;
  }
  report().invalid(place, fmt::format("{}: time: {} is {}: expected timestamp, varchar or bigint", where, time.column,
                                      type.to_string()));
  return false;
}

void Resolver::find_hidden_columns(SourcePlan& source) {
  const std::string expressions = all_expressions(plan_);
  std::vector<columns::Field> fields;
  for (const std::string_view name : kHidden) {
    if (!mentions(expressions, name)) continue;
    if (name == "_rest" && source.format != format::Format::kJson) continue;
    fields.push_back({std::string(name), *format::hidden_column_type(name)});
  }
  source.schema = widen(source.columns, std::move(fields));
}

void Resolver::resolve_source(size_t index) {
  SourcePlan& source = plan_.sources[index];
  const std::string where = fmt::format("source '{}'", source.name);
  if (source.topic.empty()) source.topic = {source.name, source.place};
  if (!is_topic_name(source.topic.value))
    report().invalid(source.topic.place, fmt::format("{}: '{}' cannot name a topic", where, source.topic.value),
                     "letters, digits, '.', '_' and '-'");
  const bool lines = source.format == format::Format::kRaw || source.format == format::Format::kText;
  const bool has_schema = source.json_schema != nullptr || !source.schema_file.empty();
  if (has_schema && source.format != format::Format::kJson)
    report().invalid(source.schema_file.place,
                     fmt::format("{}: a JSON Schema is for json, not {}", where, format::format_name(source.format)),
                     "give it columns");
  if (source.json_schema != nullptr) {
    source.columns = source.json_schema->columns();
  } else if (has_schema) {  // it could not be read, and that has been said
    plan_.unreadable.push_back(source.name);
    return;
  }
  if (source.columns.size() == 0) {
    if (lines)
      source.columns = columns::Schema({{"value", columns::kVarchar}});
    else
      report().invalid(source.place, where + ": columns or schema is missing: types are never guessed while running",
                       "millrace pipeline infer FILE");
  }
  if (lines && source.time)
    report().invalid(source.time_place, where + ": a line has no columns to take a time from",
                     "give `time` to the sql step that reads it");
  else if (source.time && !check_time(*source.time, source.columns, source.time_place, where))
    source.time.reset();
  if (!source.key.empty())
    if (auto found = require_column(source.columns, source.key.value, where + ": key"); !found)
      report().add(source.key.place, std::move(found).error());
  if (source.partitions == 0)
    source.partitions = source.key.empty() ? defaults::kPartitionsWithoutKey : defaults::kPartitionsWithKey;
  find_hidden_columns(source);
  Flow flow;
  flow.schema = source.schema;
  flow.source = index;
  flow.has_time = source.time.has_value();
  flows_.emplace(source.name, std::move(flow));
}

void Resolver::resolve_sink(SinkPlan& sink) {
  if (!sink.table.empty() && sink.topic.empty()) sink.topic = {plan_.name + "." + sink.table, sink.place};
  if (sink.id.empty()) sink.id = sink.table.empty() ? sink.topic.value : sink.table;
  const std::string where = fmt::format("sink '{}'", sink.id);
  if (!is_topic_name(sink.topic.value))
    report().invalid(sink.topic.place, fmt::format("{}: '{}' cannot name a topic", where, sink.topic.value));
  for (const SinkPlan& other : plan_.sinks)
    if (&other < &sink && other.id == sink.id)
      report().invalid(sink.place, fmt::format("{}: the name is taken", where), "give one of them an id");
  const auto flow = flows_.find(sink.from.value);
  if (flow == flows_.end()) {
    // A step that is itself in error has no flow; saying so once is enough.
    if (!is_reported(sink.from.value))
      report().invalid(sink.from.place, fmt::format("{}: there is no step or source '{}'", where, sink.from.value),
                       suggest(sink.from.value, flow_names()));
    return;
  }
  for (const auto* list : {&sink.key, &sink.columns})
    for (const Text& name : *list)
      if (auto found = require_column(*flow->second.schema, name.value, where); !found)
        report().add(name.place, std::move(found).error());
}

void Resolver::check_learners() {
  std::map<std::string, const StepPlan*> trained;
  for (const StepPlan& step : plan_.steps)
    if (const auto* train = std::get_if<TrainPlan>(&step.kind))
      if (!trained.emplace(train->model.value, &step).second)
        report().invalid(train->model.place, fmt::format("the model '{}' is trained twice", train->model.value));
}

void Resolver::build_stages() {
  Plan& plan = result_.plan;
  // Sources that a label brings together are of one stage.
  std::vector<size_t> root(plan.sources.size());
  std::iota(root.begin(), root.end(), 0);
  for (const StepPlan& step : plan.steps) {
    const auto* label = std::get_if<LabelPlan>(&step.kind);
    if (label == nullptr || label->of.value == "self") continue;
    const size_t a = root[flows_.at(step.id).source];
    const size_t b = root[flows_.at(label->of.value).source];
    for (size_t& r : root)
      if (r == b) r = a;
  }
  for (size_t i = 0; i < plan.sources.size(); ++i) {
    if (root[i] != i) continue;
    Stage stage;
    stage.name = plan.sources[i].name;
    stage.group = result_.stages.empty() ? plan.group : plan.group + "." + stage.name;
    for (size_t s = 0; s < plan.sources.size(); ++s)
      if (root[s] == i) stage.sources.push_back(s);
    for (size_t s = 0; s < plan.steps.size(); ++s)
      if (root[flows_.at(plan.steps[s].id).source] == i) stage.steps.push_back(s);
    for (size_t s = 0; s < plan.sinks.size(); ++s)
      if (root[flows_.at(plan.sinks[s].from.value).source] == i) stage.sinks.push_back(s);
    stage.has_state = std::any_of(stage.steps.begin(), stage.steps.end(), [&](size_t s) {
      const StepKind& kind = plan.steps[s].kind;
      return !std::holds_alternative<SqlPlan>(kind) && !std::holds_alternative<ValidatePlan>(kind) &&
             !std::holds_alternative<PredictPlan>(kind);
    });
    stage.partitions = plan.sources[i].partitions;
    for (const size_t s : stage.sources)
      if (plan.sources[s].partitions != stage.partitions)
        report().invalid(
            plan.sources[s].place,
            fmt::format("the sources '{}' and '{}' meet in a step and need equal partitions, not {} and {}",
                        plan.sources[i].name, plan.sources[s].name, stage.partitions, plan.sources[s].partitions));
    result_.stages.push_back(std::move(stage));
  }
}

// Partitions wait for one another at the boundaries of models that are served by event time. Boundaries of one kind
// come in one order everywhere; of two kinds (rows, time) each partition has its own order, and all might wait for
// ever.
void Resolver::check_served_versions() {
  const Plan& plan = result_.plan;
  for (const Stage& stage : result_.stages) {
    // A model's kind of boundary where the input is files, and where it is live.
    const Text* places[2][2] = {};  // [bounded][rows]
    for (const size_t index : stage.steps) {
      const auto* predict = std::get_if<PredictPlan>(&plan.steps[index].kind);
      if (predict == nullptr || predict->version == VersionPolicy::kLatest) continue;
      const TrainPlan* train = nullptr;
      for (const size_t other : stage.steps)
        if (const auto* found = std::get_if<TrainPlan>(&plan.steps[other].kind);
            found != nullptr && found->model.value == predict->model.value)
          train = found;
      if (train == nullptr) {
        if (!predict->version) continue;
        report().invalid(predict->model.place,
                         fmt::format("step '{}': the model '{}' is trained on another source's rows, so its versions "
                                     "have no event time here",
                                     plan.steps[index].id, predict->model.value),
                         "version: latest");
        continue;
      }
      for (const bool bounded : {false, true}) {
        if (!bounded && !predict->version) continue;  // the latest
        const RegisterEvery every = train->register_at ? train->register_at->every
                                    : bounded          ? RegisterEvery::kEnd
                                                       : RegisterEvery::kTime;
        if (every == RegisterEvery::kEnd) continue;
        const bool rows = every == RegisterEvery::kRows;
        places[bounded][rows] = &predict->model;
        const Text* other = places[bounded][!rows];
        if (other == nullptr) continue;
        report().invalid(
            predict->model.place,
            fmt::format("step '{}': the model '{}' is served by event time and registered by {}, '{}' of line {} by "
                        "{}: partitions would wait for one another for ever",
                        plan.steps[index].id, predict->model.value, rows ? "rows" : "time", other->value,
                        other->place.line, rows ? "time" : "rows"),
            "register both by time or both by rows, or serve one of them with version: latest");
        break;
      }
    }
  }
}

ResolvedPlan resolve(Plan plan, Diagnostics& diagnostics) { return Resolver(std::move(plan), diagnostics).resolve(); }

}  // namespace millrace::pipeline
