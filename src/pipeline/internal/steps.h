#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/internal/label_pass.h"
#include "pipeline/internal/served_model.h"
#include "pipeline/internal/specs.h"
#include "pipeline/internal/step.h"
#include "pipeline/internal/train_core.h"
#include "sql/batch_query.h"

namespace millrace::pipeline {

// The kinds of steps, one file each (step_*.cc). `input` is the name of what the step reads, `schema` of its rows; the
// plans have been resolved. Steps that remember are part of one partition's task.

Result<std::unique_ptr<Step>> make_sql_step(const SqlPlan& plan, const std::string& input, columns::SchemaPtr schema,
                                            std::shared_ptr<sql::Database> database, const Clock& clock);
Result<std::unique_ptr<Step>> make_validate_step(const ValidatePlan& plan, const columns::SchemaPtr& schema);
Result<std::unique_ptr<Step>> make_features_step(const StepPlan& step, const FeaturesPlan& plan,
                                                 const columns::SchemaPtr& schema, int64_t lateness_us,
                                                 const std::shared_ptr<sql::Database>& database);
Result<std::unique_ptr<Step>> make_aggregate_step(const StepPlan& step, const AggregatePlan& plan,
                                                  const columns::SchemaPtr& schema,
                                                  const std::shared_ptr<sql::Database>& database);

// `other` is the schema of the rows of `of`, null for self. What the step does goes to `pass`, null where nothing
// trains behind it. Truth is kept for rows that come up to `lateness_us` late; negative: an eighth of `within`.
Result<std::unique_ptr<Step>> make_label_step(const StepPlan& step, const LabelPlan& plan, columns::SchemaPtr schema,
                                              const columns::SchemaPtr& other, int64_t lateness_us,
                                              std::shared_ptr<LabelPass> pass);
// Behind a label `pass` is the label's and `number` the step's own among its trainers: a row is predicted when its wait
// begins and learned when it comes here. Without one (null) both happen at once.
std::unique_ptr<Step> make_train_step(const StepPlan& step, std::unique_ptr<TrainCore> core,
                                      std::shared_ptr<LabelPass> pass, size_t number);

// The step asks `served` for the version in force before each batch; null where there is none.
using ServedLookup = std::function<std::shared_ptr<const ServedModel>()>;
std::unique_ptr<Step> make_predict_step(const StepPlan& step, const PredictPlan& plan, ServedLookup served);

// Conditions (`where`) as columns beside a batch's own: what rows they fail on is rejected.
class ConditionColumns {
 public:
  static Result<ConditionColumns> make(const Conditions& conditions, const std::string& input,
                                       columns::SchemaPtr schema, const std::shared_ptr<sql::Database>& database);
  // The rows for which every condition could be computed, widened by them.
  Result<columns::Batch> widen(const columns::Batch& batch, std::vector<StepReject>& rejected);
  size_t count() const { return names_; }

 private:
  size_t names_ = 0;
  columns::SchemaPtr schema_;
  std::unique_ptr<sql::BatchQuery> query_;  // null: there are no conditions
};

}  // namespace millrace::pipeline
