#include "learn/algorithm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "learn/feature_matrix.h"
#include "learn/model.h"

namespace millrace::learn {
namespace {

using testing::HasSubstr;

TEST(Algorithms, AreOrderedDocumentedAndFoundByName) {
  EXPECT_TRUE(std::ranges::is_sorted(algorithms(), {}, &Algorithm::name));
  for (const Algorithm& algorithm : algorithms()) {
    EXPECT_EQ(find_algorithm(algorithm.name).value(), &algorithm);
    EXPECT_FALSE(algorithm.doc.empty()) << algorithm.name;
    for (const ParamSpec& param : algorithm.params) EXPECT_FALSE(param.doc.empty()) << param.name;
    // The defaults are values that a user may write.
    for (const ParamSpec& param : algorithm.params)
      if (param.default_value)
        EXPECT_TRUE(check_param(algorithm.params, param.name, *param.default_value)) << param.name;
  }
}

TEST(Algorithms, AMisspeltNameIsAnsweredWithTheNearest) {
  const Error error = find_algorithm("logistic_regresion").error();
  EXPECT_EQ(error.code, Errc::kInvalidArgument);
  EXPECT_EQ(error.hint, "did you mean logistic_regression?");
}

TEST(Algorithms, OneOfALaterVersionIsRefusedByName) {
  const Error error = find_algorithm("hoeffding_tree").error();
  EXPECT_EQ(error.code, Errc::kNotBuiltYet);
  EXPECT_THAT(error.message, HasSubstr("hoeffding_tree is not built yet"));
}

TEST(Params, WrongOnesAreAnsweredWithWhatWasExpected) {
  const auto& specs = find_algorithm("logistic_regression").value()->params;
  const auto message = [&](std::string_view name, const ParamValue& value) {
    const Status status = check_param(specs, name, value);
    return status ? "" : status.error().message + "; " + status.error().hint;
  };
  EXPECT_EQ(message("optimizer", "adam"), "optimizer is adam, expected one of sgd, adagrad; ");
  EXPECT_EQ(message("optimizer", 1.0), "optimizer is 1, expected one of sgd, adagrad; ");
  EXPECT_EQ(message("learning_rate", -0.5), "learning_rate is -0.5, expected a number of at least 0; ");
  EXPECT_EQ(message("learning_rate", std::nan("")), "learning_rate is nan, expected a number of at least 0; ");
  EXPECT_EQ(message("learning_rate", true), "learning_rate is true, expected a number of at least 0; ");
  EXPECT_EQ(message("seed", 1.5), "seed is 1.5, expected an integer of at least 0; ");
  EXPECT_EQ(message("lerning_rate", 0.5), "there is no parameter lerning_rate; did you mean learning_rate?");
  EXPECT_EQ(message("learning_rate", int64_t{1}), "");
}

TEST(ModelSpec, WhatCannotBeAModelIsRefused) {
  const auto code = [](ModelSpec spec) { return Model::make(std::move(spec)).error().code; };
  const std::vector<FeatureSpec> x = {{"x", Scale::kStandard, false}};
  EXPECT_EQ(code({"nothing_known", {}, x}), Errc::kInvalidArgument);
  EXPECT_EQ(code({"svm", {}, x}), Errc::kNotBuiltYet);
  EXPECT_EQ(code({"linear_regression", {{"l2", "much"}}, x}), Errc::kInvalidArgument);
  EXPECT_EQ(code({"linear_regression", {}, {}}), Errc::kInvalidArgument);
  EXPECT_EQ(code({"linear_regression", {}, {x[0], x[0]}}), Errc::kInvalidArgument);
  EXPECT_EQ(code({"linear_regression", {}, std::vector<FeatureSpec>(Model::kFeaturesMax + 1)}), Errc::kTooLarge);
}

columns::Batch batch_of_all_kinds() {
  using columns::Column;
  auto schema = std::make_shared<const columns::Schema>(std::vector<columns::Field>{
      {"flag", columns::kBoolean},
      {"count", columns::kBigint},
      {"ratio", columns::kDouble},
      {"amount", {columns::Kind::kDecimal, 10, 2}},
      {"at", columns::kTimestamp},
      {"country", columns::kVarchar},
  });
  std::vector<std::shared_ptr<Column>> columns;
  for (const columns::Field& field : schema->fields()) columns.push_back(std::make_shared<Column>(field.type));
  columns[0]->append_boolean(true);
  columns[1]->append_int64(7);
  columns[2]->append_double(0.25);
  columns[3]->append_int64(1234567);
  columns[4]->append_int64(1'000'000);
  columns[5]->append_text_copy("NL");
  for (const auto& column : columns) column->append_null();
  return {schema, {columns.begin(), columns.end()}, std::vector<columns::RowId>(2)};
}

TEST(FeatureMatrix, GathersEveryNumericKindAndMakesNullMissing) {
  const columns::Batch batch = batch_of_all_kinds();
  const std::vector<std::string> names = {"amount", "flag", "count", "ratio", "at"};
  const FeatureBinding binding = FeatureBinding::bind(batch.schema(), names).value();
  FeatureMatrix matrix(binding.features());
  matrix.append(std::vector<double>{1, 2, 3, 4, 5});
  matrix.append(batch, binding);
  ASSERT_EQ(matrix.rows(), 3u);
  EXPECT_THAT(matrix.row(0), testing::ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(matrix.row(1), testing::ElementsAre(12345.67, 1, 7, 0.25, 1e6));
  EXPECT_THAT(matrix.view().row(2), testing::Each(testing::IsNan()));
}

TEST(FeatureBinding, NamesTheNearestColumnAndRefusesText) {
  const columns::Batch batch = batch_of_all_kinds();
  const Error unknown = FeatureBinding::bind(batch.schema(), std::vector<std::string>{"amont"}).error();
  EXPECT_EQ(unknown.code, Errc::kNotFound);
  EXPECT_EQ(unknown.hint, "did you mean amount?");
  EXPECT_EQ(FeatureBinding::bind(batch.schema(), std::vector<std::string>{"country"}).error().code, Errc::kNotBuiltYet);
}

}  // namespace
}  // namespace millrace::learn
