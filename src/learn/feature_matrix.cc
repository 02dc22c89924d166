#include "learn/feature_matrix.h"

#include <fmt/format.h>

#include <limits>

#include "base/check.h"
#include "base/text.h"

namespace millrace::learn {
namespace {

// Write column `column` into every `stride`-th place from `out` on.
void scatter(const columns::Column& column, size_t stride, double* out) {
  const size_t rows = column.size();
  const auto each = [&](auto value_of) {
    for (size_t i = 0; i < rows; ++i) out[i * stride] = value_of(i);
  };
  switch (column.type().kind) {
    case columns::Kind::kBoolean:
      each([values = column.booleans()](size_t i) { return values[i] != 0 ? 1.0 : 0.0; });
      break;
    case columns::Kind::kBigint:
    case columns::Kind::kTimestamp:
      each([values = column.int64s()](size_t i) { return static_cast<double>(values[i]); });
      break;
    case columns::Kind::kDouble:
      each([values = column.doubles()](size_t i) { return values[i]; });
      break;
    case columns::Kind::kDecimal: {
      // One division of two exact numbers is the double nearest to the decimal.
      const auto unit = static_cast<double>(columns::power_of_ten(column.type().scale));
      each([values = column.int64s(), unit](size_t i) { return static_cast<double>(values[i]) / unit; });
      break;
    }
    case columns::Kind::kVarchar:
      MILLRACE_CHECK(false, "a varchar column was bound as a feature");
  }
  if (!column.has_nulls()) return;
  for (size_t i = 0; i < rows; ++i)
    if (column.is_null(i)) out[i * stride] = std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

Result<FeatureBinding> FeatureBinding::bind(const columns::Schema& schema, std::span<const std::string> names) {
  FeatureBinding binding;
  for (const std::string& name : names) {
    const auto index = schema.index_of(name);
    if (!index) {
      const auto nearest = nearest_name(name, schema.names());
      return fail(Errc::kNotFound, fmt::format("there is no column {} to be a feature", name),
                  nearest ? fmt::format("did you mean {}?", *nearest) : "");
    }
    if (schema.field(*index).type.kind == columns::Kind::kVarchar)
      return fail(Errc::kNotBuiltYet, fmt::format("column {} is text: features made of text are not built yet", name),
                  "leave it out, or turn it into numbers with an sql step");
    binding.columns_.push_back(*index);
  }
  return binding;
}

void FeatureMatrix::append(const columns::Batch& batch, const FeatureBinding& binding) {
  MILLRACE_CHECK(binding.features() == features_);
  values_.resize(values_.size() + batch.rows() * features_);
  double* out = values_.data() + rows_ * features_;
  for (size_t j = 0; j < features_; ++j) scatter(batch.column(binding.columns()[j]), features_, out + j);
  rows_ += batch.rows();
}

void FeatureMatrix::append(std::span<const double> row) {
  MILLRACE_CHECK(row.size() == features_);
  values_.insert(values_.end(), row.begin(), row.end());
  ++rows_;
}

}  // namespace millrace::learn
