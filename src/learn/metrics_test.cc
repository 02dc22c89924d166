#include "learn/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/random.h"

namespace millrace::learn {
namespace {

using testing::IsNan;

struct Judged {
  double prediction;
  double label;
};

std::vector<Judged> binary_stream(size_t rows, uint64_t seed, double positives = 0.3) {
  Random random(seed);
  std::vector<Judged> stream;
  for (size_t i = 0; i < rows; ++i) {
    const double label = random.chance(positives) ? 1 : 0;
    // Scores with ties, and near 0 as those of rare events are.
    double score = std::pow(random.uniform(), label == 1 ? 2 : 5);
    if (random.chance(0.3)) score = std::round(score * 8) / 8;
    stream.push_back({score, label});
  }
  return stream;
}

std::vector<Judged> regression_stream(size_t rows, uint64_t seed) {
  Random random(seed);
  std::vector<Judged> stream;
  for (size_t i = 0; i < rows; ++i) {
    const double label = 100 * random.uniform() - 30;
    stream.push_back({label + 10 * random.uniform(), label});
  }
  return stream;
}

void judge(Metrics& metrics, std::span<const Judged> rows) {
  for (const Judged& row : rows) metrics.judge(row.prediction, row.label);
}

// Every pair of a positive and a negative: the definition.
double auc_by_pairs(std::span<const Judged> rows) {
  double pairs = 0;
  double won = 0;
  for (const Judged& positive : rows)
    for (const Judged& negative : rows) {
      if (positive.label != 1 || negative.label != 0) continue;
      ++pairs;
      won += positive.prediction > negative.prediction ? 1 : positive.prediction == negative.prediction ? 0.5 : 0;
    }
  return won / pairs;
}

// Precision at each distinct threshold, weighted by the recall gained there.
double average_precision_by_thresholds(std::span<const Judged> rows) {
  std::map<double, int, std::greater<>> thresholds;
  double positives = 0;
  for (const Judged& row : rows) {
    ++thresholds[row.prediction];
    positives += row.label;
  }
  double result = 0;
  double recall = 0;
  for (const auto& [threshold, _] : thresholds) {
    double hits = 0;
    double all = 0;
    for (const Judged& row : rows)
      if (row.prediction >= threshold) {
        ++all;
        hits += row.label;
      }
    result += (hits / positives - recall) * hits / all;
    recall = hits / positives;
  }
  return result;
}

void expect_binary(const MetricsReport& report, std::span<const Judged> rows) {
  double tp = 0, fp = 0, tn = 0, fn = 0, log_loss = 0, brier = 0;
  for (const auto& [score, label] : rows) {
    (score > 0.5 ? (label == 1 ? tp : fp) : (label == 1 ? fn : tn)) += 1;
    const double p = std::min(std::max(label == 1 ? score : 1 - score, 1e-15), 1 - 1e-15);
    log_loss += -std::log(p);
    brier += (score - label) * (score - label);
  }
  const auto n = static_cast<double>(rows.size());
  EXPECT_EQ(report.rows, rows.size());
  EXPECT_EQ(static_cast<double>(report.true_positives), tp);
  EXPECT_EQ(static_cast<double>(report.false_positives), fp);
  EXPECT_EQ(static_cast<double>(report.true_negatives), tn);
  EXPECT_EQ(static_cast<double>(report.false_negatives), fn);
  EXPECT_NEAR(report.accuracy, (tp + tn) / n, 1e-12);
  EXPECT_NEAR(report.precision, tp / (tp + fp), 1e-12);
  EXPECT_NEAR(report.recall, tp / (tp + fn), 1e-12);
  EXPECT_NEAR(report.f1, 2 * tp / (2 * tp + fp + fn), 1e-12);
  EXPECT_NEAR(report.log_loss, log_loss / n, 1e-12);
  EXPECT_NEAR(report.brier, brier / n, 1e-12);
  EXPECT_NEAR(report.auc, auc_by_pairs(rows), 1e-12);
  EXPECT_EQ(report.auc_error, 0);
  EXPECT_NEAR(report.average_precision, average_precision_by_thresholds(rows), 1e-12);
}

void expect_regression(const MetricsReport& report, std::span<const Judged> rows) {
  const auto n = static_cast<double>(rows.size());
  double mean = 0, absolute = 0, squared = 0, deviation = 0;
  for (const auto& [prediction, label] : rows) {
    mean += label / n;
    absolute += std::fabs(prediction - label);
    squared += (prediction - label) * (prediction - label);
  }
  for (const Judged& row : rows) deviation += (row.label - mean) * (row.label - mean);
  EXPECT_EQ(report.rows, rows.size());
  EXPECT_NEAR(report.mae, absolute / n, 1e-9);
  EXPECT_NEAR(report.rmse, std::sqrt(squared / n), 1e-9);
  EXPECT_NEAR(report.r2, 1 - squared / deviation, 1e-9);
  EXPECT_THAT(report.auc, IsNan());
}

TEST(Metrics, EqualTheirDefinitionsOverEverythingAndOverTheWindow) {
  const auto binary = binary_stream(1000, 1);
  Metrics metrics(Task::kBinary, {.window_rows = 300});
  judge(metrics, binary);
  expect_binary(metrics.total(), binary);
  expect_binary(metrics.window(), std::span(binary).last(300));

  const auto regression = regression_stream(1000, 2);
  Metrics errors(Task::kRegression, {.window_rows = 300});
  judge(errors, regression);
  expect_regression(errors.total(), regression);
  expect_regression(errors.window(), std::span(regression).last(300));
}

TEST(Metrics, OverSeveralPartitionsEqualThoseOfAllTheirRows) {
  for (const Task task : {Task::kBinary, Task::kRegression}) {
    std::vector<Metrics> parts(3, Metrics(task, {.window_rows = 100}));
    std::vector<Judged> all;
    std::vector<Judged> windows;
    for (size_t p = 0; p < 3; ++p) {
      const auto rows = task == Task::kBinary ? binary_stream(100 * p + 50, p) : regression_stream(100 * p + 50, p);
      judge(parts[p], rows);
      all.insert(all.end(), rows.begin(), rows.end());
      windows.insert(windows.end(), rows.end() - static_cast<long>(std::min<size_t>(100, rows.size())), rows.end());
    }
    const std::array<const Metrics*, 3> pointers = {&parts[0], &parts[1], &parts[2]};
    const auto expect = task == Task::kBinary ? expect_binary : expect_regression;
    expect(Metrics::total(pointers), all);
    expect(Metrics::window(pointers), windows);
  }
}

TEST(Metrics, DoNotJudgeRowsWithoutAPrediction) {
  Metrics metrics(Task::kBinary);
  metrics.judge(std::numeric_limits<double>::quiet_NaN(), 1);
  metrics.judge(std::numeric_limits<double>::infinity(), 1);
  metrics.judge(0.9, 1);
  EXPECT_EQ(metrics.total().rows, 1u);
  EXPECT_EQ(metrics.total().unscored, 2u);
}

TEST(Metrics, AreNotANumberOrZeroWhereNothingCanBeComputed) {
  Metrics metrics(Task::kBinary);
  EXPECT_THAT(metrics.total().accuracy, IsNan());
  EXPECT_EQ(metrics.window().rows, 0u);
  metrics.judge(0.2, 0);
  EXPECT_EQ(metrics.total().precision, 0);
  EXPECT_THAT(metrics.total().auc, IsNan());
  std::string json;
  JsonWriter writer(json);
  metrics.total().write_json(writer);
  EXPECT_THAT(json, testing::HasSubstr(R"("accuracy":1,)"));
  EXPECT_THAT(json, testing::HasSubstr(R"("auc":null,)"));
}

TEST(Metrics, BeyondTheExactRowsGiveAnAucWithinItsErrorBound) {
  // 2^16 rows more than exact_rows are kept before the oldest are counted in bins.
  const auto rows = binary_stream(150'000, 3, 0.02);
  Metrics exact(Task::kBinary);
  Metrics binned(Task::kBinary, {.window_rows = 500, .exact_rows = 1000});
  judge(exact, rows);
  judge(binned, rows);
  const MetricsReport expected = exact.total();
  const MetricsReport report = binned.total();
  EXPECT_EQ(expected.auc_error, 0);
  EXPECT_GT(report.auc_error, 0);
  EXPECT_LT(report.auc_error, 0.1);
  EXPECT_NEAR(report.auc, expected.auc, report.auc_error);
  EXPECT_NEAR(report.auc, expected.auc, 1e-4);
  EXPECT_EQ(report.log_loss, expected.log_loss);
  expect_binary(binned.window(), std::span(rows).last(500));
}

TEST(ScoreBins, GrowWithTheScoreAndAreAsFineNearOneAsNearZero) {
  using internal::ScoreBins;
  EXPECT_EQ(ScoreBins::bin_of(0), 0u);
  EXPECT_EQ(ScoreBins::bin_of(1), ScoreBins::kBins - 1);
  EXPECT_EQ(ScoreBins::bin_of(0.5), ScoreBins::kBins / 2);
  EXPECT_EQ(ScoreBins::bin_of(1e-300), 0u);
  size_t last = 0;
  for (double x = 1e-25; x < 0.5; x *= 1.0005) {
    EXPECT_GE(ScoreBins::bin_of(x), last);
    last = ScoreBins::bin_of(x);
    EXPECT_LT(last, ScoreBins::kBins / 2);
  }
  EXPECT_NE(ScoreBins::bin_of(1e-6), ScoreBins::bin_of(1.01e-6));
  EXPECT_NE(ScoreBins::bin_of(1 - 1e-6), ScoreBins::bin_of(1 - 1.01e-6));
}

// A changelog: the newest page of each number.
struct Store {
  std::map<uint32_t, Bytes> pages;

  void apply(std::vector<StatePage> changed) {
    for (StatePage& page : changed) {
      EXPECT_LE(page.bytes.size(), kStatePageBytesMax);
      if (page.bytes.empty())
        EXPECT_EQ(pages.erase(page.number), 1u) << "a tombstone for a page that was never written";
      else
        pages[page.number] = std::move(page.bytes);
    }
  }
  std::vector<StatePage> all() const {
    std::vector<StatePage> all;
    all.reserve(pages.size());
    for (const auto& [number, bytes] : pages) all.push_back({number, bytes});
    return all;
  }
};

TEST(MetricsPages, ThatChangedRebuildTheWholeAtAnyMoment) {
  for (const Task task : {Task::kBinary, Task::kRegression})
    for (const bool ranking : {true, false}) {
      const MetricsOptions options{.window_rows = 3000, .ranking = ranking, .exact_rows = 5000};
      Random random(17);
      const auto rows = task == Task::kBinary ? binary_stream(160'000, 4) : regression_stream(160'000, 4);
      Metrics metrics(task, options);
      Store store;
      for (size_t begin = 0; begin < rows.size();) {
        // Now and then, go on with what was written.
        if (random.chance(0.3))
          metrics = Metrics::restore(store.all().empty() ? metrics.all_pages() : store.all()).value();
        const size_t size = std::min<size_t>(random.below(random.chance(0.1) ? 80'000 : 5000), rows.size() - begin);
        judge(metrics, std::span(rows).subspan(begin, size));
        begin += size;
        store.apply(metrics.take_changed_pages());
        EXPECT_TRUE(metrics.take_changed_pages().empty());
        if (!random.chance(0.2)) continue;
        Store whole;
        whole.apply(metrics.all_pages());
        EXPECT_EQ(store.pages, whole.pages);
      }
      Metrics uninterrupted(task, options);
      judge(uninterrupted, rows);
      Store expected;
      expected.apply(uninterrupted.all_pages());
      EXPECT_EQ(store.pages, expected.pages);
      EXPECT_EQ(metrics.total().loss(), uninterrupted.total().loss());
      if (task == Task::kBinary && ranking) EXPECT_EQ(metrics.total().auc, uninterrupted.total().auc);
    }
}

TEST(MetricsPages, WriteLittleWhenLittleHappened) {
  Metrics metrics(Task::kBinary);
  judge(metrics, binary_stream(100'000, 5));
  EXPECT_GT(metrics.take_changed_pages().size(), 40u);
  judge(metrics, binary_stream(1, 6));
  EXPECT_EQ(metrics.take_changed_pages().size(), 2u);
}

TEST(MetricsPages, MissingOrDamagedAreAnErrorAndNoCrash) {
  Metrics metrics(Task::kBinary, {.window_rows = 100, .exact_rows = 100});
  judge(metrics, binary_stream(70'000, 7));
  const std::vector<StatePage> pages = metrics.all_pages();
  ASSERT_TRUE(Metrics::restore(pages));
  for (size_t i = 0; i < pages.size(); ++i) {
    std::vector<StatePage> fewer = pages;
    fewer.erase(fewer.begin() + static_cast<long>(i));
    EXPECT_EQ(Metrics::restore(fewer).error().code, Errc::kCorruption);
  }
  Random random(23);
  for (int i = 0; i < 2000; ++i) {
    std::vector<StatePage> damaged = pages;
    Bytes& bytes = damaged[random.below(pages.size())].bytes;
    if (random.chance(0.5))
      bytes.resize(1 + random.below(bytes.size() - 1));
    else
      bytes[random.below(bytes.size())] ^= static_cast<std::byte>(1 << random.below(8));
    EXPECT_FALSE(Metrics::restore(damaged));
  }
}

TEST(Promotion, NeedsAThousandJudgedRowsAndASmallerLossThanTheBaseline) {
  MetricsReport learner;
  MetricsReport prior;
  learner.rows = prior.rows = 1000;
  learner.log_loss = 0.4;
  prior.log_loss = 0.5;
  EXPECT_TRUE(beats_baseline(learner, prior));
  learner.rows = 999;
  EXPECT_FALSE(beats_baseline(learner, prior));
  learner.rows = 1000;
  learner.log_loss = 0.5;
  EXPECT_FALSE(beats_baseline(learner, prior));
  learner.log_loss = MetricsReport::kNone;
  EXPECT_FALSE(beats_baseline(learner, prior));
}

}  // namespace
}  // namespace millrace::learn
