#include "learn/internal/linear.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "learn/internal/state_codec.h"

// Linear and logistic regression by stochastic gradient descent, one update per example.
//   SGD      w -= rate * g
//   AdaGrad  G += g^2, w -= rate * g / sqrt(G + 1e-8)         Duchi, Hazan, Singer 2011
//   L2       g += l2 * w
//   L1       cumulative penalty, lazily clipped at zero       Tsuruoka, Tsujii, Ananiadou 2009
// The intercept has plain SGD with a rate of its own and no penalty.
namespace millrace::learn::internal {
namespace {

constexpr double kAdaGradEpsilon = 1e-8;
// A wild example moves the weights far; it must not make them infinite.
constexpr double kLossGradientMax = 1e12;

enum class Optimizer : uint8_t { kSgd, kAdaGrad };

struct LinearOptions {
  Optimizer optimizer = Optimizer::kSgd;
  double rate = 0.01;
  double intercept_rate = 0.01;
  double l1 = 0;
  double l2 = 0;
};

// Squared error (p - y)^2.
struct SquaredLoss {
  static double score(double margin) { return margin; }
  static double gradient(double margin, double label) { return 2 * (margin - label); }
};

// log(1 + exp(-yz)), y being -1 or 1.
struct LogLoss {
  static double score(double margin) { return 1 / (1 + std::exp(-margin)); }
  static double gradient(double margin, double label) {
    const double y = label == 1 ? 1 : -1;
    return -y / (std::exp(y * margin) + 1);
  }
};

// Four sums side by side: one would wait for each addition in turn.
double dot(const double* a, const double* b, size_t size) {
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= size; i += 4)
    for (size_t k = 0; k < 4; ++k) sums[k] += a[i + k] * b[i + k];
  for (; i < size; ++i) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <typename Loss>
class LinearLearner final : public Learner {
 public:
  LinearLearner(const LinearOptions& options, size_t inputs) : options_(options), weights_(inputs) {
    if (options.optimizer == Optimizer::kAdaGrad) squares_.resize(inputs);
    if (options.l1 > 0) penalties_.resize(inputs);
  }

  double predict(const double* x) const override { return Loss::score(margin(x)); }

  void learn(const double* x, double label) override {
    const double z = margin(x);
    // Weights that overflowed cannot be mended by this example.
    if (std::isnan(z)) return;
    const double g = std::clamp(Loss::gradient(z, label), -kLossGradientMax, kLossGradientMax);
    intercept_ -= options_.intercept_rate * g;
    switch (options_.optimizer) {
      case Optimizer::kSgd:
        step_sgd(x, g);
        break;
      case Optimizer::kAdaGrad:
        step_adagrad(x, g);
        break;
    }
    if (!penalties_.empty()) apply_l1();
  }

  Status merge(std::span<const MergePart> parts, const Scaling& merged) override;

  Result<double> explain(const double* x, std::span<double> contributions) const override {
    for (size_t j = 0; j < weights_.size(); ++j) contributions[j] = weights_[j] * x[j];
    return intercept_;
  }

  std::unique_ptr<Learner> clone() const override { return std::make_unique<LinearLearner>(*this); }

  void serialize(ByteWriter& out) const override {
    out.float64(intercept_);
    write_doubles(out, weights_);
    write_doubles(out, squares_);
    write_doubles(out, penalties_);
    out.float64(penalty_total_);
  }

  Status deserialize(ByteReader& in) override {
    MILLRACE_ASSIGN_OR_RETURN(intercept_, in.float64());
    MILLRACE_RETURN_IF_ERROR(read_doubles(in, weights_));
    MILLRACE_RETURN_IF_ERROR(read_doubles(in, squares_));
    MILLRACE_RETURN_IF_ERROR(read_doubles(in, penalties_));
    MILLRACE_ASSIGN_OR_RETURN(penalty_total_, in.float64());
    return {};
  }

 private:
  double margin(const double* x) const { return dot(weights_.data(), x, weights_.size()) + intercept_; }

  void step_sgd(const double* __restrict x, double g) {
    double* __restrict weights = weights_.data();
    const double rate = options_.rate;
    const double l2 = options_.l2;
    for (size_t j = 0; j < weights_.size(); ++j) weights[j] -= rate * (g * x[j] + l2 * weights[j]);
  }

  void step_adagrad(const double* __restrict x, double g) {
    double* __restrict weights = weights_.data();
    double* __restrict squares = squares_.data();
    const double rate = options_.rate;
    const double l2 = options_.l2;
    for (size_t j = 0; j < weights_.size(); ++j) {
      const double gradient = g * x[j] + l2 * weights[j];
      squares[j] += gradient * gradient;
      weights[j] -= rate * gradient / std::sqrt(squares[j] + kAdaGradEpsilon);
    }
  }

  void apply_l1() {
    penalty_total_ += options_.l1 * options_.rate;
    for (size_t j = 0; j < weights_.size(); ++j) {
      const double before = weights_[j];
      if (before > 0)
        weights_[j] = std::max(0.0, before - (penalty_total_ + penalties_[j]));
      else if (before < 0)
        weights_[j] = std::min(0.0, before + (penalty_total_ - penalties_[j]));
      penalties_[j] += weights_[j] - before;
    }
  }

