#include <gtest/gtest.h>

#include <array>
#include <string>

#include "learn/internal/test_handbook.h"
#include "learn/metrics.h"
#include "learn/model.h"

// What a version merged from four partitions' learners costs against one learner that saw every row: docs/parity.md.
namespace millrace::learn {
namespace {

using internal::LabelledRows;

constexpr size_t kPartitions = 4;

struct Parity {
  MetricsReport one;
  MetricsReport merged;
  double loss_ratio() const { return merged.loss() / one.loss(); }
};

// Every `round` rows a version is made of each; it scores the next `round` rows. `partition_of` says where a row goes.
template <typename PartitionOf>
Parity measure(const LabelledRows& data, const ModelSpec& spec, size_t round, PartitionOf partition_of) {
  Model one = Model::make(spec).value();
  std::vector<Model> parts(kPartitions, one);
  Metrics one_metrics(one.task());
  Metrics merged_metrics(one.task());
  std::vector<double> scores(round);
  const auto judge = [&](Metrics& metrics, const Model& version, const MatrixView& rows,
                         std::span<const double> labels) {
    version.predict_batch(rows, scores);
    for (size_t i = 0; i < labels.size(); ++i) metrics.judge(scores[i], labels[i]);
  };
  for (size_t begin = 0; begin < data.labels.size(); begin += round) {
    const size_t size = std::min(round, data.labels.size() - begin);
    const MatrixView rows{data.features.row(begin).data(), size, data.names.size()};
    const std::span labels = std::span(data.labels).subspan(begin, size);
    if (begin > 0) {
      judge(one_metrics, one, rows, labels);
      const std::array<const Model*, kPartitions> all = {&parts[0], &parts[1], &parts[2], &parts[3]};
      judge(merged_metrics, Model::merge(all).value(), rows, labels);
    }
    one.learn_batch(rows, labels);
    for (size_t i = 0; i < size; ++i)
      parts[partition_of(begin + i)].learn_batch(internal::one_row(data.features, begin + i), labels.subspan(i, 1));
  }
  return {one_metrics.total(), merged_metrics.total()};
}

size_t in_turn(size_t row) { return row % kPartitions; }

// The figures, for whoever brings docs/parity.md up to date.
void record(const Parity& parity) {
  const auto property = [](const char* name, double value) {
    testing::Test::RecordProperty(name, std::to_string(value));
  };
  property("one_loss", parity.one.loss());
  property("merged_loss", parity.merged.loss());
  property("one_auc", parity.one.auc);
  property("merged_auc", parity.merged.auc);
}

ModelSpec spec_of(const LabelledRows& data, std::string algorithm, Params params = {}, Scale scale = Scale::kStandard) {
  ModelSpec spec{std::move(algorithm), std::move(params), {}};
  for (const std::string& name : data.names) spec.features.push_back({name, scale, false});
  return spec;
}

struct Case {
  std::string name;
  std::string algorithm;
  Params params;
  Scale scale;
  double loss_ratio_max;
};

class MergeOnElec2 : public testing::TestWithParam<Case> {};

TEST_P(MergeOnElec2, CostsAtMostThisAgainstOneLearner) {
  constexpr std::string_view kFile = "streaming_ml/elec2/electricity.csv.gz";
  MILLRACE_REQUIRE_DATASET(kFile);
  const LabelledRows data = internal::read_dataset(internal::dataset_path(kFile), "class", "UP");
  const Case& c = GetParam();
  const Parity parity = measure(data, spec_of(data, c.algorithm, c.params, c.scale), 1000, in_turn);
  record(parity);
  EXPECT_LE(parity.loss_ratio(), c.loss_ratio_max);
}

INSTANTIATE_TEST_SUITE_P(
    All, MergeOnElec2,
    testing::Values(Case{"logistic_sgd", "logistic_regression", {}, Scale::kStandard, 0.95},
                    Case{"logistic_adagrad", "logistic_regression", {{"optimizer", "adagrad"}}, Scale::kStandard, 1.01},
                    Case{"naive_bayes", "gaussian_naive_bayes", {}, Scale::kNone, 1 + 1e-9},
                    Case{"naive_bayes_scaled", "gaussian_naive_bayes", {}, Scale::kStandard, 1.03}),
    [](const auto& info) { return info.param.name; });

class MergeOnPhishing : public testing::TestWithParam<Case> {};

// Few rows: each partition's learner is a quarter as far as the one, and so is their average.
TEST_P(MergeOnPhishing, CostsAtMostThisAgainstOneLearner) {
  constexpr std::string_view kFile = "streaming_ml/phishing/phishing.csv";
  MILLRACE_REQUIRE_DATASET(kFile);
  const LabelledRows data = internal::read_dataset(internal::dataset_path(kFile), "is_phishing");
  const Case& c = GetParam();
  const Parity parity = measure(data, spec_of(data, c.algorithm, c.params, c.scale), 50, in_turn);
  record(parity);
  EXPECT_LE(parity.loss_ratio(), c.loss_ratio_max);
}

INSTANTIATE_TEST_SUITE_P(
    All, MergeOnPhishing,
    testing::Values(Case{"logistic_sgd", "logistic_regression", {}, Scale::kStandard, 1.45},
                    Case{"logistic_adagrad", "logistic_regression", {{"optimizer", "adagrad"}}, Scale::kStandard, 1.2}),
    [](const auto& info) { return info.param.name; });

TEST(MergeOnHandbook, PartitionsByCustomerCostAtMostThisAgainstOneLearner) {
  MILLRACE_REQUIRE_DATASET(internal::kHandbookFile);
  const internal::HandbookRows handbook = internal::read_handbook();
  const Parity parity = measure(handbook.data, spec_of(handbook.data, "logistic_regression"), 10'000,
                                [&](size_t row) { return handbook.partitions[row]; });
  record(parity);
  EXPECT_LE(parity.loss_ratio(), 1.03);
  EXPECT_GE(parity.merged.auc, parity.one.auc - 0.01);
}

}  // namespace
}  // namespace millrace::learn
