#pragma once

#include <cmath>
#include <cstddef>
#include <memory>
#include <span>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/result.h"

namespace millrace::learn {

enum class Task : uint8_t {
  kBinary,      // labels 0 and 1; a score is the probability of 1
  kRegression,  // labels are real numbers; a score is the value
};

// "binary classification", "regression".
const char* task_name(Task task);

// Whether `label` can be learned from: 0 or 1, or any finite number.
inline bool is_valid_label(Task task, double label) {
  return task == Task::kBinary ? label == 0 || label == 1 : std::isfinite(label);
}

// How inputs were scaled when a learner learned: input = (feature - shift) / divisor. A divisor of infinity stands for
// a constant feature, whose input is always 0.
struct Scaling {
  std::span<const double> shift;
  std::span<const double> divisor;
};

// One part of a merge. All parts have the same algorithm, parameters and number of inputs.
struct MergePart;

// The part of a model behind its preprocessing. It owns its state and nothing else: no clock, no files, no threads. A
// new learner is one file that implements this and one line in algorithm.cc, or a register_algorithm() of the program
// that brings its own.
//
// Inputs are finite: the preprocessing has filled in what was missing. learn() is one update with one example, and
// updates with the same examples in the same order always give the same state.
// Const functions may be called from several threads at once while nobody calls the others.
class Learner {
 public:
  virtual ~Learner() = default;

  // The score of one row; NaN as long as there is nothing to predict from. `x` has inputs() values.
  virtual double predict(const double* x) const = 0;
  // Learn one example. The label is valid for the task.
  virtual void learn(const double* x, double label) = 0;

  // This learner becomes the merge of `parts`, re-expressed in the scaling `merged`. Called on one that has learned
  // nothing. kUnsupported where an algorithm cannot be merged.
  virtual Status merge(std::span<const MergePart> parts, const Scaling& merged) = 0;

  // A row's score as a sum: base + contributions, on the learner's own scale (a logistic model's is log odds).
  // `contributions` has inputs() places. kUnsupported where an algorithm has no such sum.
  virtual Result<double> explain(const double* x, std::span<double> contributions) const = 0;

  virtual std::unique_ptr<Learner> clone() const = 0;
  // Everything that the next update depends on, the optimiser's state included; parameters are not part of it.
  virtual void serialize(ByteWriter& out) const = 0;
  // Reads what serialize() wrote, into a learner made with the same parameters. kCorruption for anything else; the
  // learner must then be thrown away.
  virtual Status deserialize(ByteReader& in) = 0;
};

struct MergePart {
  const Learner* learner = nullptr;
  Scaling scaling;    // the one it learned under, as it is now
  uint64_t rows = 0;  // that it learned
};

}  // namespace millrace::learn
