#pragma once

#include <cstdint>
#include <span>
#include <vector>

// Exact and binned ranking metrics over scores in [0, 1].
namespace millrace::learn::internal {

// A judged score with its label in the lowest bit and the score's 63 other bits above it: for scores from 0 on, keys
// sort as the scores do, and a label costs nothing to keep.
uint64_t score_key(double score, bool label);
double key_score(uint64_t key);
inline bool key_label(uint64_t key) { return (key & 1) != 0; }

// Counts of positives and negatives per bin of the score. The 2^16 bins are as fine near 0 as near 1: below one half, 9
// bits of mantissa for each power of two down to 2^-64, and mirrored above it.
struct ScoreBins {
  static constexpr size_t kBins = 1 << 16;

  std::vector<uint64_t> positives = std::vector<uint64_t>(kBins);
  std::vector<uint64_t> negatives = std::vector<uint64_t>(kBins);

  // The bin of a score in [0, 1]; never decreases with the score.
  static size_t bin_of(double score);

  void add(uint64_t key) { ++(key_label(key) ? positives : negatives)[bin_of(key_score(key))]; }
  void add(const ScoreBins& other);
};

struct Ranking {
  double auc = 0;
  double auc_error = 0;
  double average_precision = 0;
};

// Of all keys, which are sorted in place. NaN where a class is absent.
Ranking rank_exactly(std::span<uint64_t> keys);
// The same from counts. Scores within a bin count as equal, so the exact AUC is at most auc_error away.
Ranking rank_bins(const ScoreBins& bins);

}  // namespace millrace::learn::internal
