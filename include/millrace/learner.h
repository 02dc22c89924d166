#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "millrace/result.h"

namespace millrace::embed {

enum class Task : uint8_t {
  kBinary,      // labels 0 and 1; a score is the probability of 1
  kRegression,  // labels are finite numbers; a score is the value
};

// How the inputs of a learner were scaled: input = (feature - shift) / divisor, of each.
struct Scaling {
  std::span<const double> shift;
  std::span<const double> divisor;  // infinity for a constant feature, whose input is always 0
};

struct MergePart;

// A learner of one's own. It owns its state and nothing else: no clock, no files, no threads, no chance but from a seed
// among its parameters. The same examples in the same order must always give the same state: after a crash the same
// rows are learned again. Nothing here may throw.
//
// `x` has as many values as the learner was made for, all finite: the preprocessing has scaled them and filled in what
// was missing. Const functions may be called from several threads at once while nobody calls the others.
class Learner {
 public:
  virtual ~Learner() = default;

  // The score of one row; NaN as long as there is nothing to predict from. A probability outside 0 to 1 is cut off.
  virtual double predict(std::span<const double> x) const = 0;
  // Learn one example. The label is valid for the task.
  virtual void learn(std::span<const double> x, double label) = 0;

  virtual std::unique_ptr<Learner> clone() const = 0;
  // Everything that the next update depends on, as bytes; the parameters are not part of it.
  virtual std::string save() const = 0;
  // Take over what save() wrote, into one made with the same parameters. The bytes come from a topic: fail with
  // kCorruption where they cannot be a state, and never trust a length in them.
  virtual Status load(std::string_view state) = 0;

  // Become the merge of `parts`, one of each partition, their inputs scaled as `merged` says. Called on one that has
  // learned nothing. Where a topic has one partition it is never called. As it stands: kUnsupported.
  virtual Status merge(std::span<const MergePart> parts, const Scaling& merged);
};

struct MergePart {
  const Learner* learner = nullptr;  // of the same algorithm and parameters
  Scaling scaling;                   // as it is now
  uint64_t rows = 0;                 // that it learned
};

using ParamValue = std::variant<bool, int64_t, double, std::string>;
using Params = std::map<std::string, ParamValue, std::less<>>;

// One of the parameters that `train.params` may hold.
struct Param {
  std::string name;
  std::string doc = {};      // one line
  ParamValue default_value;  // its type is the parameter's
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // of a text: the words allowed
};

// What `train.algorithm` names.
struct Algorithm {
  std::string name;        // "passive_mean"; lower case, and not one of Millrace's own
  std::string title = {};  // "Passive mean"
  std::string doc = {};    // what it does, in a sentence or two
  Task task = Task::kBinary;
  std::vector<Param> params = {};
  // One that has learned nothing; never null. Each of `params` is there, checked, and of its default's type. May be
  // called from several threads at once.
  std::function<std::unique_ptr<Learner>(const Params& params, size_t inputs)> make;
};

// From now on, and as long as the program runs, pipelines may name it: do it before they are parsed. Versions of its
// models can be loaded only by programs that register it, too. kInvalidArgument: a bad name, a parameter that refuses
// its own default; kAlreadyExists: the name is taken. Thread-safe.
Status register_algorithm(Algorithm algorithm);

}  // namespace millrace::embed
