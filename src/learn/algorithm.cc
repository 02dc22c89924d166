#include "learn/algorithm.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <deque>

#include "base/check.h"
#include "base/mutex.h"
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

struct Registered {
  Mutex mutex;
  std::deque<Algorithm> list GUARDED_BY(mutex);  // only grows, and never moves what it holds
};

Registered& registered() {
  static Registered all;
  return all;
}

bool is_lower_case_name(std::string_view name) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && is_letter(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; });
}

Status check_specs(const Algorithm& algorithm) {
  for (auto param = algorithm.params.begin(); param != algorithm.params.end(); ++param) {
    if (std::find_if(algorithm.params.begin(), param, [&](const auto& other) { return other.name == param->name; }) !=
        param)
      return fail(Errc::kInvalidArgument, fmt::format("{}: parameter {} is there twice", algorithm.name, param->name));
    if (!param->default_value) continue;
    if (auto checked = check_param(algorithm.params, param->name, *param->default_value); !checked)
      return fail(Errc::kInvalidArgument,
                  fmt::format("{}: the default of {}", algorithm.name, checked.error().message));
  }
  return {};
}

}  // namespace

std::span<const Algorithm> algorithms() {
  static const std::vector<Algorithm> table = make_table();
  return table;
}

Status register_algorithm(Algorithm algorithm) {
  MILLRACE_CHECK(algorithm.make, "an algorithm makes learners");
  if (!is_lower_case_name(algorithm.name))
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is no name for an algorithm", algorithm.name),
                "write it like logistic_regression");
  MILLRACE_RETURN_IF_ERROR(check_specs(algorithm));
  Registered& own = registered();
  MutexLock lock(own.mutex);
  if (std::ranges::find(algorithms(), algorithm.name, &Algorithm::name) != algorithms().end() ||
      std::ranges::find(kLater, algorithm.name) != kLater.end() ||
      std::ranges::find(own.list, algorithm.name, &Algorithm::name) != own.list.end())
    return fail(Errc::kAlreadyExists, fmt::format("there is an algorithm {} already", algorithm.name),
                "choose another name");
  own.list.push_back(std::move(algorithm));
  return {};
}

Result<const Algorithm*> find_algorithm(std::string_view name) {
  std::vector<std::string> names;
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.name == name) return &algorithm;
    names.push_back(algorithm.name);
  }
  {
    Registered& own = registered();
    MutexLock lock(own.mutex);
    for (const Algorithm& algorithm : own.list) {
      if (algorithm.name == name) return &algorithm;
      names.push_back(algorithm.name);
    }
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
