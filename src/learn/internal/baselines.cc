#include "learn/internal/baselines.h"

#include "learn/internal/state_codec.h"

namespace millrace::learn::internal {
namespace {

enum class Baseline : uint8_t { kMean, kLast };

// Looks at labels only: what any model must beat.
class BaselineLearner final : public Learner {
 public:
  explicit BaselineLearner(Baseline baseline) : baseline_(baseline) {}

  double predict(const double*) const override {
    switch (baseline_) {
      case Baseline::kMean:
        return labels_.mean();
      case Baseline::kLast:
        return labels_.last;
    }
    return labels_.last;
  }
  void learn(const double*, double label) override { labels_.learn(label); }

  Status merge(std::span<const MergePart> parts, const Scaling&) override {
    for (const MergePart& part : parts) {
      const LabelCounts& from = static_cast<const BaselineLearner&>(*part.learner).labels_;
      if (from.rows == 0) continue;
      labels_.rows += from.rows;
      labels_.sum += from.sum;
      labels_.last = from.last;
    }
    return {};
  }

  Result<double> explain(const double*, std::span<double>) const override {
    return fail(Errc::kUnsupported, "a baseline looks at no feature");
  }

  std::unique_ptr<Learner> clone() const override { return std::make_unique<BaselineLearner>(*this); }

  void serialize(ByteWriter& out) const override {
    out.uvarint(labels_.rows);
    out.float64(labels_.sum);
    out.float64(labels_.last);
  }

  Status deserialize(ByteReader& in) override {
    MILLRACE_ASSIGN_OR_RETURN(labels_.rows, in.uvarint());
    MILLRACE_ASSIGN_OR_RETURN(labels_.sum, in.float64());
    MILLRACE_ASSIGN_OR_RETURN(labels_.last, in.float64());
    return {};
  }

 private:
  Baseline baseline_;
  LabelCounts labels_;
};

template <Baseline kBaseline>
std::unique_ptr<Learner> make_baseline(const Algorithm&, const Params&, size_t) {
  return std::make_unique<BaselineLearner>(kBaseline);
}

}  // namespace

Algorithm majority_class() {
  return {.name = "majority_class",
          .title = "Majority class (baseline)",
          .task = Task::kBinary,
          .doc = "The share of class 1 so far, whatever the features say.",
          .params = {},
          .make = make_baseline<Baseline::kMean>};
}

Algorithm last_class() {
  return {.name = "last_class",
          .title = "Last class (baseline)",
          .task = Task::kBinary,
          .doc = "The label learned last, whatever the features say: hard to beat where labels come in runs.",
          .params = {},
          .make = make_baseline<Baseline::kLast>};
}

Algorithm mean_value() {
  return {.name = "mean",
          .title = "Mean (baseline)",
          .task = Task::kRegression,
          .doc = "The mean label so far, whatever the features say.",
          .params = {},
          .make = make_baseline<Baseline::kMean>};
}

}  // namespace millrace::learn::internal
