#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pipeline/resolve.h"
#include "sql/batch_query.h"

namespace millrace::pipeline {

// What is known of the rows that a source or a step gives.
struct Flow {
  columns::SchemaPtr schema;
  size_t source = 0;                    // the source they come from
  bool has_time = false;                // rows have an event time of their own
  const StepPlan* label = nullptr;      // the label step they have passed, if any
  const StepPlan* aggregate = nullptr;  // the aggregate step they come from, if any
  columns::SchemaPtr before_label;      // schema at the label's input
  std::set<std::string> scores;         // columns that predictions added: a glob never takes them
};

// Works through a plan from its sources to its sinks. One use.
class Resolver {
 public:
  Resolver(Plan plan, Diagnostics& diagnostics);
  ResolvedPlan resolve();

 private:
  // resolve.cc
  void check_names();
  void resolve_source(size_t index);
  void find_hidden_columns(SourcePlan& source);
  bool check_time(const format::TimeColumn& time, const columns::Schema& schema, Place place, const std::string& where);
  void resolve_sink(SinkPlan& sink);
  void build_stages();
  void check_learners();
  void check_served_versions();
  Diagnostics& report() { return diagnostics_; }
  std::vector<std::string> flow_names() const;
  // Whether `name` is a step that has no flow because it is itself in error.
  bool is_reported(std::string_view name) const;

  // resolve_steps.cc
  void resolve_step(StepPlan& step);
  std::optional<Flow> flow_behind(StepPlan& step, const Flow& in);
  std::optional<Flow> resolve_kind(StepPlan& step, SqlPlan& sql, const Flow& in);
  std::optional<Flow> resolve_kind(StepPlan& step, ValidatePlan& validate, const Flow& in);
  std::optional<Flow> resolve_kind(StepPlan& step, FeaturesPlan& features, const Flow& in);
  std::optional<Flow> resolve_kind(StepPlan& step, AggregatePlan& aggregate, const Flow& in);
  std::optional<Flow> resolve_kind(StepPlan& step, LabelPlan& label, const Flow& in);
  std::optional<Flow> resolve_kind(StepPlan& step, TrainPlan& train, const Flow& in);
  std::optional<Flow> resolve_kind(StepPlan& step, PredictPlan& predict, const Flow& in);
  // SQL's output over `in`, reported at `place` where it cannot be.
  columns::SchemaPtr prepare(const std::string& sql, const StepPlan& step, const columns::SchemaPtr& in, Place place);
  void check_co_partitioned(const StepPlan& step, const std::vector<Text>& keys, size_t source, Place place);
  // False, with a report, for a step that needs event time in the order of the input.
  bool check_timed(const StepPlan& step, const Flow& in);
  void resolve_features(TrainPlan& train, const StepPlan& step, const Flow& in, const columns::Schema& schema);

  Plan plan_;
  Diagnostics& diagnostics_;
  ResolvedPlan result_;
  std::map<std::string, Flow, std::less<>> flows_;  // by the name of a source or step
  std::shared_ptr<sql::Database> database_;
};

}  // namespace millrace::pipeline
