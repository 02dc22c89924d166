#include "pipeline/internal/specs.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "base/crc32c.h"
#include "base/text.h"
#include "pipeline/internal/map_reader.h"
#include "sql/database.h"

namespace millrace::pipeline {
namespace {

bool is_plain_name(std::string_view text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

struct Call {
  features::Function function = features::Function::kCount;
  std::string column;
};

// "function(column)" or "count(*)".
Result<Call> parse_call(std::string_view text) {
  const std::string_view trimmed = trim(text);
  const size_t open = trimmed.find('(');
  if (open == std::string_view::npos || !trimmed.ends_with(')'))
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is no aggregate", text), "write count(*) or avg(COLUMN)");
  MILLRACE_ASSIGN_OR_RETURN(const features::Function function, features::parse_function(trim(trimmed.substr(0, open))));
  std::string_view inside = trim(trimmed.substr(open + 1, trimmed.size() - open - 2));
  if (inside == "*") {
    if (function == features::Function::kCount) return Call{function, ""};
    return fail(Errc::kInvalidArgument, fmt::format("'{}': * is for count only", text), "name a column");
  }
  if (inside.size() > 2 && inside.front() == '"' && inside.back() == '"')
    return Call{function, std::string(inside.substr(1, inside.size() - 2))};
  if (!is_plain_name(inside))
    return fail(Errc::kNotBuiltYet, fmt::format("'{}': expressions inside an aggregate: not built yet", text),
                "compute the column in a sql step before, and name it here");
  return Call{function, std::string(inside)};
}

// Gathers the `where` conditions of a step's aggregates; a condition that is a BOOLEAN column needs no SQL.
class ConditionBuilder {
 public:
  ConditionBuilder(const std::string& input, const columns::SchemaPtr& schema) : input_(input), schema_(schema) {}

  std::string column_for(const std::string& where) {
    if (where.empty()) return {};
    const auto index = schema_->index_of(where);
    if (index && schema_->field(*index).type == columns::kBoolean) return where;
    const auto known = std::ranges::find(conditions_, where, &Condition::text);
    if (known != conditions_.end()) return known->name;
    // Called after what it says: columns are part of what state means.
    std::string name = fmt::format("__where_{:08x}", crc32c(as_byte_view(where)));
    while (std::ranges::find(conditions_, name, &Condition::name) != conditions_.end()) name += '_';
    conditions_.push_back({name, where});
    return name;
  }

  Conditions build() const {
    Conditions conditions;
    std::vector<columns::Field> fields;
    std::string list;
    for (const Condition& condition : conditions_) {
      conditions.names.push_back(condition.name);
      list += fmt::format("{}(({}) IS TRUE) AS {}", list.empty() ? "" : ", ", condition.text, condition.name);
      fields.push_back({condition.name, columns::kBoolean});
    }
    if (!conditions_.empty()) conditions.sql = fmt::format("SELECT {} FROM {}", list, sql_identifier(input_));
    conditions.schema = widen(*schema_, std::move(fields));
    return conditions;
  }

 private:
  const std::string& input_;
  const columns::SchemaPtr& schema_;
  struct Condition {
    std::string name;  // of its column
    std::string text;
  };
  std::vector<Condition> conditions_;
};

std::optional<features::Aggregate> make_aggregate(const Aggregate& plan, const columns::Schema& schema,
                                                  ConditionBuilder& conditions, Diagnostics& diagnostics) {
  auto call = parse_call(plan.expression.value);
  if (!call) {
    diagnostics.add(plan.expression.place, std::move(call).error());
    return std::nullopt;
  }
  if (!call->column.empty()) {
    if (auto found = require_column(schema, call->column, "the aggregate " + plan.name.value); !found) {
      diagnostics.add(plan.expression.place, std::move(found).error());
      return std::nullopt;
    }
  }
  features::Aggregate aggregate;
  aggregate.name = plan.name.value;
  aggregate.function = call->function;
  aggregate.column = call->column;
  aggregate.default_value = plan.default_value;
  if (auto type = features::result_type(aggregate, schema); !type) {
    diagnostics.add(plan.expression.place, std::move(type).error());
    return std::nullopt;
  }
  aggregate.where = conditions.column_for(plan.where.value);
  return aggregate;
}

std::vector<features::Window> make_windows(const std::vector<Window>& windows) {
  std::vector<features::Window> result;
  result.reserve(windows.size());
  for (const Window& window : windows) result.push_back({window.name, window.us});
  return result;
}

features::LateRows late_rows(LateRows late) {
  switch (late) {
    case LateRows::kScore:
      return features::LateRows::kScore;
    case LateRows::kUpdate:
      return features::LateRows::kUpdate;
    case LateRows::kReject:
      return features::LateRows::kReject;
  }
  return features::LateRows::kScore;
}

bool require_columns(const std::vector<Text>& names, const columns::Schema& schema, std::string_view where,
                     Diagnostics& diagnostics) {
  bool all = true;
  for (const Text& name : names)
    if (auto found = require_column(schema, name.value, where); !found) {
      diagnostics.add(name.place, std::move(found).error());
      all = false;
    }
  return all;
}

}  // namespace

std::string sql_identifier(std::string_view name) { return sql::quote_identifier(name); }

columns::SchemaPtr widen(const columns::Schema& schema, std::vector<columns::Field> more) {
  std::vector<columns::Field> fields = schema.fields();
  fields.insert(fields.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return std::make_shared<const columns::Schema>(std::move(fields));
}

Status require_column(const columns::Schema& schema, std::string_view name, std::string_view where) {
  if (schema.index_of(name)) return {};
  return fail(Errc::kInvalidArgument, fmt::format("{}: there is no column '{}'", where, name),
              suggest(name, schema.names()));
}

std::optional<FeatureSpecs> make_feature_spec(const FeaturesPlan& plan, const std::string& input,
                                              const columns::SchemaPtr& schema, int64_t lateness_us,
                                              Diagnostics& diagnostics) {
  const size_t before = diagnostics.size();
  FeatureSpecs result;
  features::FeatureSpec& spec = result.spec;
  require_columns(plan.key, *schema, "key", diagnostics);
  for (const Text& key : plan.key) spec.keys.push_back(key.value);
  spec.asof = plan.asof == AsOf::kBeforeEvent ? features::Asof::kBeforeEvent : features::Asof::kAfterEvent;
  spec.windows = make_windows(plan.windows);
  spec.late = late_rows(plan.late);
  if (lateness_us >= 0) spec.lateness_us = lateness_us;
  ConditionBuilder conditions(input, schema);
  for (const Aggregate& aggregate : plan.aggregates) {
    auto made = make_aggregate(aggregate, *schema, conditions, diagnostics);
    if (!made) continue;
    if (!made->default_value) made->default_value = plan.default_value;
    if (aggregate.windows.empty() && plan.windows.empty())
      diagnostics.invalid(aggregate.name.place, fmt::format("the aggregate {} has no windows", aggregate.name.value),
                          "write windows: [1h, 24h]");
    spec.aggregates.push_back({std::move(*made), make_windows(aggregate.windows)});
  }
  for (const LastValue& last : plan.last) {
    require_columns({last.column}, *schema, "last", diagnostics);
    spec.last.push_back({last.name.value, last.column.value});
  }
  result.conditions = conditions.build();
  if (diagnostics.size() != before) return std::nullopt;
  return result;
}

std::optional<TumblingSpecs> make_tumbling_spec(const AggregatePlan& plan, const std::string& input,
                                                const columns::SchemaPtr& schema, Diagnostics& diagnostics) {
  const size_t before = diagnostics.size();
  TumblingSpecs result;
  require_columns(plan.by, *schema, "by", diagnostics);
  for (const Text& by : plan.by) result.spec.by.push_back(by.value);
  result.spec.size_us = plan.tumbling_us;
  result.spec.gaps = plan.gaps;
  result.spec.late =
      plan.late == LateAggregateRows::kDrop ? features::LateForWindow::kDrop : features::LateForWindow::kReject;
  ConditionBuilder conditions(input, schema);
  for (const Aggregate& aggregate : plan.aggregates)
    if (auto made = make_aggregate(aggregate, *schema, conditions, diagnostics))
      result.spec.aggregates.push_back(std::move(*made));
  result.conditions = conditions.build();
  if (diagnostics.size() != before) return std::nullopt;
  return result;
}

columns::Type LabelValue::type() const {
  if (comparison != Comparison::kNone) return columns::kBoolean;
  return function == features::Function::kCount ? columns::kBigint : columns::kDouble;
}

Result<LabelValue> parse_label_value(const std::string& text) {
  static constexpr std::array<std::pair<std::string_view, Comparison>, 8> kOperators = {
      {{">=", Comparison::kGreaterEqual},
       {"<=", Comparison::kLessEqual},
       {"<>", Comparison::kNotEqual},
       {"!=", Comparison::kNotEqual},
       {"==", Comparison::kEqual},
       {"=", Comparison::kEqual},
       {">", Comparison::kGreater},
       {"<", Comparison::kLess}}};
  LabelValue value;
  std::string call_text = text;
  const size_t close = text.rfind(')');
  if (close != std::string::npos) {
    const std::string_view rest = trim(std::string_view(text).substr(close + 1));
    if (!rest.empty()) {
      const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                      [&](const auto& entry) { return rest.starts_with(entry.first); });
      const auto number =
          found == kOperators.end() ? std::nullopt : parse_double(trim(rest.substr(found->first.size())));
      if (!number)
        return fail(
            Errc::kNotBuiltYet,
            fmt::format("'{}': label values other than an aggregate compared with a number: not built yet", text),
            "write count(*) > 0, or max(COLUMN) >= 100");
      value.comparison = found->second;
      value.number = *number;
    }
    call_text = text.substr(0, close + 1);
  }
  // `l.` names the rows that are counted; nothing else can be meant yet.
  const size_t alias = call_text.find("(l.");
  if (alias != std::string::npos) call_text.erase(alias + 1, 2);
  MILLRACE_ASSIGN_OR_RETURN(Call call, parse_call(call_text));
  switch (call.function) {
    case features::Function::kCount:
    case features::Function::kSum:
    case features::Function::kAvg:
    case features::Function::kMin:
    case features::Function::kMax:
      break;
    case features::Function::kStddev:
    case features::Function::kStddevPop:
    case features::Function::kVar:
    case features::Function::kVarPop:
      return fail(Errc::kNotBuiltYet, fmt::format("'{}': this aggregate as a label: not built yet", text),
                  "count, sum, avg, min and max are built");
  }
  value.function = call.function;
  value.column = std::move(call.column);
  return value;
}

learn::ModelSpec make_model_spec(const TrainPlan& plan) {
  return {plan.algorithm.value, plan.params, plan.resolved_features};
}

}  // namespace millrace::pipeline
