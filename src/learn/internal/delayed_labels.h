#pragma once

#include <algorithm>
#include <vector>

#include "learn/trainer.h"

// For tests: a stream whose labels come a constant number of rows late.
namespace millrace::learn::internal {

// Row i is predicted, then the label that its arrival makes due, that of row i - delay_rows, is judged and learned.
// What is still waiting at the end is released then, in order. Runs in batches of `batch_rows`: rows that wait are
// carried over with their prediction, as a label step does.
inline void run_with_delay(Trainer& trainer, const FeatureMatrix& rows, const std::vector<double>& labels,
                           size_t delay_rows, size_t batch_rows) {
  struct Waiting {
    std::vector<double> row;
    Prediction prediction;
    double label;
  };
  std::vector<Waiting> waiting;
  for (size_t begin = 0; begin < rows.rows(); begin += batch_rows) {
    const size_t carried = waiting.size();
    FeatureMatrix matrix(rows.features());
    std::vector<Prediction> predictions;
    std::vector<double> due;
    for (const Waiting& w : waiting) {
      matrix.append(w.row);
      predictions.push_back(w.prediction);
      due.push_back(w.label);
    }
    std::vector<Op> ops;
    size_t released = 0;
    const size_t end = std::min(begin + batch_rows, rows.rows());
    for (size_t i = begin; i < end; ++i) {
      matrix.append(rows.row(i));
      due.push_back(labels[i]);
      ops.push_back(Op::predict(carried + i - begin));
      if (i < delay_rows) continue;
      ops.push_back(Op::learn(released, due[released]));
      ++released;
    }
    predictions.resize(matrix.rows());
    trainer.run(matrix.view(), ops, predictions);
    waiting.clear();
    for (size_t k = released; k < matrix.rows(); ++k)
      waiting.push_back({{matrix.row(k).begin(), matrix.row(k).end()}, predictions[k], due[k]});
  }
  for (const Waiting& w : waiting) {
    FeatureMatrix matrix(rows.features());
    matrix.append(w.row);
    std::vector<Prediction> prediction = {w.prediction};
    trainer.run(matrix.view(), std::vector{Op::learn(0, w.label)}, prediction);
  }
}

}  // namespace millrace::learn::internal
