#pragma once

#include <cstdint>
#include <limits>

#include "learn/algorithm.h"

namespace millrace::learn::internal {

// What the baselines know: how many labels, their sum, the last one.
struct LabelCounts {
  uint64_t rows = 0;
  double sum = 0;
  double last = std::numeric_limits<double>::quiet_NaN();

  void learn(double label) {
    ++rows;
    sum += label;
    last = label;
  }
  // The share of class 1, or the mean; NaN before the first label.
  double mean() const { return sum / static_cast<double>(rows); }
};

Algorithm majority_class();
Algorithm last_class();
Algorithm mean_value();

}  // namespace millrace::learn::internal
