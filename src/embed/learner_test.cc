#include "millrace/learner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "learn/model.h"

namespace millrace::embed {
namespace {

using testing::HasSubstr;

// Adds up step * input * label; its state is text.
class Summing final : public Learner {
 public:
  explicit Summing(Params params) : params_(std::move(params)) {}

  double predict(std::span<const double> x) const override { return sum_ + x[0]; }
  void learn(std::span<const double> x, double label) override {
    sum_ += std::get<double>(params_["step"]) * x[0] * label;
  }
  std::unique_ptr<Learner> clone() const override { return std::make_unique<Summing>(*this); }
  std::string save() const override { return std::to_string(sum_); }
  Status load(std::string_view state) override {
    if (state.empty()) return Error{Errc::kCorruption, "no sum", "ask for one"};
    sum_ = std::stod(std::string(state));
    return {};
  }

 private:
  Params params_;
  double sum_ = 0;
};

Algorithm summing(std::string name, Task task) {
  return {.name = std::move(name),
          .title = "Summing",
          .doc = "Adds up.",
          .task = task,
          .params = {{.name = "step", .doc = "a factor", .default_value = 1.0},
                     {.name = "mode", .doc = "a word", .default_value = "slow", .choices = {"slow", "fast"}}},
          .make = [](const Params& params, size_t) { return std::make_unique<Summing>(params); }};
}

learn::Model model_of(const std::string& algorithm, learn::Params params = {}) {
  return learn::Model::make({algorithm, std::move(params), {{"x", learn::Scale::kNone, false}}}).value();
}

double predict(const learn::Model& model, double x) {
  std::vector<double> scratch(model.inputs());
  return model.predict_row(&x, scratch);
}

void learn_one(learn::Model& model, double x, double label) {
  std::vector<double> scratch(model.inputs());
  model.learn_row(&x, label, scratch);
}

TEST(OwnLearner, LearnsIsSavedAndGoesOnAsIfNothingHadBeen) {
  register_algorithm(summing("sum_saved", Task::kRegression)).value();
  learn::Model model = model_of("sum_saved", {{"step", int64_t{2}}});
  learn_one(model, 3, 5);
  EXPECT_EQ(predict(model, 1), 31);
  learn::Model restored = learn::Model::deserialize(model.serialize()).value();
  learn_one(model, 1, 1);
  learn_one(restored, 1, 1);
  EXPECT_EQ(predict(restored, 0), 32);
  EXPECT_EQ(restored.serialize(), model.serialize());
}

TEST(OwnLearner, AVersionOfOnePartitionNeedsNoMerge) {
  register_algorithm(summing("sum_merged", Task::kRegression)).value();
  learn::Model model = model_of("sum_merged");
  learn_one(model, 2, 2);
  const std::vector<const learn::Model*> one = {&model};
  EXPECT_EQ(predict(learn::Model::merge(one).value(), 0), 4);
  const std::vector<const learn::Model*> two = {&model, &model};
  const auto merged = learn::Model::merge(two);
  ASSERT_FALSE(merged);
  EXPECT_EQ(merged.error().code, millrace::Errc::kUnsupported);
  EXPECT_THAT(merged.error().message, HasSubstr("2 partitions"));
}

TEST(OwnLearner, AProbabilityStaysBetween0And1) {
  register_algorithm(summing("sum_binary", Task::kBinary)).value();
  const learn::Model model = model_of("sum_binary");
  EXPECT_EQ(predict(model, 7), 1);
  EXPECT_EQ(predict(model, -7), 0);
  EXPECT_EQ(predict(model, 0.25), 0.25);
}

TEST(RegisterAlgorithm, RefusesNamesAndParametersThatCannotBe) {
  const auto refused = [](Algorithm algorithm) {
    const Status status = register_algorithm(std::move(algorithm));
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(refused(summing("Summing", Task::kBinary)), "'Summing' is no name for an algorithm");
  EXPECT_EQ(refused(summing("mean", Task::kBinary)), "there is an algorithm mean already");
  EXPECT_EQ(refused(summing("svm", Task::kBinary)), "there is an algorithm svm already");
  Algorithm twice = summing("sum_twice", Task::kBinary);
  twice.params.push_back(twice.params[0]);
  EXPECT_EQ(refused(std::move(twice)), "sum_twice: parameter step is there twice");
  Algorithm outside = summing("sum_outside", Task::kBinary);
  outside.params[1].default_value = "never";
  EXPECT_EQ(refused(std::move(outside)), "sum_outside: the default of mode is never, expected one of slow, fast");
  Algorithm none = summing("sum_none", Task::kBinary);
  none.make = nullptr;
  EXPECT_EQ(refused(std::move(none)), "the algorithm sum_none has no make()");
}

TEST(ResultDeathTest, AValueThatIsNotThereEndsTheProgramWithItsError) {
  EXPECT_DEATH(Result<int>(Error{Errc::kIo, "the disk is gone", "get another"}).value(), "the disk is gone; try: get");
  EXPECT_DEATH(Status(Error{Errc::kIo, "the disk is gone", ""}).value(), "the disk is gone");
}

}  // namespace
}  // namespace millrace::embed
