#include "learn/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace millrace::learn {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

double normal(Random& random) {
  return std::sqrt(-2 * std::log(1 - random.uniform())) * std::cos(6.283185307179586 * random.uniform());
}

// Three features on different scales, some values missing or infinite; labels that depend on the features.
struct Stream {
  FeatureMatrix rows{3};
  std::vector<double> labels;

  Stream(Task task, size_t size, uint64_t seed, double shift = 0, double missing = 0.05) {
    Random random(seed);
    for (size_t i = 0; i < size; ++i) {
      std::vector<double> row = {normal(random) + shift, 1000 + 50 * normal(random), 0.01 * normal(random)};
      const double margin = row[0] - shift - (row[1] - 1000) / 50 + 100 * row[2] + normal(random);
      labels.push_back(task == Task::kBinary ? (margin > 0.5 ? 1 : 0) : margin + 10);
      for (double& value : row)
        if (random.chance(missing)) value = random.chance(0.5) ? kMissing : -std::numeric_limits<double>::infinity();
      rows.append(row);
    }
  }
};

struct Case {
  std::string name;
  ModelSpec spec;
};

std::vector<FeatureSpec> features(Scale scale, bool indicator) {
  return {{"a", scale, indicator}, {"b", scale, false}, {"c", scale, indicator}};
}

std::vector<Case> cases() {
  const auto scaled = features(Scale::kStandard, true);
  return {
      {"linear_sgd", {"linear_regression", {}, scaled}},
      {"linear_adagrad_l2", {"linear_regression", {{"optimizer", "adagrad"}, {"l2", 0.001}}, scaled}},
      {"logistic_sgd", {"logistic_regression", {}, scaled}},
      {"logistic_sgd_l1", {"logistic_regression", {{"l1", 0.01}}, features(Scale::kStandard, false)}},
      {"logistic_adagrad", {"logistic_regression", {{"optimizer", "adagrad"}}, features(Scale::kNone, false)}},
      {"gaussian_naive_bayes", {"gaussian_naive_bayes", {}, features(Scale::kNone, true)}},
      {"majority_class", {"majority_class", {}, scaled}},
      {"last_class", {"last_class", {}, scaled}},
      {"mean", {"mean", {}, scaled}},
  };
}

class EveryLearner : public testing::TestWithParam<Case> {
 protected:
  Model model_ = Model::make(GetParam().spec).value();
  Stream stream_{model_.task(), 500, 7};

  // Predicts each row from `begin` to `end`, then learns it.
  std::vector<double> run(Model& model, size_t begin, size_t end) {
    std::vector<double> scores;
    std::vector<double> scratch(model.inputs());
    for (; begin < end; ++begin) {
      const double* row = stream_.rows.row(begin).data();
      scores.push_back(model.predict_row(row, scratch));
      model.learn_row(row, stream_.labels[begin], scratch);
    }
    return scores;
  }
  // Learns all rows, then predicts them, in batches of at most `batch` rows.
  std::vector<double> run_in_batches(Model& model, size_t batch) {
    const size_t rows = stream_.labels.size();
    std::vector<double> scores(rows);
    const auto view = [&](size_t begin) {
      return MatrixView{stream_.rows.row(begin).data(), std::min(batch, rows - begin), 3};
    };
    for (size_t begin = 0; begin < rows; begin += batch)
      model.learn_batch(view(begin), std::span(stream_.labels).subspan(begin));
    for (size_t begin = 0; begin < rows; begin += batch)
      model.predict_batch(view(begin), std::span(scores).subspan(begin));
    return scores;
  }
};

MATCHER_P(SameBits, expected, "") {
  if (arg.size() != expected.size()) return false;
  for (size_t i = 0; i < arg.size(); ++i)
    if (std::bit_cast<uint64_t>(arg[i]) != std::bit_cast<uint64_t>(expected[i])) return false;
  return true;
}

