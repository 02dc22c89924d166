#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <deque>
#include <unordered_map>

#include "learn/internal/delayed_labels.h"
#include "learn/internal/test_data.h"
#include "learn/trainer.h"

// Learners against published numbers and against ones computed once by independent code; where from:
// docs/manual/learners.md.
namespace millrace::learn {
namespace {

using internal::dataset_path;
using internal::LabelledRows;
using internal::read_dataset;

ModelSpec spec_of(const LabelledRows& data, std::string algorithm, Params params = {}, Scale scale = Scale::kStandard) {
  ModelSpec spec{std::move(algorithm), std::move(params), {}};
  for (const std::string& name : data.names) spec.features.push_back({name, scale, false});
  return spec;
}

Trainer run(const LabelledRows& data, const ModelSpec& spec, size_t delay_rows = 0) {
  Trainer trainer = Trainer::make(spec).value();
  internal::run_with_delay(trainer, data.features, data.labels, delay_rows, 100);
  return trainer;
}

class Phishing : public testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_REQUIRE_DATASET("streaming_ml/phishing/phishing.csv");
    data_ = read_dataset(dataset_path("streaming_ml/phishing/phishing.csv"), "is_phishing");
    ASSERT_EQ(data_.labels.size(), 1250u);
  }
  MetricsReport logistic(Params params) {
    return run(data_, spec_of(data_, "logistic_regression", std::move(params))).metrics().total();
  }
  LabelledRows data_;
};

TEST_F(Phishing, LogisticRegressionWithSgdGivesThePublishedAccuracy) {
  const MetricsReport report = logistic({});
  EXPECT_EQ(report.true_positives + report.true_negatives, 1116u);  // 89.28 %
  EXPECT_NEAR(report.f1, 0.879713, 5e-7);
  EXPECT_NEAR(report.log_loss, 0.330112, 5e-7);
  EXPECT_NEAR(report.auc, 0.953350, 5e-7);
}

TEST_F(Phishing, LogisticRegressionWithHalfTheRateGivesThePublishedAccuracy) {
  const MetricsReport report = logistic({{"learning_rate", 0.005}});
  EXPECT_NEAR(report.accuracy, 0.8872, 5e-7);
  EXPECT_NEAR(report.f1, 0.871233, 5e-7);
}

TEST_F(Phishing, LogisticRegressionWithOneRateForAllEqualsScikitLearns) {
  const MetricsReport report = logistic({{"learning_rate", 0.005}, {"intercept_lr", 0.005}});
  EXPECT_NEAR(report.accuracy, 0.8896, 5e-7);
  EXPECT_NEAR(report.f1, 0.876122, 5e-7);
}

TEST_F(Phishing, LogisticRegressionWithAdaGradGivesThePublishedF1) {
  EXPECT_NEAR(logistic({{"optimizer", "adagrad"}}).f1, 0.880143, 5e-7);
}

TEST_F(Phishing, GaussianNaiveBayesGivesThePublishedAccuracy) {
  const MetricsReport report = run(data_, spec_of(data_, "gaussian_naive_bayes", {}, Scale::kNone)).metrics().total();
  EXPECT_EQ(report.rows, 1249u);  // the first row finds nothing to predict from
  EXPECT_EQ(report.unscored, 1u);
  EXPECT_EQ(report.true_positives + report.true_negatives, 1105u);
  EXPECT_NEAR(report.f1, 0.871429, 5e-7);
}

TEST_F(Phishing, LastClassGivesThePublishedAccuracy) {
  const Trainer trainer = run(data_, spec_of(data_, "last_class"));
  EXPECT_NEAR(trainer.metrics().total().accuracy, 0.515612, 5e-7);
  EXPECT_EQ(trainer.last_metrics().total().accuracy, trainer.metrics().total().accuracy);
}

class TrumpApproval : public testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_REQUIRE_DATASET("streaming_ml/trump_approval/trump_approval.csv");
    data_ = read_dataset(dataset_path("streaming_ml/trump_approval/trump_approval.csv"), "five_thirty_eight");
    ASSERT_EQ(data_.labels.size(), 1001u);
  }
  LabelledRows data_;
};

TEST_F(TrumpApproval, LinearRegressionGivesThePublishedErrors) {
  const MetricsReport report = run(data_, spec_of(data_, "linear_regression")).metrics().total();
  EXPECT_NEAR(report.mae, 1.31455, 5e-6);
  EXPECT_NEAR(report.rmse, 3.91198, 5e-6);
  EXPECT_NEAR(report.r2, -4.23035, 5e-6);
}

TEST_F(TrumpApproval, LinearRegressionWithAFasterInterceptGivesThePublishedErrorAndIntercept) {
  const Trainer trainer = run(data_, spec_of(data_, "linear_regression", {{"intercept_lr", 0.1}}));
  EXPECT_NEAR(trainer.metrics().total().mae, 0.558735, 5e-7);
  EXPECT_NEAR(trainer.model().explain(data_.features.row(0))->base, 35.61767, 5e-6);
}

