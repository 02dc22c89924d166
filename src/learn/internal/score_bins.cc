#include "learn/internal/score_bins.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace millrace::learn::internal {
namespace {

// Takes groups of equal scores in ascending order.
class RankSum {
 public:
  RankSum(uint64_t positives, uint64_t negatives)
      : positives_(static_cast<double>(positives)), negatives_(static_cast<double>(negatives)) {}

  void group(uint64_t positives, uint64_t negatives) {
    const auto p = static_cast<double>(positives);
    const auto n = static_cast<double>(negatives);
    // Of the rows from this group on, the share of positives: the precision at this threshold.
    const double above = positives_ - positives_below_ + negatives_ - negatives_below_;
    if (above > 0) precision_sum_ += p * (positives_ - positives_below_) / above;
    pairs_ += p * (negatives_below_ + n / 2);
    tied_pairs_ += p * n;
    positives_below_ += p;
    negatives_below_ += n;
  }

  Ranking result() const {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    if (positives_ == 0) return {kNone, kNone, kNone};
    const double precision = precision_sum_ / positives_;
    if (negatives_ == 0) return {kNone, kNone, precision};
    const double all_pairs = positives_ * negatives_;
    return {pairs_ / all_pairs, tied_pairs_ / 2 / all_pairs, precision};
  }

 private:
  double positives_, negatives_;
  double positives_below_ = 0, negatives_below_ = 0;
  double pairs_ = 0, tied_pairs_ = 0, precision_sum_ = 0;
};

}  // namespace

uint64_t score_key(double score, bool label) {
  return (std::bit_cast<uint64_t>(score) << 1) | static_cast<uint64_t>(label);
}

double key_score(uint64_t key) { return std::bit_cast<double>(key >> 1); }

size_t ScoreBins::bin_of(double score) {
  constexpr size_t kHalf = kBins / 2;
  constexpr size_t kMantissaBins = 512;
  constexpr int kExponents = 64;
  static_assert(kMantissaBins * kExponents == kHalf);
  const auto half_bin = [](double x) -> size_t {  // x in [0, 0.5)
    if (!(x > 0)) return 0;
    int exponent;
    const double mantissa = std::frexp(x, &exponent);  // [0.5, 1)
    const int level = kExponents + exponent;           // 0.25 <= x < 0.5: exponent -1, level 63
    if (level < 0) return 0;
    return static_cast<size_t>(level) * kMantissaBins +
           static_cast<size_t>((mantissa - 0.5) * 2 * static_cast<double>(kMantissaBins));
  };
  if (score < 0.5) return half_bin(score);
  return score > 0.5 ? kBins - 1 - half_bin(1 - score) : kHalf;
}

void ScoreBins::add(const ScoreBins& other) {
  for (size_t i = 0; i < kBins; ++i) {
    positives[i] += other.positives[i];
    negatives[i] += other.negatives[i];
  }
}

Ranking rank_exactly(std::span<uint64_t> keys) {
  std::ranges::sort(keys);
  const auto positives = static_cast<uint64_t>(std::ranges::count_if(keys, key_label));
  RankSum sum(positives, keys.size() - positives);
  for (size_t i = 0; i < keys.size();) {
    uint64_t group[2] = {};
    const uint64_t score = keys[i] >> 1;
    for (; i < keys.size() && keys[i] >> 1 == score; ++i) ++group[keys[i] & 1];
    sum.group(group[1], group[0]);
  }
  Ranking ranking = sum.result();
  if (!std::isnan(ranking.auc_error)) ranking.auc_error = 0;
  return ranking;
}

Ranking rank_bins(const ScoreBins& bins) {
  uint64_t positives = 0;
  uint64_t negatives = 0;
  for (size_t i = 0; i < ScoreBins::kBins; ++i) {
    positives += bins.positives[i];
    negatives += bins.negatives[i];
  }
  RankSum sum(positives, negatives);
  for (size_t i = 0; i < ScoreBins::kBins; ++i) sum.group(bins.positives[i], bins.negatives[i]);
  return sum.result();
}

}  // namespace millrace::learn::internal
