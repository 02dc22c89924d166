#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace millrace::learn::internal {

// Running sums over judged rows that need no rows kept. Which fields mean something depends on the task.
struct JudgedSums {
  uint64_t true_positives = 0, false_positives = 0, true_negatives = 0, false_negatives = 0;
  double log_loss = 0;
  double squared_error = 0;  // Brier's, too
  double absolute_error = 0;
  double label_mean = 0;       // Welford
  double label_deviation = 0;  // sum of squared deviations from the mean

  void add_binary(double score, bool label);
  // `row` is this row's number, from 1.
  void add_regression(double prediction, double label, uint64_t row);
};

// Counts of positives and negatives per bin of the score. The 2^16 bins are as fine near 0 as near 1: below one half, 9
// bits of mantissa for each power of two down to 2^-64, and mirrored above it.
struct ScoreBins {
  static constexpr size_t kBins = 1 << 16;

  std::vector<uint64_t> positives = std::vector<uint64_t>(kBins);
  std::vector<uint64_t> negatives = std::vector<uint64_t>(kBins);

  // The bin of a score in [0, 1]; never decreases with the score.
  static uint32_t bin_of(double score);
};

struct Ranking {
  double auc = 0;
  double auc_error = 0;
  double average_precision = 0;
};

// Of scores with the label in the sign bit (set: 1), in any order; they are sorted in place. NaN where a class is
// absent.
Ranking rank_exactly(std::span<double> signed_scores);
// The same from counts; scores within a bin count as equal.
Ranking rank_bins(const ScoreBins& bins);

}  // namespace millrace::learn::internal
