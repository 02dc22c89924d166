#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.h"
#include "learn/algorithm.h"
#include "pipeline/internal/map_reader.h"
#include "pipeline/internal/resolver.h"
#include "pipeline/internal/specs.h"

namespace millrace::pipeline {
namespace {

// The place of byte `position` of a text that stands at `start`. Block scalars begin a line below their indicator, at
// an indentation the mark does not tell: there the line is right, and the column is the statement's own.
Place place_in(const Text& text, size_t position) {
  const std::string_view before = std::string_view(text.value).substr(0, std::min(position, text.value.size()));
  const auto lines = static_cast<int>(std::count(before.begin(), before.end(), '\n'));
  if (text.value.find('\n') == std::string::npos)
    return {text.place.line, text.place.column + static_cast<int>(position)};
  const size_t line_begin = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return {text.place.line + 1 + lines, static_cast<int>(before.size() - line_begin) + 1};
}

bool can_be_feature(const columns::Type& type) { return type.kind != columns::Kind::kVarchar; }

}  // namespace

void Resolver::resolve_step(StepPlan& step) {
  const auto in = flows_.find(step.from.value);
  if (in == flows_.end()) {
    const auto later = std::find_if(plan_.steps.begin(), plan_.steps.end(),
                                    [&](const StepPlan& other) { return other.id == step.from.value; });
    if (!is_reported(step.from.value))
      report().invalid(step.from.place,
                       fmt::format("step '{}': there is no step or source '{}'", step.id, step.from.value),
                       suggest(step.from.value, flow_names()));
    else if (later != plan_.steps.end() && &*later >= &step)
      report().invalid(step.from.place, fmt::format("step '{}': '{}' must stand before it", step.id, step.from.value));
    return;
  }
  if (auto flow = flow_behind(step, in->second)) {
    step.schema = flow->schema;
    flows_.insert_or_assign(step.id, std::move(*flow));
  }
}

std::optional<Flow> Resolver::flow_behind(StepPlan& step, const Flow& in) {
  auto flow = std::visit([&](auto& kind) { return resolve_kind(step, kind, in); }, step.kind);
  if (!flow) return flow;
  std::set<std::string> names;
  for (const columns::Field& field : flow->schema->fields())
    if (!names.insert(field.name).second) {
      report().invalid(step.place, fmt::format("step '{}': two columns would be called '{}'", step.id, field.name));
      return std::nullopt;
    }
  return flow;
}

columns::SchemaPtr Resolver::prepare(const std::string& sql, const StepPlan& step, const columns::SchemaPtr& in,
                                     Place place) {
  if (!database_) {
    auto opened = sql::Database::open({});
    if (!opened) {
      report().add(place, std::move(opened).error());
      return nullptr;
    }
    database_ = std::move(*opened);
  }
  auto query = sql::BatchQuery::make(database_, {step.from.value, in, sql});
  if (query) {
    for (const std::string& note : (*query)->notes())
      result_.notes.push_back(fmt::format("step '{}': {}", step.id, note));
    return (*query)->output_schema();
  }
  const auto* plan = std::get_if<SqlPlan>(&step.kind);
  const bool own = plan != nullptr && plan->sql.value == sql;
  report().add(own && query.error().position ? place_in(plan->sql, *query.error().position) : place,
               std::move(query.error().error));
  return nullptr;
}

bool Resolver::check_timed(const StepPlan& step, const Flow& in) {
  const std::string_view kind = kind_name(step.kind);
  if (!in.has_time) {
    report().invalid(step.place,
                     fmt::format("step '{}': {} works in event time, and the source '{}' has none", step.id, kind,
                                 plan_.sources[in.source].name),
                     "give the source `time: {column: …}`");
    return false;
  }
  const StepPlan* before = in.label != nullptr ? in.label : in.aggregate;
  if (before != nullptr) {
    report().not_built_yet(step.place, fmt::format("step '{}': {} behind the {} '{}'", step.id, kind,
                                                   kind_name(before->kind), before->id));
    return false;
  }
  return true;
}

void Resolver::check_co_partitioned(const StepPlan& step, const std::vector<Text>& keys, size_t source, Place place) {
  const SourcePlan& plan = plan_.sources[source];
  if (plan.partitions == 1) return;
  if (!plan.key.empty() &&
      std::any_of(keys.begin(), keys.end(), [&](const Text& key) { return key.value == plan.key.value; }))
    return;
  report().not_built_yet(place,
                         fmt::format("step '{}': re-keying, as the source '{}' is keyed by {}", step.id, plan.name,
                                     plan.key.empty() ? std::string("nothing") : "'" + plan.key.value + "'"),
                         fmt::format("key the source by one of these columns, or give it `partitions: 1`"));
}

std::optional<Flow> Resolver::resolve_kind(StepPlan& step, SqlPlan& sql, const Flow& in) {
  Flow flow = in;
  flow.schema = prepare(sql.sql.value, step, in.schema, sql.sql.place);
  if (!flow.schema) return std::nullopt;
  if (!sql.time) return flow;
  const std::string where = fmt::format("step '{}'", step.id);
  const SourcePlan& source = plan_.sources[in.source];
  if (in.has_time) {
    report().invalid(sql.time_place, fmt::format("{}: the source '{}' has a time already", where, source.name));
    return std::nullopt;
  }
  const auto readers = std::count_if(plan_.steps.begin(), plan_.steps.end(),
                                     [&](const StepPlan& other) { return other.from.value == source.name; }) +
                       std::count_if(plan_.sinks.begin(), plan_.sinks.end(),
                                     [&](const SinkPlan& other) { return other.from.value == source.name; });
  if (step.from.value != source.name || readers != 1) {
    report().not_built_yet(sql.time_place,
                           where + ": a time from a sql step that is not the source's first and only reader");
    return std::nullopt;
  }
  if (!check_time(*sql.time, *flow.schema, sql.time_place, where)) return std::nullopt;
  flow.has_time = true;
  return flow;
}

std::optional<Flow> Resolver::resolve_kind(StepPlan& step, ValidatePlan& validate, const Flow& in) {
  const size_t before = report().size();
  const std::string where = fmt::format("step '{}'", step.id);
  for (const ColumnRule& rule : validate.rules) {
    const auto index = in.schema->index_of(rule.column.value);
    if (!index) {
      report().add(rule.column.place, require_column(*in.schema, rule.column.value, where).error());
      continue;
    }
    const columns::Type& type = in.schema->field(*index).type;
    if ((rule.min || rule.max) && !type.is_numeric())
      report().invalid(rule.column.place, fmt::format("{}: min and max are for numbers, {} is {}", where,
                                                      rule.column.value, type.to_string()));
    if (rule.type && type.kind != columns::Kind::kVarchar && *rule.type != type)
      report().invalid(rule.column.place, fmt::format("{}: {} is {} and never {}", where, rule.column.value,
                                                      type.to_string(), rule.type->to_string()));
  }
  if (report().size() != before) return std::nullopt;
  return in;
}

std::optional<Flow> Resolver::resolve_kind(StepPlan& step, FeaturesPlan& features, const Flow& in) {
  if (!check_timed(step, in)) return std::nullopt;
  check_co_partitioned(step, features.key, in.source, features.key.empty() ? step.place : features.key.front().place);
  const auto specs = make_feature_spec(features, step.from.value, in.schema, -1, report());
  if (!specs) return std::nullopt;
  if (!specs->conditions.sql.empty() && !prepare(specs->conditions.sql, step, in.schema, step.place))
    return std::nullopt;
  auto windows = features::KeyedWindows::create(specs->spec, specs->conditions.schema);
  if (!windows) {
    report().add(step.place, std::move(windows).error());
    return std::nullopt;
  }
  Flow flow = in;
  std::vector<columns::Field> fields = (*windows)->output_schema()->fields();
  const auto first = fields.begin() + static_cast<ptrdiff_t>(in.schema->size());
  fields.erase(first, first + static_cast<ptrdiff_t>(specs->conditions.names.size()));
  flow.schema = std::make_shared<const columns::Schema>(std::move(fields));
  return flow;
}

std::optional<Flow> Resolver::resolve_kind(StepPlan& step, AggregatePlan& aggregate, const Flow& in) {
  if (!check_timed(step, in)) return std::nullopt;
  check_co_partitioned(step, aggregate.by, in.source, aggregate.by.empty() ? step.place : aggregate.by.front().place);
  if (aggregate.tumbling_us == 0) return std::nullopt;
  const auto specs = make_tumbling_spec(aggregate, step.from.value, in.schema, report());
  if (!specs) return std::nullopt;
  if (!specs->conditions.sql.empty() && !prepare(specs->conditions.sql, step, in.schema, step.place))
    return std::nullopt;
  auto windows = features::TumblingAggregate::create(specs->spec, specs->conditions.schema);
  if (!windows) {
    report().add(step.place, std::move(windows).error());
    return std::nullopt;
  }
  Flow flow;
  flow.schema = (*windows)->output_schema();
  flow.source = in.source;
  flow.has_time = true;
  flow.aggregate = &step;
  return flow;
}

std::optional<Flow> Resolver::resolve_kind(StepPlan& step, LabelPlan& label, const Flow& in) {
  const size_t before = report().size();
  const std::string where = fmt::format("step '{}'", step.id);
  const bool delayed = label.delay_us || label.delay_rows;
  if (!label.delay_rows && !check_timed(step, in)) return std::nullopt;
  if (label.delay_rows && (in.label != nullptr || in.aggregate != nullptr)) {
    report().not_built_yet(step.place, where + ": label behind label or aggregate");
    return std::nullopt;
  }
  Flow flow = in;
  flow.label = &step;
  flow.before_label = in.schema;
  std::vector<columns::Field> fields;
  if (delayed) {
    if (!label.as.empty()) {
      const auto index = in.schema->index_of(label.value.value);
      if (index)
        fields.push_back({label.as, in.schema->field(*index).type});
      else
        report().add(label.value.place, require_column(*in.schema, label.value.value, where + ": value").error());
    }
  } else {
    columns::SchemaPtr other = in.schema;
    if (label.of.value != "self") {
      const SourcePlan* source = plan_.find_source(label.of.value);
      if (source == nullptr || !flows_.contains(label.of.value)) {
        std::vector<std::string> names = {"self"};
        for (const SourcePlan& known : plan_.sources) names.push_back(known.name);
        report().invalid(label.of.place, fmt::format("{}: of: there is no source '{}'", where, label.of.value),
                         suggest(label.of.value, names));
        return std::nullopt;
      }
      const Flow& truth = flows_.at(label.of.value);
      other = truth.schema;
      if (!truth.has_time)
        report().invalid(label.of.place, fmt::format("{}: of: the source '{}' has no time", where, label.of.value),
                         "give it `time: {column: …}`");
      check_co_partitioned(step, label.keys, truth.source, label.of.place);
    }
    check_co_partitioned(step, label.keys, in.source, label.keys.empty() ? step.place : label.keys.front().place);
    for (const Text& key : label.keys)
      for (const columns::SchemaPtr& schema : {in.schema, other})
        if (auto found = require_column(*schema, key.value, where + ": keys"); !found) {
          report().add(key.place, std::move(found).error());
          break;
        }
    if (label.within_us <= 0) report().invalid(step.place, where + ": within must be longer than 0");
    auto value = parse_label_value(label.value.value);
    if (!value) {
      report().add(label.value.place, std::move(value).error());
    } else {
      if (!value->column.empty()) {
        const features::Aggregate aggregate{
            .name = where + ": value", .function = value->function, .column = value->column};
        if (auto found = require_column(*other, value->column, aggregate.name); !found)
          report().add(label.value.place, std::move(found).error());
        else if (auto type = features::result_type(aggregate, *other); !type)
          report().add(label.value.place, std::move(type).error());
      }
      fields.push_back({label.as, value->type()});
    }
  }
  if (report().size() != before) return std::nullopt;
  fields.push_back({"label_released_at", columns::kTimestamp});
  flow.schema = widen(*in.schema, std::move(fields));
  return flow;
}

void Resolver::resolve_features(TrainPlan& train, const StepPlan& step, const Flow& in, const columns::Schema& schema) {
  const std::string where = fmt::format("step '{}'", step.id);
  const SourcePlan& source = plan_.sources[in.source];
  std::set<std::string> never = in.scores;
  never.insert(train.label.value);
  if (!source.key.empty()) never.insert(source.key.value);
  for (const StepPlan& other : plan_.steps) {
    if (const auto* features = std::get_if<FeaturesPlan>(&other.kind))
      for (const Text& key : features->key) never.insert(key.value);
    if (const auto* sql = std::get_if<SqlPlan>(&other.kind); sql != nullptr && sql->time)
      never.insert(sql->time->column);
    if (const auto* label = std::get_if<LabelPlan>(&other.kind)) {
      for (const Text& key : label->keys) never.insert(key.value);
      if (!label->value.empty()) never.insert(label->value.value);
    }
  }
  if (source.time) never.insert(source.time->column);
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const Text& feature : train.features) {
    if (feature.value.find_first_of("*?") == std::string::npos) {
      const auto index = schema.index_of(feature.value);
      if (!index)
        report().add(feature.place, require_column(schema, feature.value, where + ": features").error());
      else if (!can_be_feature(schema.field(*index).type))
        report().not_built_yet(feature.place,
                               fmt::format("{}: the text column '{}' as a feature", where, feature.value),
                               "it needs an encoder; make numbers of it in a sql step");
      else if (feature.value == train.label.value)
        report().invalid(feature.place, fmt::format("{}: '{}' is the label", where, feature.value));
      else
        add(feature.value);
      continue;
    }
    bool any = false;
    for (const columns::Field& field : schema.fields())
      if (matches_glob(feature.value, field.name) && !never.contains(field.name) && !field.name.starts_with('_') &&
          field.type.kind != columns::Kind::kTimestamp && can_be_feature(field.type)) {
        add(field.name);
        any = true;
      }
    if (!any)
      report().invalid(feature.place, fmt::format("{}: no column matches '{}'", where, feature.value),
                       fmt::format("columns: {}", fmt::join(schema.names(), ", ")));
  }
  // Keeps the schema's order out of the model: features stand as they were written.
  train.resolved_features.clear();
  for (const std::string& name : names) {
    learn::FeatureSpec spec;
    spec.name = name;
    for (const auto& [columns, treatment] : train.preprocess) {
      if (columns.value != "numeric" && !matches_glob(columns.value, name)) continue;
      if (treatment.scale != learn::Scale::kNone) spec.scale = treatment.scale;
      spec.indicator = spec.indicator || treatment.indicator;
    }
    train.resolved_features.push_back(std::move(spec));
  }
  for (const auto& [columns, treatment] : train.preprocess)
    if (columns.value != "numeric" &&
        std::none_of(names.begin(), names.end(), [&](const auto& name) { return matches_glob(columns.value, name); }))
      report().invalid(columns.place, fmt::format("{}: preprocess: '{}' is no feature", where, columns.value),
                       suggest(columns.value, names));
}

