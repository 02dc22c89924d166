#include "base/substitute.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace millrace {
namespace {

bool is_name(std::string_view text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

}  // namespace

Result<std::string> substitute_variables(std::string_view text, const VariableLookup& lookup) {
  std::string result;
  size_t position = 0;
  while (true) {
    const size_t open = text.find("${", position);
    result.append(text.substr(position, open - position));
    if (open == std::string_view::npos) return result;
    if (open > position && text[open - 1] == '$') {
      result.back() = '$';
      result.push_back('{');
      position = open + 2;
      continue;
    }
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(open), '\n');
    const size_t close = text.find_first_of("}\n", open);
    if (close == std::string_view::npos || text[close] == '\n')
      return fail(Errc::kInvalidArgument, fmt::format("line {}: ${{ is not closed", line),
                  "write ${NAME} or ${NAME:-default}");
    const std::string_view inside = text.substr(open + 2, close - open - 2);
    const size_t separator = inside.find(":-");
    const std::string_view name = inside.substr(0, separator);
    if (!is_name(name))
      return fail(Errc::kInvalidArgument, fmt::format("line {}: '{}' is not a variable's name", line, name),
                  "write ${NAME} or ${NAME:-default}");
    const auto value = lookup(name);
    if (separator != std::string_view::npos)
      result.append(value && !value->empty() ? *value : std::string(inside.substr(separator + 2)));
    else if (value)
      result.append(*value);
    else
      return fail(Errc::kInvalidArgument, fmt::format("line {}: the variable {} is not set", line, name),
                  fmt::format("export {}=…, or write ${{{}:-default}}", name, name));
    position = close + 1;
  }
}

std::optional<std::string> environment_variable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace millrace
