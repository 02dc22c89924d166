#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/byte_writer.h"
#include "base/result.h"
#include "learn/algorithm.h"
#include "learn/feature_matrix.h"
#include "learn/params.h"
#include "learn/preprocess.h"

namespace millrace::learn {

// What a model is before it has learned anything. Versions of one model share it.
struct ModelSpec {
  std::string algorithm;
  Params params;
  std::vector<FeatureSpec> features;  // in the order of the matrices' columns

  std::vector<std::string> feature_names() const;
  friend bool operator==(const ModelSpec&, const ModelSpec&) = default;
};

// Preprocessing and learner as one versioned value, so that training and serving cannot differ. predict never learns;
// learning N rows is N sequential updates, so no result depends on where a batch ended. A row is never refused: missing
// features are filled in.
// Copying copies the state. Const functions may be called from several threads at once while nobody calls the others: a
// version that serves is a shared_ptr<const Model>.
class Model {
 public:
  // kInvalidArgument or kNotBuiltYet for a spec that cannot be: unknown algorithm or parameter, no features, two of one
  // name, more than kFeaturesMax.
  static Result<Model> make(ModelSpec spec);
  static constexpr size_t kFeaturesMax = 10'000;

  Model(const Model& other);
  Model& operator=(const Model& other);
  Model(Model&&) noexcept = default;
  Model& operator=(Model&&) noexcept = default;

  const ModelSpec& spec() const { return spec_; }
  const Algorithm& algorithm() const { return *algorithm_; }
  Task task() const { return algorithm_->task; }
  const Preprocessor& preprocessor() const { return preprocessor_; }
  uint64_t rows_learned() const { return preprocessor_.rows(); }

  // In all of the following, the matrices have spec().features.size() columns, and labels are valid for the task
  // (is_valid_label).

  // The scores of all rows, one each into `scores`: the probability of class 1, or the value. NaN as long as the model
  // has nothing to predict from.
  void predict_batch(const MatrixView& rows, std::span<double> scores) const;
  // Learn all rows in order, `labels` one a row.
  void learn_batch(const MatrixView& rows, std::span<const double> labels);

  // One row at a time, for callers with rows in hand. `scratch` has inputs() places and holds the row's inputs
  // afterwards.
  size_t inputs() const { return preprocessor_.inputs(); }
  double predict_row(const double* row, std::span<double> scratch) const {
    preprocessor_.transform(row, scratch.data());
    return learner_->predict(scratch.data());
  }
  // The preprocessing learns first; the learner sees the row as it is scaled then.
  void learn_row(const double* row, double label, std::span<double> scratch) {
    preprocessor_.learn(row);
    preprocessor_.transform(row, scratch.data());
    learner_->learn(scratch.data(), label);
  }

  // Why a row has its score: base + the contributions, one per feature (an indicator's belongs to its feature), on the
  // learner's own scale (a logistic model's is log odds). kUnsupported where the algorithm has no such sum.
  struct Explanation {
    double base = 0;
    std::vector<double> contributions;
  };
  Result<Explanation> explain(std::span<const double> row) const;

  // One model from those of several partitions, in partition order; all have the same spec, and there is at least one.
  // Exact for preprocessing, naive Bayes and counts; an average for linear models, whose loss against one learner is
  // measured in docs/parity.md. kInvalidArgument when the specs differ, kUnsupported where the algorithm has no merge.
  static Result<Model> merge(std::span<const Model* const> parts);

  // The whole model as bytes, spec included: docs/formats/model-state.md. Equal models give equal bytes.
  Bytes serialize() const;
  // kCorruption for bytes that are damaged, kUnsupported for those of a newer format. Never trusts a length.
  static Result<Model> deserialize(ByteView bytes);

 private:
  Model(ModelSpec spec, const Algorithm* algorithm, Preprocessor preprocessor, std::unique_ptr<Learner> learner);

  ModelSpec spec_;
  const Algorithm* algorithm_;
  Preprocessor preprocessor_;
  std::unique_ptr<Learner> learner_;
};

}  // namespace millrace::learn
