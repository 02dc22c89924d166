#include <cmath>

#include "base/logging.h"
#include "pipeline/internal/steps.h"

namespace millrace::pipeline {
namespace {

class PredictStep final : public Step {
 public:
  PredictStep(const StepPlan& step, const PredictPlan& plan, ServedLookup served)
      : id_(step.id), schema_(step.schema), plan_(plan), served_(std::move(served)) {}

  Result<StepOutput> process(const columns::Batch& batch, const Timeline&) override {
    take_newest(batch.schema());
    if (bound_) {
      matrix_->clear();
      if (batch.rows() > 0) matrix_->append(batch, *binding_);
      scores_.resize(batch.rows());
      bound_->model.predict_batch(matrix_->view(), scores_);
    }
    StepOutput out;
    out.batch = batch.with_columns(schema_, columns_of(batch.rows()));
    return out;
  }

 private:
  // Between two batches the newest version takes over. One that does not fit these rows is refused, and the one before
  // goes on serving.
  void take_newest(const columns::Schema& schema) {
    auto newest = served_();
    if (newest == seen_) return;
    seen_ = newest;
    if (!newest) return;
    const std::vector<std::string> names = newest->model.spec().feature_names();
    auto binding = learn::FeatureBinding::bind(schema, names);
    if (!binding) {
      log_warning("pipeline", "step {}: version {} of {} does not fit its rows and is not served: {}", id_,
                  newest->version, plan_.model.value, binding.error().message);
      return;
    }
    bound_ = std::move(newest);
    binding_ = std::move(*binding);
    matrix_.emplace(names.size());
  }

  std::vector<columns::ColumnPtr> columns_of(size_t rows) const {
    const bool is_class = plan_.output == PredictOutput::kClass;
    auto score = std::make_shared<columns::Column>(is_class ? columns::kBigint : columns::kDouble);
    auto flag = std::make_shared<columns::Column>(columns::kBoolean);
    auto version = std::make_shared<columns::Column>(columns::kBigint);
    for (const auto& column : {score, flag, version}) column->reserve(rows);
    for (size_t row = 0; row < rows; ++row) {
      version->append_int64(bound_ ? bound_->version : 0);
      if (!bound_ || std::isnan(scores_[row])) {
        score->append_null();
        flag->append_null();
        continue;
      }
      const bool above = scores_[row] >= plan_.threshold;
      if (is_class)
        score->append_int64(above ? 1 : 0);
      else
        score->append_double(scores_[row]);
      flag->append_boolean(above);
    }
    if (plan_.output == PredictOutput::kProba) return {score, flag, version};
    return {score, version};
  }

  std::string id_;
  columns::SchemaPtr schema_;
  PredictPlan plan_;
  ServedLookup served_;
  std::shared_ptr<const ServedModel> seen_, bound_;
  std::optional<learn::FeatureBinding> binding_;
  std::optional<learn::FeatureMatrix> matrix_;
  std::vector<double> scores_;
};

}  // namespace

std::unique_ptr<Step> make_predict_step(const StepPlan& step, const PredictPlan& plan, ServedLookup served) {
  return std::make_unique<PredictStep>(step, plan, std::move(served));
}

}  // namespace millrace::pipeline