  LinearOptions options_;
  double intercept_ = 0;
  std::vector<double> weights_;
  std::vector<double> squares_;    // AdaGrad: sums of squared gradients
  std::vector<double> penalties_;  // L1: what each weight was charged so far, signed
  double penalty_total_ = 0;       // L1: what each should have been charged
};

// A part's function of the raw features, w (x - shift) / divisor + b, is written in the merged scaling: the weight
// times merged divisor / own divisor, the rest into the intercept. Then weights are averaged by the AdaGrad sums (how
// much each part has seen of that feature), else by rows; intercepts by rows.
template <typename Loss>
Status LinearLearner<Loss>::merge(std::span<const MergePart> parts, const Scaling& merged) {
  double rows = 0;
  for (const MergePart& part : parts) rows += static_cast<double>(part.rows);
  if (rows == 0) return {};

  const size_t inputs = weights_.size();
  std::vector<double> by_rows(inputs);
  std::vector<double> by_squares(inputs);
  for (const MergePart& part : parts) {
    const auto& learner = static_cast<const LinearLearner&>(*part.learner);
    const double share = static_cast<double>(part.rows) / rows;
    double intercept = learner.intercept_;
    for (size_t j = 0; j < inputs; ++j) {
      // A feature constant in this part has no slope there; one constant everywhere needs none.
      const double own = part.scaling.divisor[j];
      const double ratio = std::isinf(own) || std::isinf(merged.divisor[j]) ? 0 : merged.divisor[j] / own;
      const double weight = learner.weights_[j] * ratio;
      intercept += learner.weights_[j] * (merged.shift[j] - part.scaling.shift[j]) / own;
      by_rows[j] += share * weight;
      if (!squares_.empty()) {
        // A gradient by w' = w * ratio is one by w, divided by the ratio.
        const double squares = ratio > 0 ? learner.squares_[j] / (ratio * ratio) : 0;
        squares_[j] += squares;
        by_squares[j] += squares * weight;
      }
      if (!penalties_.empty()) penalties_[j] += share * learner.penalties_[j];
    }
    intercept_ += share * intercept;
    penalty_total_ += share * learner.penalty_total_;
  }
  for (size_t j = 0; j < inputs; ++j)
    weights_[j] = !squares_.empty() && squares_[j] > 0 ? by_squares[j] / squares_[j] : by_rows[j];
  return {};
}

LinearOptions options_of(const Algorithm& algorithm, const Params& params) {
  LinearOptions options;
  const bool adagrad = get_choice(algorithm.params, params, "optimizer") == "adagrad";
  options.optimizer = adagrad ? Optimizer::kAdaGrad : Optimizer::kSgd;
  options.rate = params.contains("learning_rate") ? get_real(algorithm.params, params, "learning_rate")
                 : adagrad                        ? 0.1
                                                  : 0.01;
  options.intercept_rate = get_real(algorithm.params, params, "intercept_lr");
  options.l1 = get_real(algorithm.params, params, "l1");
  options.l2 = get_real(algorithm.params, params, "l2");
  return options;
}

template <typename Loss>
std::unique_ptr<Learner> make_linear(const Algorithm& algorithm, const Params& params, size_t inputs) {
  return std::make_unique<LinearLearner<Loss>>(options_of(algorithm, params), inputs);
}

std::vector<ParamSpec> linear_params() {
  return {
      {.name = "optimizer",
       .type = ParamType::kChoice,
       .default_value = "sgd",
       .choices = {"sgd", "adagrad"},
       .doc = "how a gradient moves the weights"},
      {.name = "learning_rate",
       .default_value = std::nullopt,
       .min = 0,
       .doc = "step size of the weights; by default 0.01 with sgd, 0.1 with adagrad"},
      {.name = "intercept_lr", .default_value = 0.01, .min = 0, .doc = "step size of the intercept (always plain SGD)"},
      {.name = "l1", .default_value = 0.0, .min = 0, .doc = "L1 penalty of the weights: draws them to exactly zero"},
      {.name = "l2", .default_value = 0.0, .min = 0, .doc = "L2 penalty of the weights: draws them towards zero"},
      {.name = "seed",
       .type = ParamType::kInteger,
       .default_value = int64_t{42},
       .min = 0,
       .doc = "seed of learners that draw numbers; this one draws none"},
  };
}

}  // namespace

Algorithm linear_regression() {
  return {.name = "linear_regression",
          .title = "Linear regression",
          .task = Task::kRegression,
          .doc =
              "A weighted sum of the features, fitted to squared error by stochastic gradient descent. Scale the "
              "features, or it may diverge.",
          .params = linear_params(),
          .make = make_linear<SquaredLoss>};
}

Algorithm logistic_regression() {
  return {.name = "logistic_regression",
          .title = "Logistic regression",
          .task = Task::kBinary,
          .doc =
              "The log odds of class 1 as a weighted sum of the features, fitted to log loss by stochastic gradient "
              "descent. Scale the features.",
          .params = linear_params(),
          .make = make_linear<LogLoss>};
}

}  // namespace millrace::learn::internal
