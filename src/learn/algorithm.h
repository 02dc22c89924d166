#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "learn/learner.h"
#include "learn/params.h"

namespace millrace::learn {

// What `train.algorithm` may name.
struct Algorithm {
  std::string name;   // "logistic_regression"
  std::string title;  // "Logistic regression"
  Task task = Task::kBinary;
  std::string doc;                // what it does, in a sentence or two
  std::vector<ParamSpec> params;  // what `train.params` may hold
  // A learner that has learned nothing. `params` passed check_params(); `inputs` is the number of values it will see.
  // May be called from several threads at once.
  std::function<std::unique_ptr<Learner>(const Algorithm& algorithm, const Params& params, size_t inputs)> make;
};

// The built-in ones, ordered by name; made once, and the same as long as the program runs. Thread-safe.
std::span<const Algorithm> algorithms();

// Add one of the program's own, for as long as the program runs. kInvalidArgument for a name that is not lower_case, or
// parameters that are there twice or whose defaults they refuse themselves; kAlreadyExists for a name that is taken,
// also by a later version. Thread-safe.
Status register_algorithm(Algorithm algorithm);

// A built-in or registered one, valid as long as the program runs. kInvalidArgument with the nearest name for what is
// not there; kNotBuiltYet for those that later versions bring. Thread-safe.
Result<const Algorithm*> find_algorithm(std::string_view name);

}  // namespace millrace::learn
