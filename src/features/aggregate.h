#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "columns/schema.h"
#include "columns/type.h"

namespace millrace::features {

enum class Function { kCount, kSum, kAvg, kMin, kMax, kStddev, kStddevPop, kVar, kVarPop };

// count, sum, avg (or mean), min, max, stddev (or stddev_samp), stddev_pop, var (or var_samp, variance), var_pop; case
// ignored. The aggregates of later versions are refused by name with kNotBuiltYet.
Result<Function> parse_function(std::string_view name);
std::string_view function_name(Function function);

// One aggregate over rows. NULLs do not take part, nor do NaN and the infinities: one such value must not spoil every
// window it is in. Over no values count and sum are 0, the others NULL, unless `default_value` says what instead.
struct Aggregate {
  std::string name;
  Function function = Function::kCount;
  std::string column;                   // of the input; empty: count(*)
  std::string where;                    // a BOOLEAN column of the input: rows where it is true take part; empty: all
  std::optional<double> default_value;  // instead of NULL
};

// An input row that a step cannot take.
struct Rejected {
  uint32_t row;  // of the input batch
  Error error;
};

// The type of the aggregate over this input: count BIGINT; sum BIGINT, DECIMAL(18, s) or DOUBLE; min and max as the
// column; the others DOUBLE. kInvalidArgument where a column does not exist or the function does not apply to its type.
Result<columns::Type> result_type(const Aggregate& aggregate, const columns::Schema& input);

}  // namespace millrace::features