TEST_P(EveryLearner, GivesTheSameScoresAndStateHoweverBatchesAreCut) {
  Model whole = model_;
  const auto expected = run_in_batches(whole, 500);
  for (const size_t batch : {1u, 7u, 64u}) {
    Model cut = model_;
    EXPECT_THAT(run_in_batches(cut, batch), SameBits(expected)) << batch;
    EXPECT_EQ(cut.serialize(), whole.serialize()) << batch;
  }
}

TEST_P(EveryLearner, SavedAndRestoredInTheMiddleGoesOnAsIfUninterrupted) {
  Model uninterrupted = model_;
  const auto expected = run(uninterrupted, 0, 500);
  Model first = model_;
  run(first, 0, 250);
  Model second = Model::deserialize(first.serialize()).value();
  EXPECT_EQ(second.spec(), first.spec());
  const auto rest = run(second, 250, 500);
  EXPECT_THAT(rest, SameBits(std::vector<double>(expected.begin() + 250, expected.end())));
  EXPECT_EQ(second.serialize(), uninterrupted.serialize());
}

TEST_P(EveryLearner, PredictsOnlyFiniteNumbersOnceItHasLearned) {
  for (const double score : run(model_, 0, 500))
    if (model_.task() == Task::kBinary && !std::isnan(score)) {
      EXPECT_GE(score, 0);
      EXPECT_LE(score, 1);
    }
  std::vector<double> scores(500);
  model_.predict_batch(stream_.rows.view(), scores);
  for (const double score : scores) EXPECT_TRUE(std::isfinite(score));
}

TEST_P(EveryLearner, NeverLearnsFromPredicting) {
  run(model_, 0, 100);
  const Bytes before = model_.serialize();
  std::vector<double> scores(500);
  model_.predict_batch(stream_.rows.view(), scores);
  EXPECT_EQ(model_.serialize(), before);
}

TEST_P(EveryLearner, MergedWithPartsThatLearnedNothingStaysAsItIs) {
  const Model empty = model_;
  run(model_, 0, 500);
  const Model merged = Model::merge(std::array<const Model*, 3>{&empty, &model_, &empty}).value();
  std::vector<double> expected(500);
  std::vector<double> scores(500);
  model_.predict_batch(stream_.rows.view(), expected);
  merged.predict_batch(stream_.rows.view(), scores);
  for (size_t i = 0; i < 500; ++i) EXPECT_NEAR(scores[i], expected[i], 1e-9);
  EXPECT_EQ(merged.rows_learned(), 500u);
}

TEST_P(EveryLearner, BytesCutShortOrFlippedAreAnErrorAndNoCrash) {
  run(model_, 0, 100);
  const Bytes bytes = model_.serialize();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(Model::deserialize(ByteView(bytes).first(size))) << size;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(Model::deserialize(flipped)) << bit;
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryLearner, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Model, SpreadsALinearScoreOverTheFeatures) {
  const Stream stream(Task::kRegression, 300, 5);
  Model model = Model::make({"linear_regression", {}, features(Scale::kStandard, true)}).value();
  model.learn_batch(stream.rows.view(), stream.labels);
  for (size_t i = 0; i < 50; ++i) {
    const auto explanation = model.explain(stream.rows.row(i)).value();
    double sum = explanation.base;
    for (const double contribution : explanation.contributions) sum += contribution;
    std::vector<double> score(1);
    model.predict_batch({stream.rows.row(i).data(), 1, 3}, score);
    EXPECT_NEAR(sum, score[0], 1e-9);
    EXPECT_EQ(explanation.contributions.size(), 3u);
  }
}

TEST(Model, PenaltiesDrawWeightsToZero) {
  const Stream stream(Task::kBinary, 2000, 9, 0, 0);
  const auto largest_contribution = [&](Params params) {
    Model model = Model::make({"logistic_regression", std::move(params), features(Scale::kStandard, false)}).value();
    model.learn_batch(stream.rows.view(), stream.labels);
    const Model::Explanation explanation = model.explain(stream.rows.row(0)).value();
    double largest = 0;
    for (const double c : explanation.contributions) largest = std::max(largest, std::fabs(c));
    return largest;
  };
  const double free = largest_contribution({});
  EXPECT_LT(largest_contribution({{"l2", 1.0}}), 0.5 * free);
  EXPECT_EQ(largest_contribution({{"l1", 1.0}}), 0);
}

