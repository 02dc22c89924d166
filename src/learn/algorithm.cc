#include "learn/algorithm.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "learn/internal/baselines.h"
#include "learn/internal/gaussian_nb.h"
#include "learn/internal/linear.h"

namespace millrace::learn {
namespace {

std::vector<Algorithm> make_table() {
  std::vector<Algorithm> table = {
      internal::gaussian_naive_bayes(), internal::last_class(),     internal::linear_regression(),
      internal::logistic_regression(),  internal::majority_class(), internal::mean_value(),
  };
  std::ranges::sort(table, {}, &Algorithm::name);
  return table;
}

// Part of the language, for later versions.
constexpr std::array<std::string_view, 19> kLater = {"adaptive_random_forest",
                                                     "bagging",
                                                     "boosting",
                                                     "contextual_bandit",
                                                     "factorization_machine",
                                                     "half_space_trees",
                                                     "hoeffding_tree",
                                                     "item_knn",
                                                     "kmeans",
                                                     "knn",
                                                     "matrix_factorization",
                                                     "mlp",
                                                     "multinomial_naive_bayes",
                                                     "onnx",
                                                     "passive_aggressive",
                                                     "perceptron",
                                                     "softmax_regression",
                                                     "svm",
                                                     "xgboost"};

}  // namespace

std::span<const Algorithm> algorithms() {
  static const std::vector<Algorithm> table = make_table();
  return table;
}

Result<const Algorithm*> find_algorithm(std::string_view name) {
  std::vector<std::string> names;
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.name == name) return &algorithm;
    names.push_back(algorithm.name);
  }
  const std::string known = fmt::format("algorithms are: {}", fmt::join(names, ", "));
  if (std::ranges::find(kLater, name) != kLater.end())
    return fail(Errc::kNotBuiltYet, fmt::format("algorithm {} is not built yet", name), known);
  const auto nearest = nearest_name(name, names);
  return fail(Errc::kInvalidArgument, fmt::format("there is no algorithm {}", name),
              nearest ? fmt::format("did you mean {}?", *nearest) : known);
}

const char* task_name(Task task) {
  switch (task) {
    case Task::kBinary:
      return "binary classification";
    case Task::kRegression:
      return "regression";
  }
  return "";
}

}  // namespace millrace::learn
