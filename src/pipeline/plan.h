#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "columns/schema.h"
#include "features/tumbling.h"
#include "format/decoder.h"
#include "format/format.h"
#include "format/json_schema.h"
#include "learn/learner.h"
#include "learn/params.h"
#include "learn/preprocess.h"
#include "pipeline/diagnostics.h"

namespace millrace::pipeline {

// A pipeline as data: what a YAML file says (plan_reader.h makes one from it), or a program builds. resolve() in
// resolve.h checks it and fills in what follows from it: schemas, globs, defaults that depend on other parts.
// Times and durations are in microseconds.

// Every default of the language that does not depend on the plan itself, in one place. docs/manual/pipelines.md lists
// them.
namespace defaults {
inline constexpr int64_t kCommitUs = 200'000;
inline constexpr int64_t kBatchRows = 4096;
inline constexpr int64_t kBatchWaitUs = 20'000;
inline constexpr int32_t kPartitionsWithKey = 4;
inline constexpr int32_t kPartitionsWithoutKey = 1;
inline constexpr int64_t kWatermarkUs = 0;
inline constexpr int64_t kIdleUs = 60'000'000;
inline constexpr double kThreshold = 0.5;
inline constexpr int64_t kRegisterEveryUs = 86'400'000'000;  // in runs without an end; bounded runs: at their end
}  // namespace defaults

// A piece of text of the plan and where it stands.
struct Text {
  std::string value;
  Place place;

  Text() = default;
  Text(std::string text, Place where = {}) : value(std::move(text)), place(where) {}
  bool empty() const { return value.empty(); }
};

enum class Guarantee { kAtLeastOnce };
enum class OffsetReset { kEarliest, kLatest };

// Stop the pipeline when more than `ratio` of the records read within `window_us` became dead letters.
struct FailRatio {
  double ratio = 0;
  int64_t window_us = 0;
};

struct Defaults {
  Guarantee guarantee = Guarantee::kAtLeastOnce;
  int64_t commit_us = defaults::kCommitUs;
  int64_t batch_rows = defaults::kBatchRows;
  int64_t batch_wait_us = defaults::kBatchWaitUs;
  std::string dlq;  // topic; empty: "<pipeline>.dlq", by resolve()
  std::optional<FailRatio> fail_ratio;
};

struct SourcePlan {
  std::string name;
  Place place;
  Text topic;  // empty: the source's name, by resolve()
  format::Format format = format::Format::kJson;
  char delimiter = ',';     // csv
  columns::Schema columns;  // where there is a JSON Schema: by resolve()
  // json: what each record must keep. `schema_file` is what the plan calls it; the file lies beside the plan's.
  Text schema_file;
  std::shared_ptr<const format::JsonSchema> json_schema;
  std::optional<format::TimeColumn> time;  // none: ordered by offset
  Place time_place;
  int64_t watermark_us = defaults::kWatermarkUs;
  std::optional<int64_t> idle_us = defaults::kIdleUs;  // nullopt: never
  Text key;                                            // column; empty: records without key
  int32_t partitions = 0;                              // 0: by resolve()
  OffsetReset auto_offset_reset = OffsetReset::kEarliest;

