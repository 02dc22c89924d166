#include "learn/internal/gaussian_nb.h"

#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "learn/internal/state_codec.h"

// Gaussian naive Bayes: per class, the share of rows and for each input a normal distribution, its mean and sample
// variance (n - 1) kept by Welford's method. A score is the posterior of class 1 under
//   log share(c) + sum over inputs of log(1e-9 + density_c(x)).
// A class that was not seen yet has no share in the posterior.
namespace millrace::learn::internal {
namespace {

// Keeps one far-off input from deciding alone.
constexpr double kDensityFloor = 1e-9;

struct ClassState {
  uint64_t rows = 0;
  std::vector<double> means;
  std::vector<double> deviations;  // sums of squared deviations from the mean

  void learn(const double* x) {
    ++rows;
    const auto n = static_cast<double>(rows);
    for (size_t j = 0; j < means.size(); ++j) {
      const double old_mean = means[j];
      means[j] += (x[j] - old_mean) / n;
      deviations[j] += (x[j] - old_mean) * (x[j] - means[j]);
    }
  }

  double log_likelihood(size_t j, double x) const {
    double density = 0;
    if (rows > 1 && deviations[j] > 0) {
      const double variance = deviations[j] / static_cast<double>(rows - 1);
      const double distance = x - means[j];
      density = std::exp(distance * distance / (-2 * variance)) / std::sqrt(2 * std::numbers::pi * variance);
    }
    return std::log(kDensityFloor + density);
  }
};

class GaussianNaiveBayes final : public Learner {
 public:
  explicit GaussianNaiveBayes(size_t inputs) : inputs_(inputs) {
    for (ClassState& state : classes_) {
      state.means.resize(inputs);
      state.deviations.resize(inputs);
    }
  }

  double predict(const double* x) const override {
    const auto& [negative, positive] = classes_;
    if (negative.rows == 0 && positive.rows == 0) return std::numeric_limits<double>::quiet_NaN();
    if (negative.rows == 0) return 1;
    if (positive.rows == 0) return 0;
    double log_odds = prior_log_odds();
    for (size_t j = 0; j < inputs_; ++j)
      log_odds += positive.log_likelihood(j, x[j]) - negative.log_likelihood(j, x[j]);
    return 1 / (1 + std::exp(-log_odds));
  }

  void learn(const double* x, double label) override { classes_[label == 1 ? 1 : 0].learn(x); }

  Status merge(std::span<const MergePart> parts, const Scaling& merged) override;

  Result<double> explain(const double* x, std::span<double> contributions) const override {
    const auto& [negative, positive] = classes_;
    if (negative.rows == 0 || positive.rows == 0)
      return fail(Errc::kUnsupported, "naive Bayes has not seen both classes yet");
    for (size_t j = 0; j < inputs_; ++j)
      contributions[j] = positive.log_likelihood(j, x[j]) - negative.log_likelihood(j, x[j]);
    return prior_log_odds();
  }

  std::unique_ptr<Learner> clone() const override { return std::make_unique<GaussianNaiveBayes>(*this); }

  void serialize(ByteWriter& out) const override {
    for (const ClassState& state : classes_) {
      out.uvarint(state.rows);
      write_doubles(out, state.means);
      write_doubles(out, state.deviations);
    }
  }

  Status deserialize(ByteReader& in) override {
    for (ClassState& state : classes_) {
      MILLRACE_ASSIGN_OR_RETURN(state.rows, in.uvarint());
      MILLRACE_RETURN_IF_ERROR(read_doubles(in, state.means));
      MILLRACE_RETURN_IF_ERROR(read_doubles(in, state.deviations));
    }
    return {};
  }

 private:
  double prior_log_odds() const {
    return std::log(static_cast<double>(classes_[1].rows)) - std::log(static_cast<double>(classes_[0].rows));
  }

  size_t inputs_;
  std::array<ClassState, 2> classes_;
};

// A part's input z stands for the raw value shift + divisor * z, so its moments are moved to the merged scaling by a
// straight line and then added. Exact without scaling; with it, as exact as the scaling that each row was learned
// under.
Status GaussianNaiveBayes::merge(std::span<const MergePart> parts, const Scaling& merged) {
  for (const MergePart& part : parts) {
    const auto& learner = static_cast<const GaussianNaiveBayes&>(*part.learner);
    for (size_t c = 0; c < classes_.size(); ++c) {
      const ClassState& from = learner.classes_[c];
      ClassState& into = classes_[c];
      if (from.rows == 0) continue;
      const auto rows = static_cast<double>(from.rows);
      const double share = rows / static_cast<double>(into.rows + from.rows);
      for (size_t j = 0; j < inputs_; ++j) {
        const double own = part.scaling.divisor[j];
        const double slope = std::isinf(own) || std::isinf(merged.divisor[j]) ? 0 : own / merged.divisor[j];
        const double offset = (part.scaling.shift[j] - merged.shift[j]) / merged.divisor[j];
        const double mean = slope * from.means[j] + offset;
        const double difference = mean - into.means[j];
        into.deviations[j] += slope * slope * from.deviations[j] + difference * difference * rows * (1 - share);
        // With a difference of exactly 0, the mean of a constant input stays exactly what it was.
        into.means[j] += difference * share;
      }
      into.rows += from.rows;
    }
  }
  return {};
}

}  // namespace

Algorithm gaussian_naive_bayes() {
  return {.name = "gaussian_naive_bayes",
          .title = "Gaussian naive Bayes",
          .task = Task::kBinary,
          .doc =
              "Each class as normal distributions of the features, taken as independent. Has no settings, learns from "
              "few rows, and merges exactly.",
          .params = {},
          .make = [](const Algorithm&, const Params&, size_t inputs) -> std::unique_ptr<Learner> {
            return std::make_unique<GaussianNaiveBayes>(inputs);
          }};
}

}  // namespace millrace::learn::internal
