#include "columns/type.h"

#include <fmt/core.h>

#include <array>
#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace millrace::columns {
namespace {

struct Name {
  std::string_view text;
  Kind kind;
};
// The first name of a kind is the one to_string() writes.
constexpr std::array kNames{
    Name{"boolean", Kind::kBoolean}, Name{"bool", Kind::kBoolean},    Name{"bigint", Kind::kBigint},
    Name{"int", Kind::kBigint},      Name{"integer", Kind::kBigint},  Name{"int64", Kind::kBigint},
    Name{"double", Kind::kDouble},   Name{"float", Kind::kDouble},    Name{"real", Kind::kDouble},
    Name{"decimal", Kind::kDecimal}, Name{"numeric", Kind::kDecimal}, Name{"timestamp", Kind::kTimestamp},
    Name{"varchar", Kind::kVarchar}, Name{"text", Kind::kVarchar},    Name{"string", Kind::kVarchar},
};
constexpr int kDecimalDigitsMax = 18;

tl::unexpected<Error> not_a_type(std::string_view text) {
  std::vector<std::string> names;
  for (const Name& name : kNames) names.emplace_back(name.text);
  const auto nearest = nearest_name(text, names);
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not a column type", text),
              nearest ? fmt::format("did you mean {}?", *nearest)
                      : "boolean, bigint, double, decimal(p,s), timestamp or varchar");
}

}  // namespace

std::string Type::to_string() const {
  if (kind == Kind::kDecimal) return fmt::format("decimal({},{})", width, scale);
  for (const Name& name : kNames)
    if (name.kind == kind) return std::string(name.text);
  return "unknown";
}

Result<Type> Type::parse(std::string_view text) {
  const std::string lower = to_lower(trim(text));
  const std::string_view whole = lower;
  const size_t open = whole.find('(');
  const std::string_view base = trim(whole.substr(0, open));
  for (const Name& name : kNames) {
    if (name.text != base) continue;
    if (name.kind != Kind::kDecimal)
      return open == std::string_view::npos ? Result<Type>(Type{name.kind}) : not_a_type(text);
    // DuckDB's default for a bare DECIMAL.
    if (open == std::string_view::npos) return Type{Kind::kDecimal, 18, 3};
    if (whole.back() != ')') return not_a_type(text);
    const auto parts = split(whole.substr(open + 1, whole.size() - open - 2), ',');
    const auto width = parse_int64(trim(parts[0]));
    const auto scale = parts.size() == 2 ? parse_int64(trim(parts[1])) : std::optional<int64_t>(0);
    if (parts.size() > 2 || !width || !scale || *width < 1 || *width > kDecimalDigitsMax || *scale < 0 ||
        *scale > *width)
      return fail(Errc::kInvalidArgument,
                  fmt::format("'{}': a decimal has 1 to {} digits, of which 0 to all stand behind the point", text,
                              kDecimalDigitsMax),
                  "write decimal(12,2)");
    return Type{Kind::kDecimal, static_cast<uint8_t>(*width), static_cast<uint8_t>(*scale)};
  }
  return not_a_type(text);
}

int64_t power_of_ten(int digits) {
  MILLRACE_CHECK(digits >= 0 && digits <= kDecimalDigitsMax);
  int64_t power = 1;
  for (int i = 0; i < digits; ++i) power *= 10;
  return power;
}

}  // namespace millrace::columns
