#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/result.h"
#include "learn/learner.h"

namespace millrace::learn {

enum class Scale : uint8_t {
  kNone,
  kStandard,  // (x - mean) / standard deviation of all rows learned, population's; 0 for a constant feature
};

// A feature and what is done with it before the learner sees it. A missing value is filled with the mean so far, which
// is 0 after scaling.
struct FeatureSpec {
  std::string name;
  Scale scale = Scale::kNone;
  bool indicator = false;  // one more input: 1 where the feature is missing, else 0

  friend bool operator==(const FeatureSpec&, const FeatureSpec&) = default;
};

// Turns rows of features into a learner's inputs: first one input per feature, in order, then the indicators, in order
// of their features. Means and variances by Welford's method (Welford 1962; merging: Chan, Golub, LeVeque 1979), per
// feature over the rows where it is present; they change only in learn(). NaN and infinity count as missing.
// Const functions may be called from several threads at once while nobody calls the others.
class Preprocessor {
 public:
  explicit Preprocessor(std::span<const FeatureSpec> features);

  size_t features() const { return count_.size(); }
  size_t inputs() const { return shift_.size(); }

  // Take in one row of features() values.
  void learn(const double* row);
  // Write a row's inputs() inputs to `out`; the inputs are always finite.
  void transform(const double* row, double* out) const;

  uint64_t rows() const { return rows_; }  // learned
  // Per feature: rows learned in which it was missing.
  std::span<const uint64_t> missing() const { return missing_; }
  // Per feature: mean and population variance of the values learned.
  std::span<const double> means() const { return mean_; }
  std::span<const double> variances() const { return variance_; }
  // Per input.
  Scaling scaling() const { return {shift_, divisor_}; }

  // This one, which has learned nothing, becomes the exact merge of `parts`, made of the same features.
  void merge(std::span<const Preprocessor* const> parts);

  void serialize(ByteWriter& out) const;
  Status deserialize(ByteReader& in);

 private:
  bool is_complete(const double* row) const;
  template <bool kComplete>
  void learn_moments(const double* row);
  void update_scaling(size_t feature);
  void update_all_scaling();

  std::vector<uint8_t> scaled_;  // per feature
  bool all_scaled_ = true;
  std::vector<uint32_t> indicated_;      // features with an indicator
  std::vector<double> count_;            // per feature: rows learned with it present
  std::vector<double> mean_, variance_;  // per feature
  std::vector<double> shift_, divisor_;  // per input
  std::vector<double> fill_;             // per feature: the input for a missing value
  std::vector<uint64_t> missing_;
  uint64_t rows_ = 0;
};

}  // namespace millrace::learn
