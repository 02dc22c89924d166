#include "learn/model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "learn/internal/model_codec.h"

namespace millrace::learn {

std::vector<std::string> ModelSpec::feature_names() const {
  std::vector<std::string> names;
  names.reserve(features.size());
  for (const FeatureSpec& feature : features) names.push_back(feature.name);
  return names;
}

Model::Model(ModelSpec spec, const Algorithm* algorithm, Preprocessor preprocessor, std::unique_ptr<Learner> learner)
    : spec_(std::move(spec)),
      algorithm_(algorithm),
      preprocessor_(std::move(preprocessor)),
      learner_(std::move(learner)) {}

Model::Model(const Model& other)
    : spec_(other.spec_),
      algorithm_(other.algorithm_),
      preprocessor_(other.preprocessor_),
      learner_(other.learner_->clone()) {}

Model& Model::operator=(const Model& other) {
  if (this != &other) *this = Model(other);
  return *this;
}

Result<Model> Model::make(ModelSpec spec) {
  MILLRACE_ASSIGN_OR_RETURN(const Algorithm* algorithm, find_algorithm(spec.algorithm));
  MILLRACE_RETURN_IF_ERROR(check_params(algorithm->params, spec.params));
  if (spec.features.empty())
    return fail(Errc::kInvalidArgument, "a model needs at least one feature", "name columns under features");
  if (spec.features.size() > kFeaturesMax)
    return fail(Errc::kTooLarge,
                fmt::format("{} features are more than the {} allowed", spec.features.size(), kFeaturesMax));
  std::vector<std::string> names = spec.feature_names();
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end())
    return fail(Errc::kInvalidArgument, fmt::format("feature {} is there twice", *twice));

  Preprocessor preprocessor(spec.features);
  auto learner = algorithm->make(*algorithm, spec.params, preprocessor.inputs());
  return Model(std::move(spec), algorithm, std::move(preprocessor), std::move(learner));
}

void Model::predict_batch(const MatrixView& rows, std::span<double> scores) const {
  MILLRACE_CHECK(rows.features == spec_.features.size() && scores.size() >= rows.rows);
  std::vector<double> scratch(inputs());
  for (size_t i = 0; i < rows.rows; ++i) scores[i] = predict_row(rows.row(i).data(), scratch);
}

void Model::learn_batch(const MatrixView& rows, std::span<const double> labels) {
  MILLRACE_CHECK(rows.features == spec_.features.size() && labels.size() >= rows.rows);
  std::vector<double> scratch(inputs());
  for (size_t i = 0; i < rows.rows; ++i) learn_row(rows.row(i).data(), labels[i], scratch);
}

Result<Model::Explanation> Model::explain(std::span<const double> row) const {
  MILLRACE_CHECK(row.size() == spec_.features.size());
  std::vector<double> x(inputs());
  preprocessor_.transform(row.data(), x.data());
  Explanation explanation;
  explanation.contributions.resize(inputs());
  MILLRACE_ASSIGN_OR_RETURN(explanation.base, learner_->explain(x.data(), explanation.contributions));
  size_t indicator = spec_.features.size();
  for (size_t j = 0; j < spec_.features.size(); ++j)
    if (spec_.features[j].indicator) explanation.contributions[j] += explanation.contributions[indicator++];
  explanation.contributions.resize(spec_.features.size());
  return explanation;
}

Result<Model> Model::merge(std::span<const Model* const> parts) {
  MILLRACE_CHECK(!parts.empty());
  std::vector<const Preprocessor*> preprocessors;
  std::vector<MergePart> learners;
  for (const Model* part : parts) {
    if (part->spec_ != parts[0]->spec_)
      return fail(Errc::kInvalidArgument, "models of different algorithms, parameters or features cannot be merged");
    preprocessors.push_back(&part->preprocessor_);
    learners.push_back({part->learner_.get(), part->preprocessor_.scaling(), part->rows_learned()});
  }
  MILLRACE_ASSIGN_OR_RETURN(Model merged, make(parts[0]->spec_));
  merged.preprocessor_.merge(preprocessors);
  MILLRACE_RETURN_IF_ERROR(merged.learner_->merge(learners, merged.preprocessor_.scaling()));
  return merged;
}

Bytes Model::serialize() const {
  Bytes bytes;
  ByteWriter out(bytes);
  internal::write_model_header(out);
  internal::write_spec(out, spec_);
  preprocessor_.serialize(out);
  learner_->serialize(out);
  internal::seal_model(bytes);
  return bytes;
}

Result<Model> Model::deserialize(ByteView bytes) {
  MILLRACE_ASSIGN_OR_RETURN(ByteReader in, internal::open_model(bytes));
  MILLRACE_ASSIGN_OR_RETURN(ModelSpec spec, internal::read_spec(in));
  // A learner's size follows from its spec; the state behind it must be there before memory is taken for it.
  const auto spec_features = spec.features.size();
  if (spec_features > in.remaining() / sizeof(double))
    return fail(Errc::kCorruption, "a model's state is shorter than its features");
  MILLRACE_ASSIGN_OR_RETURN(Model model, make(std::move(spec)));
  MILLRACE_RETURN_IF_ERROR(model.preprocessor_.deserialize(in));
  MILLRACE_RETURN_IF_ERROR(model.learner_->deserialize(in));
  MILLRACE_RETURN_IF_ERROR(internal::expect_end(in));
  return model;
}

}  // namespace millrace::learn
