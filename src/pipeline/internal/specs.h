#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "columns/schema.h"
#include "features/keyed_windows.h"
#include "features/tumbling.h"
#include "learn/model.h"
#include "pipeline/diagnostics.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

// Parts of a plan in the terms of the modules that run them. Errors carry a place, so that lint can point at it.

// Conditions on rows (`where`), computed by SQL into BOOLEAN columns behind the input's own.
struct Conditions {
  std::string sql;                 // "SELECT (…) AS __where_5a1b… … FROM input"; empty: there is none to compute
  std::vector<std::string> names;  // of the columns it gives
  columns::SchemaPtr schema;       // the input's columns, then these
};

struct FeatureSpecs {
  features::FeatureSpec spec;  // over Conditions::schema
  Conditions conditions;
};
// `input` is the name and schema of what the step reads. Nothing after a report.
std::optional<FeatureSpecs> make_feature_spec(const FeaturesPlan& plan, const std::string& input,
                                              const columns::SchemaPtr& schema, int64_t lateness_us,
                                              Diagnostics& diagnostics);

struct TumblingSpecs {
  features::TumblingSpec spec;
  Conditions conditions;
};
std::optional<TumblingSpecs> make_tumbling_spec(const AggregatePlan& plan, const std::string& input,
                                                const columns::SchemaPtr& schema, Diagnostics& diagnostics);

// `value` of a label: an aggregate over the matching rows, compared with a number or not.
enum class Comparison { kNone, kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };
struct LabelValue {
  features::Function function = features::Function::kCount;  // kCount, kSum, kMin, kMax, kAvg
  std::string column;                                        // of the matching rows; empty: count(*)
  Comparison comparison = Comparison::kNone;
  double number = 0;

  columns::Type type() const;
};
// "count(*) > 0", "max(l.amount)", "sum(amount) >= 100".
Result<LabelValue> parse_label_value(const std::string& text);

learn::ModelSpec make_model_spec(const TrainPlan& plan);

// An identifier as SQL takes it.
std::string sql_identifier(std::string_view name);

// `schema` with more fields behind its own.
columns::SchemaPtr widen(const columns::Schema& schema, std::vector<columns::Field> more);

// kInvalidArgument with the nearest name where `schema` has no such column.
Status require_column(const columns::Schema& schema, std::string_view name, std::string_view where);

}  // namespace millrace::pipeline