std::optional<Flow> Resolver::resolve_kind(StepPlan& step, TrainPlan& train, const Flow& in) {
  const size_t before = report().size();
  const std::string where = fmt::format("step '{}'", step.id);
  const auto algorithm = learn::find_algorithm(train.algorithm.value);
  if (!algorithm) {
    report().add(train.algorithm.place, algorithm.error());
  } else {
    for (const auto& [name, value] : train.params) {
      const auto place = train.param_places.find(name);
      if (auto checked = learn::check_param((*algorithm)->params, name, value); !checked)
        report().add(place == train.param_places.end() ? step.place : place->second, std::move(checked).error());
    }
    if (train.task && *train.task != (*algorithm)->task)
      report().invalid(train.algorithm.place, fmt::format("{}: {} is for {}", where, train.algorithm.value,
                                                          learn::task_name((*algorithm)->task)));
  }
  const auto label = in.schema->index_of(train.label.value);
  if (!label)
    report().add(train.label.place, require_column(*in.schema, train.label.value, where + ": label").error());
  else if (in.schema->field(*label).type.kind == columns::Kind::kVarchar)
    report().invalid(train.label.place, fmt::format("{}: the label '{}' is text", where, train.label.value),
                     "make it 0 and 1, or a number, in a sql step");
  const columns::Schema& schema = in.label != nullptr ? *in.before_label : *in.schema;
  resolve_features(train, step, in, schema);
  if (report().size() != before) return std::nullopt;
  if (auto model = learn::Model::make(make_model_spec(train)); !model) {
    report().add(train.algorithm.place, std::move(model).error());
    return std::nullopt;
  }
  if (train.register_at && train.register_at->every == RegisterEvery::kTime && !in.has_time) {
    report().invalid(step.place,
                     fmt::format("{}: register every so much time, but the source has no event time", where),
                     "register: {every: \"50000 rows\"}");
    return std::nullopt;
  }
  Flow flow = in;
  if (!train.as.empty()) {
    flow.schema = widen(*in.schema, {{train.as.value, columns::kDouble}});
    flow.scores.insert(train.as.value);
  }
  return flow;
}