  // By resolve(): the declared columns and the hidden ones (_key, _offset …) that steps and sinks name.
  columns::SchemaPtr schema;
};

struct SqlPlan {
  Text sql;
  // Set where this step is the source of event time: its output's time column. Its source must have none.
  std::optional<format::TimeColumn> time;
  Place time_place;
  int64_t watermark_us = defaults::kWatermarkUs;
};

// What must hold for one column of each row; a row that breaks a rule is a dead letter.
struct ColumnRule {
  Text column;
  bool required = false;              // not NULL
  std::optional<columns::Type> type;  // a varchar must read as this type
  std::optional<double> min, max;     // of numbers; both allowed themselves
  std::vector<std::string> allowed;   // as text
};
struct ValidatePlan {
  std::vector<ColumnRule> rules;
};

// A duration as written, for names of columns: mean over 24h is mean_24h.
struct Window {
  std::string name;
  int64_t us = 0;
};
struct Aggregate {
  Text name;
  Text expression;              // "avg(amount)"
  Text where;                   // a condition on the counted row, empty: all
  std::vector<Window> windows;  // empty: the step's
  std::optional<double> default_value;
};
struct LastValue {
  Text name;
  Text column;
};
enum class AsOf { kBeforeEvent, kAfterEvent };
enum class LateRows { kScore, kUpdate, kReject };
struct FeaturesPlan {
  std::vector<Text> key;
  AsOf asof = AsOf::kBeforeEvent;
  std::vector<Window> windows;
  std::vector<Aggregate> aggregates;
  std::vector<LastValue> last;
  std::optional<double> default_value;  // of empty windows, where the aggregate has none of its own
  LateRows late = LateRows::kScore;
};

enum class LateAggregateRows { kDrop, kReject };
struct AggregatePlan {
  std::vector<Text> by;
  int64_t tumbling_us = 0;
  Place window_place;
  std::vector<Aggregate> aggregates;
  features::Gaps gaps = features::Gaps::kNone;
  LateAggregateRows late = LateAggregateRows::kDrop;
};

enum class Release { kEnd, kFirstMatch };
enum class Unlabelled { kKeep, kDrop };
struct LabelPlan {
  std::string as;  // empty: the row keeps its own columns, only later
  Text of;         // a source, or "self"
  // of: self with a delay: the row's own column `value`, released after so much time or so many rows.
  std::optional<int64_t> delay_us;
  std::optional<int64_t> delay_rows;
  // Otherwise: `value` over the rows of `of` with equal keys and time in (t, t + within].
  std::vector<Text> keys;
  int64_t within_us = 0;
  Text value;
  Release release = Release::kEnd;
  Unlabelled none = Unlabelled::kKeep;
};

enum class RegisterEvery { kTime, kRows, kEnd };
struct RegisterPlan {
  RegisterEvery every = RegisterEvery::kEnd;
  int64_t amount = 0;  // microseconds of event time, or rows per partition
};
enum class Promote { kAuto, kAlways, kNever };
struct TrainPlan {
  Text model;
  Text algorithm;
  learn::Params params;
  std::map<std::string, Place, std::less<>> param_places;
  std::optional<learn::Task> task;  // must be the algorithm's
  Text label;
  std::vector<Text> features;                                   // names and globs
  std::vector<std::pair<Text, learn::FeatureSpec>> preprocess;  // column or glob or "numeric" → what is done to it
  Text as;                                                      // empty: the prediction is no column
  std::optional<RegisterPlan> register_at;                      // nullopt: by the kind of run
  Promote promote = Promote::kAuto;

  // By resolve(): the features by name, in the input's order, with their preprocessing.
  std::vector<learn::FeatureSpec> resolved_features;
};

enum class PredictOutput { kProba, kClass, kValue };
enum class VersionPolicy { kLatest, kEventTime };
struct PredictPlan {
  Text model;  // name
  std::string alias = "champion";
  std::string as;  // the score's column; <as>_version and, for probabilities, <as>_flag stand beside it
  PredictOutput output = PredictOutput::kProba;
  bool output_given = false;  // else by the model's task, once it is known: kProba, or kValue
  double threshold = defaults::kThreshold;
  std::optional<VersionPolicy> version;  // nullopt: by the kind of run
};

using StepKind = std::variant<SqlPlan, ValidatePlan, FeaturesPlan, AggregatePlan, LabelPlan, TrainPlan, PredictPlan>;

struct StepPlan {
  std::string id;
  Place place;
  Text from;  // a step or a source
  StepKind kind;

  // By resolve(): what its rows look like.
  columns::SchemaPtr schema;
};

enum class SinkMode { kAppend, kUpsert };
struct SinkPlan {
  std::string id;  // empty: the table's or topic's name, by resolve()
  Place place;
  Text from;
  Text topic;         // of a table sink: "<pipeline>.<table>" by default; the warehouse carries it into the table
  std::string table;  // empty: no table
  SinkMode mode = SinkMode::kAppend;
  std::vector<Text> key;      // columns; the record's key, and of an upsert the row's
  std::vector<Text> columns;  // empty: all
};

struct Plan {
  std::string name;
  std::string group;  // empty: the name, by resolve()
  std::string file;   // empty: built in code
  Defaults defaults;
  std::vector<SourcePlan> sources;
  std::vector<StepPlan> steps;
  std::vector<SinkPlan> sinks;
  std::vector<std::string> unreadable;  // steps and sources that were reported and left out: no further report for them

  const SourcePlan* find_source(std::string_view name) const;
  const StepPlan* find_step(std::string_view id) const;
};

// "sql", "validate", …
std::string_view kind_name(const StepKind& kind);

}  // namespace millrace::pipeline
