#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

// How a variable's value is found: std::getenv in the program, a map in tests.
using VariableLookup = std::function<std::optional<std::string>(std::string_view name)>;

// `text` with each ${NAME} replaced by the variable's value and each ${NAME:-default} by its value or, where it is
// unset or empty, by the default. $${ stands for a literal ${. Lines stay lines, so that positions in the result are
// those of the source. kInvalidArgument, naming the line: an unset variable without a default, a brace that is not
// closed, a name that is none.
Result<std::string> substitute_variables(std::string_view text, const VariableLookup& lookup);

// Looks up the process's environment.
std::optional<std::string> environment_variable(std::string_view name);

}  // namespace millrace