class Elec2 : public testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_REQUIRE_DATASET("streaming_ml/elec2/electricity.csv.gz");
    data_ = read_dataset(dataset_path("streaming_ml/elec2/electricity.csv.gz"), "class", "UP");
    ASSERT_EQ(data_.labels.size(), 45312u);
  }
  double auc_at_delay(size_t rows) {
    return run(data_, spec_of(data_, "logistic_regression"), rows).metrics().total().auc;
  }
  LabelledRows data_;
};

TEST_F(Elec2, PredictionsAtEventTimeGetWorseTheLaterTheLabelsCome) {
  EXPECT_NEAR(auc_at_delay(0), 0.910744, 5e-7);
  EXPECT_NEAR(auc_at_delay(48), 0.849935, 5e-7);
  EXPECT_NEAR(auc_at_delay(336), 0.836412, 5e-7);
}

TEST_F(Elec2, LastClassGivesThePublishedAccuracyAndBeatsLogisticRegression) {
  const Trainer trainer = run(data_, spec_of(data_, "logistic_regression", {{"learning_rate", 0.005}}));
  EXPECT_NEAR(trainer.last_metrics().total().accuracy, 0.853303, 5e-7);
  EXPECT_NEAR(trainer.metrics().total().accuracy, 0.8221, 5e-5);
}

// The partition that Java's producer gives a key: MurmurHash2 (Appleby 2008), seed 0x9747b28c, sign bit cleared.
uint32_t murmur2_partition(std::string_view key, uint32_t partitions) {
  constexpr uint32_t kM = 0x5bd1e995;
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(key[i])); };
  auto hash = 0x9747b28cu ^ static_cast<uint32_t>(key.size());
  size_t i = 0;
  for (; i + 4 <= key.size(); i += 4) {
    uint32_t word = (byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24) * kM;
    word = (word ^ word >> 24) * kM;
    hash = hash * kM ^ word;
  }
  const size_t rest = key.size() - i;
  if (rest > 2) hash ^= byte(i + 2) << 16;
  if (rest > 1) hash ^= byte(i + 1) << 8;
  if (rest > 0) hash = (hash ^ byte(i)) * kM;
  hash = (hash ^ hash >> 13) * kM;
  return ((hash ^ hash >> 15) & 0x7fffffff) % partitions;
}

// Count, sum and mean of a customer's earlier amounts over 1, 7 and 30 days, in cents, so that sums are exact.
class CustomerHistory {
 public:
  void append_features(int64_t seconds, std::vector<double>& row) const {
    for (const int64_t days : {1, 7, 30}) {
      int64_t count = 0;
      int64_t cents = 0;
      for (auto event = events_.rbegin(); event != events_.rend() && event->first > seconds - days * 86400; ++event) {
        ++count;
        cents += event->second;
      }
      const double sum = static_cast<double>(cents) / 100.0;
      row.insert(row.end(), {static_cast<double>(count), sum, count > 0 ? sum / static_cast<double>(count) : 0.0});
    }
  }
  void add(int64_t seconds, double amount) {
    events_.emplace_back(seconds, static_cast<int64_t>(amount * 100 + 0.5));
    while (events_.front().first <= seconds - 30 * 86400) events_.pop_front();
  }

 private:
  std::deque<std::pair<int64_t, int64_t>> events_;
};

// The job that Kafka Streams, Flink and River were run on, all with this AUC; here without a broker or a pipeline.
TEST(HandbookFraud, FourPartitionsOfScaledLogisticRegressionGiveTheAucOfOtherStreamProcessors) {
  constexpr std::string_view kFile = "fraud/handbook_simulated/transactions_2018-06-15_08-14.csv.gz";
  MILLRACE_REQUIRE_DATASET(kFile);
  ModelSpec spec{"logistic_regression", {}, {}};
  for (const char* name : {"amount", "n1", "s1", "a1", "n7", "s7", "a7", "n30", "s30", "a30"})
    spec.features.push_back({name, Scale::kStandard, false});
  std::vector<Trainer> trainers(4, Trainer::make(spec).value());
  std::unordered_map<std::string, CustomerHistory> histories;
  std::vector<Trainer> cuts;

  const auto lines = internal::read_lines(dataset_path(kFile));
  ASSERT_EQ(lines.size(), 584'472u);
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto cells = split(lines[i], ',');
    const double amount = parse_double(cells[4]).value();
    if (amount <= 0) continue;
    const int64_t seconds = parse_int64(cells[5]).value();
    std::vector<double> row = {amount};
    CustomerHistory& history = histories[std::string(cells[2])];
    history.append_features(seconds, row);
    history.add(seconds, amount);
    const double label = cells[7] == "1" ? 1 : 0;
    Prediction prediction;
    trainers[murmur2_partition(cells[2], 4)].run(
        {row.data(), 1, row.size()}, std::array{Op::predict(0), Op::learn(0, label)}, std::span(&prediction, 1), cuts);
  }

  std::vector<const Metrics*> parts;
  for (const Trainer& trainer : trainers) parts.push_back(&trainer.metrics());
  const MetricsReport report = Metrics::total(parts);
  EXPECT_EQ(report.rows, 584'456u);
  EXPECT_EQ(report.auc_error, 0);
  EXPECT_NEAR(report.auc, 0.6617773304, 5e-11);
}

}  // namespace
}  // namespace millrace::learn