std::optional<Flow> Resolver::resolve_kind(StepPlan& step, PredictPlan& predict, const Flow& in) {
  if (predict.alias != "champion") {
    report().not_built_yet(predict.model.place, fmt::format("step '{}': the alias '{}'", step.id, predict.alias),
                           "champion is built");
    return std::nullopt;
  }
  const auto trains_it = [&](const StepPlan& other) {
    const auto* train = std::get_if<TrainPlan>(&other.kind);
    return train != nullptr && train->model.value == predict.model.value;
  };
  if (predict.version == VersionPolicy::kEventTime && std::ranges::none_of(plan_.steps, trains_it)) {
    report().invalid(predict.model.place,
                     fmt::format("step '{}': no step trains the model '{}', so its versions have no event time here",
                                 step.id, predict.model.value),
                     "version: latest");
    return std::nullopt;
  }
  // A model that this plan trains says itself what its scores are.
  if (!predict.output_given)
    for (const StepPlan& other : plan_.steps)
      if (const auto* train = std::get_if<TrainPlan>(&other.kind);
          train != nullptr && train->model.value == predict.model.value)
        if (const auto algorithm = learn::find_algorithm(train->algorithm.value);
            algorithm && (*algorithm)->task == learn::Task::kRegression)
          predict.output = PredictOutput::kValue;
  std::vector<columns::Field> fields;
  switch (predict.output) {
    case PredictOutput::kProba:
      fields = {{predict.as, columns::kDouble}, {predict.as + "_flag", columns::kBoolean}};
      break;
    case PredictOutput::kClass:
      fields = {{predict.as, columns::kBigint}};
      break;
    case PredictOutput::kValue:
      fields = {{predict.as, columns::kDouble}};
      break;
  }
  fields.push_back({predict.as + "_version", columns::kBigint});
  Flow flow = in;
  for (const columns::Field& field : fields) flow.scores.insert(field.name);
  flow.schema = widen(*in.schema, std::move(fields));
  return flow;
}

}  // namespace millrace::pipeline
