#pragma once

#include <cstdint>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/result.h"
#include "learn/metrics_report.h"

namespace millrace::learn::internal {

// Running sums over judged rows: all metrics but the ranking ones follow from them.
struct JudgedSums {
  uint64_t rows = 0;
  uint64_t unscored = 0;
  // Binary.
  uint64_t true_positives = 0, false_positives = 0, true_negatives = 0, false_negatives = 0;
  double log_loss = 0;
  double squared_error = 0;  // both tasks: Brier score, RMSE
  // Regression.
  double absolute_error = 0;
  double label_mean = 0;
  double label_deviation = 0;  // sum of squared deviations from the mean (Welford)

  // `score` in [0, 1].
  void add_binary(double score, bool label);
  void add_regression(double prediction, double label);
  void add(const JudgedSums& other);

  // Everything but the ranking metrics.
  MetricsReport report(Task task) const;

  void serialize(ByteWriter& out) const;
  Status deserialize(ByteReader& in);
};

}  // namespace millrace::learn::internal
