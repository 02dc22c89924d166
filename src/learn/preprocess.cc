#include "learn/preprocess.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "learn/internal/state_codec.h"

namespace millrace::learn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Larger values would overflow a variance, and with it every later score; no measurement is that large. False for NaN.
constexpr double kPresentMax = 1e100;
bool is_present(double value) { return std::fabs(value) <= kPresentMax; }

}  // namespace

Preprocessor::Preprocessor(std::span<const FeatureSpec> features) {
  const size_t count = features.size();
  for (size_t j = 0; j < count; ++j) {
    scaled_.push_back(features[j].scale == Scale::kStandard ? 1 : 0);
    if (features[j].indicator) indicated_.push_back(static_cast<uint32_t>(j));
  }
  all_scaled_ = std::ranges::find(scaled_, 0) == scaled_.end();
  count_.resize(count);
  mean_.resize(count);
  variance_.resize(count);
  fill_.resize(count);
  missing_.resize(count);
  shift_.resize(count + indicated_.size(), 0.0);
  divisor_.resize(count + indicated_.size(), 1.0);
  for (size_t j = 0; j < count; ++j) update_scaling(j);
}

void Preprocessor::update_scaling(size_t j) {
  if (scaled_[j] != 0) {
    shift_[j] = mean_[j];
    divisor_[j] = variance_[j] > 0 ? std::sqrt(variance_[j]) : kInfinity;
  } else {
    fill_[j] = mean_[j];
  }
}

bool Preprocessor::is_complete(const double* row) const {
  bool complete = true;
  for (size_t j = 0; j < count_.size(); ++j) complete &= is_present(row[j]);
  return complete;
}

// The loops over features here are free of branches and calls, so that the compiler makes vectors of them: they are
// most of the cost of a linear model. Most rows miss nothing and take the shorter ones.
template <bool kComplete>
void Preprocessor::learn_moments(const double* __restrict row) {
  const size_t count = count_.size();
  double* __restrict counts = count_.data();
  double* __restrict means = mean_.data();
  double* __restrict variances = variance_.data();
  for (size_t j = 0; j < count; ++j) {
    const bool present = kComplete || is_present(row[j]);
    const double n = counts[j] + 1;
    const double from_old_mean = row[j] - means[j];
    const double mean = means[j] + from_old_mean / n;
    const double variance = variances[j] + (from_old_mean * (row[j] - mean) - variances[j]) / n;
    counts[j] = present ? n : counts[j];
    means[j] = present ? mean : means[j];
    variances[j] = present ? variance : variances[j];
  }
  if constexpr (!kComplete)
    for (size_t j = 0; j < count; ++j) missing_[j] += is_present(row[j]) ? 0 : 1;
}

void Preprocessor::learn(const double* row) {
  if (is_complete(row))
    learn_moments<true>(row);
  else
    learn_moments<false>(row);
  update_all_scaling();
  ++rows_;
}

void Preprocessor::update_all_scaling() {
  const size_t count = count_.size();
  if (!all_scaled_) {
    for (size_t j = 0; j < count; ++j) update_scaling(j);
    return;
  }
  const double* __restrict means = mean_.data();
  const double* __restrict variances = variance_.data();
  double* __restrict shifts = shift_.data();
  double* __restrict divisors = divisor_.data();
  for (size_t j = 0; j < count; ++j) {
    const double deviation = std::sqrt(variances[j]);
    shifts[j] = means[j];
    divisors[j] = deviation > 0 ? deviation : kInfinity;
  }
}

void Preprocessor::transform(const double* __restrict row, double* __restrict out) const {
  const size_t count = count_.size();
  const double* __restrict shifts = shift_.data();
  const double* __restrict divisors = divisor_.data();
  const double* __restrict fills = fill_.data();
  for (size_t j = 0; j < count; ++j) {
    const double x = row[j];
    const double scaled = (x - shifts[j]) / divisors[j];
    out[j] = is_present(x) ? scaled : fills[j];
  }
  for (size_t k = 0; k < indicated_.size(); ++k) out[count + k] = is_present(row[indicated_[k]]) ? 0.0 : 1.0;
}

void Preprocessor::merge(std::span<const Preprocessor* const> parts) {
  for (const Preprocessor* part : parts) {
    MILLRACE_CHECK(part->features() == features() && part->inputs() == inputs());
    rows_ += part->rows_;
    for (size_t j = 0; j < features(); ++j) {
      missing_[j] += part->missing_[j];
      const double total = count_[j] + part->count_[j];
      if (total == 0) continue;
      const double a = count_[j] / total;
      const double b = part->count_[j] / total;
      const double difference = part->mean_[j] - mean_[j];
      variance_[j] = a * variance_[j] + b * part->variance_[j] + a * b * difference * difference;
      // A feature that is constant in all parts has a difference of exactly 0 and stays constant; a weighted sum of the
      // means would round, and make a tiny variance of it.
      mean_[j] += difference * b;
      count_[j] = total;
    }
  }
  for (size_t j = 0; j < features(); ++j) update_scaling(j);
}

void Preprocessor::serialize(ByteWriter& out) const {
  out.uvarint(rows_);
  internal::write_doubles(out, count_);
  internal::write_doubles(out, mean_);
  internal::write_doubles(out, variance_);
  for (const uint64_t missing : missing_) out.uvarint(missing);
}

Status Preprocessor::deserialize(ByteReader& in) {
  MILLRACE_ASSIGN_OR_RETURN(rows_, in.uvarint());
  MILLRACE_RETURN_IF_ERROR(internal::read_doubles(in, count_));
  MILLRACE_RETURN_IF_ERROR(internal::read_doubles(in, mean_));
  MILLRACE_RETURN_IF_ERROR(internal::read_doubles(in, variance_));
  for (uint64_t& missing : missing_) {
    MILLRACE_ASSIGN_OR_RETURN(missing, in.uvarint());
  }
  for (size_t j = 0; j < features(); ++j) {
    // Written so that NaN fails.
    if (!(count_[j] >= 0 && std::isfinite(count_[j]) && std::isfinite(mean_[j]) && variance_[j] >= 0 &&
          std::isfinite(variance_[j])))
      return fail(Errc::kCorruption, "a scaler's numbers are impossible");
    update_scaling(j);
  }
  return {};
}

}  // namespace millrace::learn
