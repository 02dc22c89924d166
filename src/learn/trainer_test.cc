#include "learn/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/random.h"
#include "learn/internal/delayed_labels.h"

namespace millrace::learn {
namespace {

struct Stream {
  FeatureMatrix rows{2};
  std::vector<double> labels;

  explicit Stream(size_t size, uint64_t seed = 1) {
    Random random(seed);
    for (size_t i = 0; i < size; ++i) {
      const std::vector<double> row = {random.uniform(), 10 * random.uniform()};
      rows.append(row);
      labels.push_back(random.chance(row[0]) ? 1 : 0);
    }
  }
};

ModelSpec spec() {
  return {"logistic_regression", {}, {{"a", Scale::kStandard, false}, {"b", Scale::kStandard, false}}};
}

TEST(Trainer, GivesTheSameResultsHoweverBatchesAreCutAndLabelsCarriedOver) {
  const Stream stream(1000);
  for (const size_t delay : {0u, 1u, 50u, 2000u}) {
    Trainer whole = Trainer::make(spec()).value();
    internal::run_with_delay(whole, stream.rows, stream.labels, delay, 1000);
    for (const size_t batch : {1u, 13u, 256u}) {
      Trainer cut = Trainer::make(spec()).value();
      internal::run_with_delay(cut, stream.rows, stream.labels, delay, batch);
      EXPECT_EQ(cut.serialize(), whole.serialize()) << delay << " " << batch;
    }
  }
}

TEST(Trainer, JudgesByThePredictionMadeAtEventTimeNotByALaterOne) {
  const Stream stream(3);
  Trainer trainer = Trainer::make(spec()).value();
  std::vector<Prediction> predictions(3);
  trainer.run(stream.rows.view(), std::array{Op::predict(0), Op::learn(0, 1), Op::predict(1)}, predictions);
  EXPECT_EQ(predictions[0].score, 0.5);
  EXPECT_TRUE(std::isnan(predictions[0].prior));
  EXPECT_TRUE(std::isnan(predictions[0].last));
  EXPECT_EQ(predictions[1].prior, 1);
  EXPECT_EQ(predictions[1].last, 1);

  // A row that waited brings its own prediction, whatever the learner would say now.
  predictions[2] = {.score = 0.125, .prior = 0.5, .last = 0};
  const double log_loss_before = trainer.metrics().total().log_loss;
  trainer.run(stream.rows.view(), std::array{Op::learn(2, 0)}, predictions);
  EXPECT_NEAR(trainer.metrics().total().log_loss, (log_loss_before - std::log(0.875)) / 2, 1e-12);
  EXPECT_EQ(trainer.prior_metrics().total().rows, 1u);
  EXPECT_EQ(trainer.prior_metrics().total().unscored, 1u);
  EXPECT_EQ(trainer.last_metrics().total().true_negatives, 1u);
}

TEST(Trainer, IsCopiedWholeAndLaterRowsDoNotChangeTheCopy) {
  const Stream stream(100);
  std::vector<Op> ops;
  for (size_t i = 0; i < 100; ++i) {
    ops.push_back(Op::predict(i));
    ops.push_back(Op::learn(i, stream.labels[i]));
  }
  Trainer trainer = Trainer::make(spec()).value();
  std::vector<Prediction> predictions(100);
  trainer.run(stream.rows.view(), std::span(ops).first(100), predictions);
  Trainer copy = trainer;
  const Bytes half = trainer.serialize();
  trainer.run(stream.rows.view(), std::span(ops).subspan(100), predictions);
  EXPECT_EQ(copy.serialize(), half);
  EXPECT_EQ(copy.metrics().rows(), 50u);
  EXPECT_EQ(trainer.metrics().rows(), 100u);
  copy.run(stream.rows.view(), std::span(ops).subspan(100), predictions);
  EXPECT_EQ(copy.serialize(), trainer.serialize());
}

TEST(TrainerPages, ThatChangedRebuildTheWholeAtAnyMoment) {
  Random random(5);
  Trainer uninterrupted = Trainer::make(spec()).value();
  Trainer trainer = uninterrupted;
  std::map<uint32_t, Bytes> store;
  for (int round = 0; round < 100; ++round) {
    const Stream stream(random.below(200), random.next());
    internal::run_with_delay(uninterrupted, stream.rows, stream.labels, 0, 1000);
    internal::run_with_delay(trainer, stream.rows, stream.labels, 0, 1000);
    for (StatePage& page : trainer.take_changed_pages()) {
      EXPECT_LE(page.bytes.size(), kStatePageBytesMax);
      if (page.bytes.empty())
        store.erase(page.number);
      else
        store[page.number] = std::move(page.bytes);
    }
    EXPECT_TRUE(trainer.take_changed_pages().empty());
    if (!random.chance(0.3)) continue;
    std::vector<StatePage> pages;
    for (const auto& [number, bytes] : store) pages.push_back({number, bytes});
    trainer = Trainer::restore(spec(), pages).value();
    EXPECT_EQ(trainer.serialize(), uninterrupted.serialize());
  }
}

TEST(TrainerPages, OfAModelWithManyFeaturesStaySmall) {
  ModelSpec wide{"gaussian_naive_bayes", {}, {}};
  for (int j = 0; j < 5000; ++j) wide.features.push_back({"feature_" + std::to_string(j), Scale::kStandard, false});
  Trainer trainer = Trainer::make(wide).value();
  const auto pages = trainer.take_changed_pages();
  EXPECT_GT(pages.size(), 5u);
  for (const StatePage& page : pages) EXPECT_LE(page.bytes.size(), kStatePageBytesMax);
  EXPECT_EQ(Trainer::restore(wide, pages)->serialize(), trainer.serialize());
}

TEST(TrainerPages, OfAnotherSpecAreRefused) {
  const Trainer trainer = Trainer::make(spec()).value();
  ModelSpec other = spec();
  other.params["learning_rate"] = 0.5;
  EXPECT_EQ(Trainer::restore(other, trainer.all_pages()).error().code, Errc::kConflict);
}

TEST(TrainerBytes, CutShortOrFlippedAreAnErrorAndNoCrash) {
  const Stream stream(30);
  Trainer trainer = Trainer::make(spec()).value();
  internal::run_with_delay(trainer, stream.rows, stream.labels, 0, 30);
  const Bytes bytes = trainer.serialize();
  EXPECT_EQ(Trainer::deserialize(bytes)->serialize(), bytes);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(Trainer::deserialize(ByteView(bytes).first(size))) << size;
  for (size_t i = 0; i < bytes.size(); ++i) {
    Bytes flipped = bytes;
    flipped[i] ^= std::byte{0x41};
    EXPECT_FALSE(Trainer::deserialize(flipped)) << i;
  }
}

TEST(Round, HasTheMergedModelAndTheMetricsOfAllPartitions) {
  std::vector<Trainer> parts(2, Trainer::make(spec()).value());
  for (uint64_t p = 0; p < 2; ++p) {
    const Stream stream(2000, 100 + p);
    internal::run_with_delay(parts[p], stream.rows, stream.labels, 10, 500);
  }
  const Round round = merge_round(std::array<const Trainer*, 2>{&parts[0], &parts[1]}).value();
  EXPECT_EQ(round.model.rows_learned(), 4000u);
  EXPECT_EQ(round.learner.rows, 4000u);
  EXPECT_EQ(round.prior.unscored, 22u);  // those that came before the first label was learned
  EXPECT_GT(round.learner.auc, 0.6);
  EXPECT_TRUE(beats_baseline(round.learner, round.prior));
}

}  // namespace
}  // namespace millrace::learn