TEST(Preprocessor, ScalesByMeanAndPopulationDeviationOfWhatItLearned) {
  Preprocessor preprocessor(std::array{FeatureSpec{"x", Scale::kStandard, false}});
  // Scaling these by all of them gives (x - 5) / 2.
  for (const double x : {2, 4, 4, 4, 5, 5, 7, 9}) preprocessor.learn(&x);
  EXPECT_NEAR(preprocessor.means()[0], 5, 1e-12);
  EXPECT_NEAR(preprocessor.variances()[0], 4, 1e-12);
  for (const auto& [x, scaled] : {std::pair{2.0, -1.5}, {5.0, 0.0}, {9.0, 2.0}}) {
    double out;
    preprocessor.transform(&x, &out);
    EXPECT_NEAR(out, scaled, 1e-12);
  }
}

TEST(Preprocessor, MakesAConstantFeatureZero) {
  Preprocessor preprocessor(std::array{FeatureSpec{"x", Scale::kStandard, false}});
  double out = -1;
  const double seven = 7;
  preprocessor.transform(&seven, &out);
  EXPECT_EQ(out, 0);
  preprocessor.learn(&seven);
  preprocessor.learn(&seven);
  const double eight = 8;
  preprocessor.transform(&eight, &out);
  EXPECT_EQ(out, 0);
}

TEST(Preprocessor, FillsWhatIsMissingWithTheMeanCountsItAndMarksIt) {
  Preprocessor preprocessor(
      std::array{FeatureSpec{"scaled", Scale::kStandard, true}, FeatureSpec{"raw", Scale::kNone, true}});
  for (const auto& row : {std::array{1.0, 10.0}, {3.0, 30.0}, {kMissing, HUGE_VAL}, {kMissing, 50.0}})
    preprocessor.learn(row.data());
  EXPECT_EQ(preprocessor.rows(), 4u);
  EXPECT_THAT(preprocessor.missing(), ElementsAre(2, 1));
  EXPECT_THAT(preprocessor.means(), ElementsAre(DoubleNear(2, 1e-12), DoubleNear(30, 1e-12)));
  std::array<double, 4> out{};
  preprocessor.transform(std::array{kMissing, kMissing}.data(), out.data());
  EXPECT_THAT(out, ElementsAre(0, DoubleNear(30, 1e-12), 1, 1));
  preprocessor.transform(std::array{3.0, -HUGE_VAL}.data(), out.data());
  EXPECT_THAT(out, ElementsAre(DoubleNear(1, 1e-12), DoubleNear(30, 1e-12), 0, 1));
}

TEST(Preprocessor, MergedFromPartsEqualsOneThatLearnedAll) {
  Random random(11);
  SCOPED_TRACE("seed 11");
  const auto specs = features(Scale::kStandard, false);
  Preprocessor one(specs);
  std::vector<Preprocessor> parts(4, Preprocessor(specs));
  const Stream stream(Task::kBinary, 1000, 12);
  for (size_t i = 0; i < 1000; ++i) {
    one.learn(stream.rows.row(i).data());
    parts[random.below(3)].learn(stream.rows.row(i).data());  // the fourth stays empty
  }
  Preprocessor merged(specs);
  merged.merge(std::array<const Preprocessor*, 4>{&parts[0], &parts[1], &parts[2], &parts[3]});
  EXPECT_EQ(merged.rows(), one.rows());
  for (size_t j = 0; j < 3; ++j) {
    EXPECT_EQ(merged.missing()[j], one.missing()[j]);
    EXPECT_NEAR(merged.means()[j], one.means()[j], 1e-9 * std::fabs(one.means()[j]) + 1e-12);
    EXPECT_NEAR(merged.variances()[j], one.variances()[j], 1e-9 * one.variances()[j]);
  }
}

