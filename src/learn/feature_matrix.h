#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "columns/batch.h"

namespace millrace::learn {

// Rows of features, row-major: row i, feature j is values[i * features + j]. A view: its memory is someone else's and
// must outlive it. NaN and infinity mean "missing".
struct MatrixView {
  const double* values = nullptr;
  size_t rows = 0;
  size_t features = 0;

  std::span<const double> row(size_t i) const { return {values + i * features, features}; }
};

// Which columns of a schema are a model's features, resolved once per schema instead of once per batch. Immutable.
class FeatureBinding {
 public:
  // Finds each of `names` in `schema`. Every type but varchar can be a feature: boolean counts as 0 and 1, a timestamp
  // as microseconds. kNotFound for an unknown name (the hint has the nearest); kNotBuiltYet for a varchar column, which
  // needs an encoder.
  static Result<FeatureBinding> bind(const columns::Schema& schema, std::span<const std::string> names);

  size_t features() const { return columns_.size(); }
  // The column's position in the schema, per feature.
  std::span<const size_t> columns() const { return columns_; }

 private:
  std::vector<size_t> columns_;
};

// Rows of features that it owns: those of a batch, and behind them rows that were stored when they were scored and
// whose labels are due now. Its memory is kept between batches. Not thread-safe.
class FeatureMatrix {
 public:
  explicit FeatureMatrix(size_t features) : features_(features) {}

  size_t rows() const { return rows_; }
  size_t features() const { return features_; }
  std::span<const double> row(size_t i) const { return {values_.data() + i * features_, features_}; }
  MatrixView view() const { return {values_.data(), rows_, features_}; }

  void clear() { values_.clear(), rows_ = 0; }
  // Appends all rows of `batch`, whose schema is the one that `binding` was bound to; NULL becomes NaN.
  // Precondition: binding.features() == features().
  void append(const columns::Batch& batch, const FeatureBinding& binding);
  // Precondition: row.size() == features().
  void append(std::span<const double> row);

 private:
  size_t features_;
  size_t rows_ = 0;
  std::vector<double> values_;
};

}  // namespace millrace::learn
