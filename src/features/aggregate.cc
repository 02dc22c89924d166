#include "features/aggregate.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "features/internal/plan.h"

namespace millrace::features {

namespace {

struct Name {
  std::string_view name;
  Function function;
};
// The first name of each function is the one shown.
constexpr std::array kNames = {
    Name{"count", Function::kCount},
    Name{"sum", Function::kSum},
    Name{"avg", Function::kAvg},
    Name{"mean", Function::kAvg},
    Name{"min", Function::kMin},
    Name{"max", Function::kMax},
    Name{"stddev", Function::kStddev},
    Name{"stddev_samp", Function::kStddev},
    Name{"stddev_pop", Function::kStddevPop},
    Name{"var", Function::kVar},
    Name{"var_samp", Function::kVar},
    Name{"variance", Function::kVar},
    Name{"var_pop", Function::kVarPop},
};
constexpr std::array<std::string_view, 14> kLater = {"distinct", "count_distinct", "quantile", "median", "topk",
                                                     "top_k",    "histogram",      "first",    "last",   "ewma",
                                                     "rate",     "ratio",          "lag",      "slope"};

}  // namespace

Result<Function> parse_function(std::string_view name) {
  const std::string wanted = to_lower(name);
  for (const Name& known : kNames)
    if (known.name == wanted) return known.function;
  if (std::find(kLater.begin(), kLater.end(), wanted) != kLater.end())
    return fail(Errc::kNotBuiltYet, fmt::format("the aggregate {} is not built yet", wanted));
  std::vector<std::string> names;
  names.reserve(kNames.size());
  for (const Name& known : kNames) names.emplace_back(known.name);
  const auto nearest = nearest_name(wanted, names);
  return fail(Errc::kInvalidArgument, fmt::format("there is no aggregate {}", name),
              nearest ? fmt::format("did you mean {}?", *nearest) : "count, sum, avg, min, max, stddev, var");
}

std::string_view function_name(Function function) {
  for (const Name& known : kNames)
    if (known.function == function) return known.name;
  return "?";
}

Result<columns::Type> result_type(const Aggregate& aggregate, const columns::Schema& input) {
  const auto find = [&input, &aggregate](const std::string& column) -> Result<columns::Type> {
    MILLRACE_ASSIGN_OR_RETURN(const size_t index, column_index(input, column, aggregate.name));
    return input.field(index).type;
  };
  if (!aggregate.where.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const columns::Type mask, find(aggregate.where));
    if (mask.kind != columns::Kind::kBoolean)
      return fail(Errc::kInvalidArgument, fmt::format("{}: where must be a condition, and {} is of type {}",
                                                      aggregate.name, aggregate.where, mask.to_string()));
  }
  if (aggregate.column.empty()) {
    if (aggregate.function == Function::kCount) return columns::kBigint;
    return fail(Errc::kInvalidArgument,
                fmt::format("{}: {} needs a column", aggregate.name, function_name(aggregate.function)));
  }
  MILLRACE_ASSIGN_OR_RETURN(const columns::Type type, find(aggregate.column));
  if (aggregate.function == Function::kCount) return columns::kBigint;
  const bool ordered = type.is_numeric() || type.kind == columns::Kind::kTimestamp;
  const bool extreme = aggregate.function == Function::kMin || aggregate.function == Function::kMax;
  if (extreme && ordered) return type;
  if (!type.is_numeric() || extreme)
    return fail(Errc::kInvalidArgument,
                fmt::format("{}: {} of {}, which is of type {}", aggregate.name, function_name(aggregate.function),
                            aggregate.column, type.to_string()));
  if (aggregate.function != Function::kSum) return columns::kDouble;
  if (type.kind == columns::Kind::kDecimal) return columns::Type{columns::Kind::kDecimal, 18, type.scale};
  return type;
}

}  // namespace millrace::features
