#include "learn/params.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/text.h"

namespace millrace::learn {
namespace {

const ParamSpec* find_spec(std::span<const ParamSpec> specs, std::string_view name) {
  const auto found = std::ranges::find(specs, name, &ParamSpec::name);
  return found == specs.end() ? nullptr : &*found;
}

const ParamValue& value_of(std::span<const ParamSpec> specs, const Params& params, std::string_view name) {
  if (const auto given = params.find(name); given != params.end()) return given->second;
  const ParamSpec* spec = find_spec(specs, name);
  MILLRACE_CHECK(spec != nullptr && spec->default_value, "a parameter without a default");
  return *spec->default_value;
}

std::optional<double> as_number(const ParamValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return std::nullopt;
}

tl::unexpected<Error> wrong(const ParamSpec& spec, const ParamValue& value, const std::string& expected) {
  return fail(Errc::kInvalidArgument, fmt::format("{} is {}, expected {}", spec.name, param_text(value), expected));
}

std::string range_text(const ParamSpec& spec) {
  if (std::isinf(spec.min) && std::isinf(spec.max)) return "";
  if (std::isinf(spec.max)) return fmt::format(" of at least {}", spec.min);
  return fmt::format(" from {} to {}", spec.min, spec.max);
}

Status check_number(const ParamSpec& spec, const ParamValue& value, std::string_view kind) {
  const auto number = as_number(value);
  // Written so that NaN fails.
  if (!number || !(*number >= spec.min && *number <= spec.max) || std::isinf(*number))
    return wrong(spec, value, fmt::format("{}{}", kind, range_text(spec)));
  return {};
}

}  // namespace

std::string param_text(const ParamValue& value) {
  return std::visit([](const auto& v) { return fmt::format("{}", v); }, value);
}

Status check_param(std::span<const ParamSpec> specs, std::string_view name, const ParamValue& value) {
  const ParamSpec* spec = find_spec(specs, name);
  if (spec == nullptr) {
    std::vector<std::string> names;
    for (const ParamSpec& known : specs) names.push_back(known.name);
    const auto nearest = nearest_name(name, names);
    return fail(Errc::kInvalidArgument, fmt::format("there is no parameter {}", name),
                nearest ? fmt::format("did you mean {}?", *nearest)
                        : fmt::format("parameters are: {}", fmt::join(names, ", ")));
  }
  switch (spec->type) {
    case ParamType::kBoolean:
      if (!std::holds_alternative<bool>(value)) return wrong(*spec, value, "true or false");
      return {};
    case ParamType::kInteger:
      if (!std::holds_alternative<int64_t>(value)) return wrong(*spec, value, "an integer" + range_text(*spec));
      return check_number(*spec, value, "an integer");
    case ParamType::kReal:
      return check_number(*spec, value, "a number");
    case ParamType::kChoice: {
      const auto* word = std::get_if<std::string>(&value);
      if (word != nullptr && std::ranges::find(spec->choices, *word) != spec->choices.end()) return {};
      return wrong(*spec, value, fmt::format("one of {}", fmt::join(spec->choices, ", ")));
    }
  }
  return {};
}

Status check_params(std::span<const ParamSpec> specs, const Params& params) {
  for (const auto& [name, value] : params) MILLRACE_RETURN_IF_ERROR(check_param(specs, name, value));
  return {};
}

bool get_boolean(std::span<const ParamSpec> specs, const Params& params, std::string_view name) {
  return std::get<bool>(value_of(specs, params, name));
}

int64_t get_integer(std::span<const ParamSpec> specs, const Params& params, std::string_view name) {
  return std::get<int64_t>(value_of(specs, params, name));
}

double get_real(std::span<const ParamSpec> specs, const Params& params, std::string_view name) {
  const auto number = as_number(value_of(specs, params, name));
  MILLRACE_CHECK(number.has_value());
  return *number;
}

std::string get_choice(std::span<const ParamSpec> specs, const Params& params, std::string_view name) {
  return std::get<std::string>(value_of(specs, params, name));
}

}  // namespace millrace::learn