TEST(Preprocessor, MergedFromPartsInWhichAFeatureIsConstantFindsItConstant) {
  const auto specs = std::array{FeatureSpec{"x", Scale::kStandard, false}};
  Preprocessor merged(specs);
  std::vector<Preprocessor> parts(3, Preprocessor(specs));
  const double value = 0.003467;  // times its share and added up, it is not itself
  for (size_t i = 0; i < 71; ++i) parts[i % 7 % 3].learn(&value);
  merged.merge(std::array<const Preprocessor*, 3>{&parts[0], &parts[1], &parts[2]});
  EXPECT_EQ(merged.means()[0], value);
  EXPECT_EQ(merged.variances()[0], 0);
}

// The state of `model` after learning the rows that `part` gives it.
std::vector<Model> learn_in_parts(const Model& model, const Stream& stream, size_t parts) {
  std::vector<Model> models(parts, model);
  for (size_t i = 0; i < stream.labels.size(); ++i)
    models[i % parts].learn_batch({stream.rows.row(i).data(), 1, 3}, std::span(&stream.labels[i], 1));
  return models;
}

TEST(Merge, OfNaiveBayesEqualsOneThatLearnedAll) {
  const Stream stream(Task::kBinary, 1000, 13, 0, 0);
  Model one = Model::make({"gaussian_naive_bayes", {}, features(Scale::kNone, false)}).value();
  const auto parts = learn_in_parts(one, stream, 3);
  one.learn_batch(stream.rows.view(), stream.labels);
  const Model merged = Model::merge(std::array<const Model*, 3>{&parts[0], &parts[1], &parts[2]}).value();
  std::vector<double> expected(1000);
  std::vector<double> scores(1000);
  one.predict_batch(stream.rows.view(), expected);
  merged.predict_batch(stream.rows.view(), scores);
  for (size_t i = 0; i < 1000; ++i) EXPECT_NEAR(scores[i], expected[i], 1e-9);
}

// Each partition scales its own way; what their models say of raw features is the same, and must survive the merge.
TEST(Merge, OfLinearModelsIsTheirAverageInRawFeatures) {
  for (const char* optimizer : {"sgd", "adagrad"}) {
    const ModelSpec spec{"linear_regression", {{"optimizer", optimizer}}, features(Scale::kStandard, false)};
    const Stream left(Task::kRegression, 4000, 14, 0, 0);
    const Stream right(Task::kRegression, 4000, 15, 100, 0);
    Model a = Model::make(spec).value();
    Model b = Model::make(spec).value();
    a.learn_batch(left.rows.view(), left.labels);
    b.learn_batch(right.rows.view(), right.labels);
    const Model merged = Model::merge(std::array<const Model*, 2>{&a, &b}).value();
    EXPECT_EQ(merged.rows_learned(), 8000u);
    const auto score = [](const Model& model, std::span<const double> row) {
      double result;
      model.predict_batch({row.data(), 1, 3}, std::span(&result, 1));
      return result;
    };
    for (size_t i = 0; i < 20; ++i) {
      const auto row = left.rows.row(i);
      const double expected = (score(a, row) + score(b, row)) / 2;
      if (std::string_view(optimizer) == "sgd") {
        EXPECT_NEAR(score(merged, row), expected, 1e-6);
      } else {
        EXPECT_TRUE(std::isfinite(score(merged, row)));
      }
    }
  }
}

TEST(Merge, OfDifferentModelsIsRefused) {
  const Model a = Model::make({"mean", {}, features(Scale::kNone, false)}).value();
  const Model b = Model::make({"mean", {}, features(Scale::kStandard, false)}).value();
  EXPECT_EQ(Model::merge(std::array{&a, &b}).error().code, Errc::kInvalidArgument);
}

TEST(ModelBytes, OfANewerFormatAreRefusedAsSuch) {
  Bytes bytes = Model::make({"mean", {}, features(Scale::kNone, false)})->serialize();
  bytes[5] = std::byte{2};
  EXPECT_EQ(Model::deserialize(bytes).error().code, Errc::kUnsupported);
}

}  // namespace
}  // namespace millrace::learn
