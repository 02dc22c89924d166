#pragma once

#include <cstdint>
#include <limits>

#include "base/json_writer.h"
#include "learn/learner.h"

namespace millrace::learn {

// Metrics of a set of judged rows, as scikit-learn defines them. NaN is what cannot be computed from these rows, or
// belongs to the other task; ratios of nothing (precision without predicted positives) are 0.
struct MetricsReport {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  Task task = Task::kBinary;
  uint64_t rows = 0;      // judged
  uint64_t unscored = 0;  // released with a label but without a prediction: not judged

  // Binary classification. A row counts as predicted positive when its score is above 0.5.
  uint64_t true_positives = 0, false_positives = 0, true_negatives = 0, false_negatives = 0;
  double accuracy = kNone;
  double precision = kNone;
  double recall = kNone;
  double f1 = kNone;
  double auc = kNone;                // ROC; equal scores count half
  double auc_error = kNone;          // the exact AUC is within auc +- auc_error; 0 when auc is exact
  double average_precision = kNone;  // with binned scores, the bins are taken as ties
  double log_loss = kNone;           // scores are clipped to [1e-15, 1 - 1e-15]
  double brier = kNone;

  // Regression.
  double mae = kNone;
  double rmse = kNone;
  double r2 = kNone;

  uint64_t positives() const { return true_positives + false_negatives; }
  // The figure that promotion looks at, smaller is better: log loss, or mean absolute error.
  double loss() const { return task == Task::kBinary ? log_loss : mae; }

  // An object with the task's metrics: {"rows": 584456, "accuracy": ..., "f1": ..., "confusion": {"tp": ...}}.
  void write_json(JsonWriter& json) const;
};

// Whether a first version may be promoted: over at least kPromotionRowsMin judged rows it has a smaller loss than
// always predicting the running class frequency (or mean) had on the same rows.
bool beats_baseline(const MetricsReport& learner, const MetricsReport& baseline);
inline constexpr uint64_t kPromotionRowsMin = 1'000;

}  // namespace millrace::learn
