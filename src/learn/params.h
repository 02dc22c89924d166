#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace millrace::learn {

// A parameter as the user wrote it. An integer is accepted where a real number is asked for.
using ParamValue = std::variant<bool, int64_t, double, std::string>;
using Params = std::map<std::string, ParamValue, std::less<>>;

enum class ParamType { kBoolean, kInteger, kReal, kChoice };

// What lint and the documentation know of one parameter.
struct ParamSpec {
  std::string name;
  ParamType type = ParamType::kReal;
  // The value when none is given; none where it depends on others, as `doc` then says.
  std::optional<ParamValue> default_value;
  double min = -std::numeric_limits<double>::infinity();  // numbers: the least allowed value, itself allowed
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;  // kChoice: the words allowed
  std::string doc;                   // one line
};

std::string param_text(const ParamValue& value);

// Checks one parameter against `specs`: kInvalidArgument for an unknown name (the hint has the nearest), a wrong type,
// or a value out of range. For a message that points at its place in a file, check parameters one by one.
Status check_param(std::span<const ParamSpec> specs, std::string_view name, const ParamValue& value);
// The first error of `params`, if any.
Status check_params(std::span<const ParamSpec> specs, const Params& params);

// The value given, or the default. Preconditions: `params` passed check_params(); the default exists and has that type.
bool get_boolean(std::span<const ParamSpec> specs, const Params& params, std::string_view name);
int64_t get_integer(std::span<const ParamSpec> specs, const Params& params, std::string_view name);
double get_real(std::span<const ParamSpec> specs, const Params& params, std::string_view name);
std::string get_choice(std::span<const ParamSpec> specs, const Params& params, std::string_view name);

}  // namespace millrace::learn
