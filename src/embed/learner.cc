#include "millrace/learner.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "embed/internal/errors.h"
#include "learn/algorithm.h"

namespace millrace::embed {
namespace {

learn::Task task_of(Task task) {
  switch (task) {
    case Task::kBinary:
      return learn::Task::kBinary;
    case Task::kRegression:
      return learn::Task::kRegression;
  }
  return learn::Task::kRegression;
}

// An embedder's learner as the models know one. In a model's bytes its state is a length and what save() wrote.
class OwnLearner final : public learn::Learner {
 public:
  OwnLearner(std::unique_ptr<embed::Learner> own, Task task, size_t inputs)
      : own_(std::move(own)), task_(task), inputs_(inputs) {
    MILLRACE_CHECK(own_ != nullptr, "make() and clone() of a learner return one");
  }

  double predict(const double* x) const override {
    const double score = own_->predict({x, inputs_});
    // NaN stays NaN: there is nothing to predict from.
    return task_ == Task::kBinary ? std::clamp(score, 0.0, 1.0) : score;
  }
  void learn(const double* x, double label) override { own_->learn({x, inputs_}, label); }

  millrace::Status merge(std::span<const learn::MergePart> parts, const learn::Scaling& merged) override {
    const auto own_of = [](const learn::MergePart& part) {
      return static_cast<const OwnLearner&>(*part.learner).own_.get();
    };
    if (parts.size() == 1) {  // scaled as it was
      own_ = own_of(parts[0])->clone();
      MILLRACE_CHECK(own_ != nullptr, "clone() of a learner returns one");
      return {};
    }
    std::vector<MergePart> own_parts;
    for (const learn::MergePart& part : parts)
      own_parts.push_back({own_of(part), {part.scaling.shift, part.scaling.divisor}, part.rows});
    if (const Status status = own_->merge(own_parts, {merged.shift, merged.divisor}); !status)
      return tl::unexpected<millrace::Error>(internal::from_public(status.error()));
    return {};
  }

  millrace::Result<double> explain(const double*, std::span<double>) const override {
    return fail(millrace::Errc::kUnsupported, "a learner of the program's own does not explain its scores");
  }

  std::unique_ptr<learn::Learner> clone() const override {
    return std::make_unique<OwnLearner>(own_->clone(), task_, inputs_);
  }

  void serialize(ByteWriter& out) const override {
    const std::string state = own_->save();
    out.uvarint(state.size());
    out.text(state);
  }
  millrace::Status deserialize(ByteReader& in) override {
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, in.uvarint());
    MILLRACE_ASSIGN_OR_RETURN(const std::string_view state, in.text(size));
    if (const Status status = own_->load(state); !status)
      return tl::unexpected<millrace::Error>(internal::from_public(status.error()));
    return {};
  }

 private:
  std::unique_ptr<embed::Learner> own_;
  Task task_;
  size_t inputs_;
};

learn::ParamSpec spec_of(const Param& param) {
  learn::ParamSpec spec{.name = param.name,
                        .type = learn::ParamType::kReal,
                        .default_value = param.default_value,
                        .min = param.min,
                        .max = param.max,
                        .choices = param.choices,
                        .doc = param.doc};
  if (std::holds_alternative<bool>(param.default_value)) spec.type = learn::ParamType::kBoolean;
  if (std::holds_alternative<int64_t>(param.default_value)) spec.type = learn::ParamType::kInteger;
  if (std::holds_alternative<std::string>(param.default_value)) spec.type = learn::ParamType::kChoice;
  return spec;
}

// Every parameter, with its default where none is given, and of its default's type.
Params complete(const std::vector<learn::ParamSpec>& specs, const learn::Params& given) {
  Params params;
  for (const learn::ParamSpec& spec : specs) {
    switch (spec.type) {
      case learn::ParamType::kBoolean:
        params[spec.name] = learn::get_boolean(specs, given, spec.name);
        break;
      case learn::ParamType::kInteger:
        params[spec.name] = learn::get_integer(specs, given, spec.name);
        break;
      case learn::ParamType::kReal:
        params[spec.name] = learn::get_real(specs, given, spec.name);
        break;
      case learn::ParamType::kChoice:
        params[spec.name] = learn::get_choice(specs, given, spec.name);
        break;
    }
  }
  return params;
}

}  // namespace

Status Learner::merge(std::span<const MergePart> parts, const Scaling&) {
  return Error{Errc::kUnsupported, fmt::format("this learner cannot merge what {} partitions learned", parts.size()),
               "give the source's topic one partition, or the learner a merge()"};
}

Status register_algorithm(Algorithm algorithm) {
  if (!algorithm.make)
    return Error{Errc::kInvalidArgument, fmt::format("the algorithm {} has no make()", algorithm.name), ""};
  learn::Algorithm adapted{.name = algorithm.name,
                           .title = algorithm.title,
                           .task = task_of(algorithm.task),
                           .doc = algorithm.doc,
                           .params = {},
                           .make = {}};
  for (const Param& param : algorithm.params) adapted.params.push_back(spec_of(param));
  adapted.make = [make = std::move(algorithm.make), task = algorithm.task](const learn::Algorithm& self,
                                                                           const learn::Params& given, size_t inputs) {
    return std::make_unique<OwnLearner>(make(complete(self.params, given), inputs), task, inputs);
  };
  return internal::to_public(learn::register_algorithm(std::move(adapted)));
}

}  // namespace millrace::embed
