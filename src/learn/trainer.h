#pragma once

#include <limits>
#include <span>
#include <vector>

#include "base/result.h"
#include "learn/internal/baselines.h"
#include "learn/metrics.h"
#include "learn/model.h"
#include "learn/state_page.h"

namespace millrace::learn {

// All that is said of a row when its event comes, by the learner as it is then and by the two baselines beside it. It
// waits with the row until the label is there.
struct Prediction {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  double score = kNone;  // the learner's
  double prior = kNone;  // the share of class 1 (the mean) among the labels learned so far: the majority baseline
  double last = kNone;   // the label learned last: the last-class baseline
};

// One step of a run over rows: labels become due between the rows of a batch, so predicting and learning interleave.
struct Op {
  enum class Kind : uint8_t {
    kPredict,  // score row `row`
    kLearn,    // learn row `row` with `label`
  };
  Kind kind = Kind::kPredict;
  uint32_t row = 0;
  double label = 0;

  static Op predict(size_t row) { return {Kind::kPredict, static_cast<uint32_t>(row), 0}; }
  static Op learn(size_t row, double label) { return {Kind::kLearn, static_cast<uint32_t>(row), label}; }
};

// What `train` keeps for one partition: a model that learns, the baselines, and the metrics of each. A row is predicted
// at its event time and judged by that prediction when its label is there, then learned; nothing is ever scored at
// label arrival. Copying copies the state, cheaply enough for every cut. Not thread-safe; a copy belongs to whoever has
// it.
class Trainer {
 public:
  // Errors as for Model::make.
  static Result<Trainer> make(ModelSpec spec, MetricsOptions options = {});

  // Do `ops` in order: the caller lists, per row of the stream, predict it; then learn what its watermark releases, by
  // (release time, offset). `predictions` has a place per row of `rows`: predict writes its row's; learn judges by its
  // row's, then learns. Rows that waited bring the prediction they waited with. Labels are valid for the task
  // (is_valid_label).
  void run(const MatrixView& rows, std::span<const Op> ops, std::span<Prediction> predictions);

  const Model& model() const { return model_; }
  const Metrics& metrics() const { return metrics_; }              // the learner's
  const Metrics& prior_metrics() const { return prior_metrics_; }  // the majority (mean) baseline's
  const Metrics& last_metrics() const { return last_metrics_; }    // the last-class baseline's

  // State in pages for a changelog. Changed pages are those since the last call of take_changed_pages(), or since
  // make() or restore().
  std::vector<StatePage> all_pages() const;
  std::vector<StatePage> take_changed_pages();
  // The trainer that wrote `pages`: for each number its newest page. Going on from here equals never having stopped.
  // kCorruption for an incomplete or damaged set, kConflict when the pages are of another model spec than `spec`.
  static Result<Trainer> restore(const ModelSpec& spec, std::span<const StatePage> pages);

  // All pages in one piece, for a snapshot that travels.
  Bytes serialize() const;
  // kCorruption for anything that serialize() did not write.
  static Result<Trainer> deserialize(ByteView bytes);

 private:
  Trainer(Model model, const MetricsOptions& options);

  void learn(const double* row, double label, const Prediction& prediction, std::span<double> scratch);
  void append_model_pages(bool only_changed, std::vector<StatePage>& out) const;
  static Result<Trainer> restore(std::span<const StatePage> pages);

  Model model_;
  internal::LabelCounts labels_;
  Metrics metrics_, prior_metrics_, last_metrics_;

  // As of the last take_changed_pages().
  uint64_t clean_labels_ = 0;
  uint32_t clean_model_pages_ = 0;
};

// A version to be registered, from the trainers of all partitions in partition order, each at its cut of the same
// boundary.
struct Round {
  Model model;
  MetricsReport learner, prior, last;  // over everything
  MetricsReport learner_window;
};
// Errors as for Model::merge. There is at least one part.
Result<Round> merge_round(std::span<const Trainer* const> parts);

}  // namespace millrace::learn
