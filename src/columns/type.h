#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::columns {

enum class Kind : uint8_t {
  kBoolean,    // uint8_t, 0 or 1
  kBigint,     // int64_t
  kDouble,     // double; NaN and infinity are values here, and count as missing where a feature is read
  kDecimal,    // int64_t: the value times 10^scale, at most 18 digits
  kTimestamp,  // int64_t microseconds since 1970-01-01T00:00:00Z
  kVarchar,    // std::string_view, UTF-8
};

struct Type {
  Kind kind = Kind::kVarchar;
  uint8_t width = 0;  // DECIMAL only: digits in all, 1 to 18
  uint8_t scale = 0;  // DECIMAL only: digits behind the point, at most width

  friend bool operator==(const Type&, const Type&) = default;

  bool is_numeric() const { return kind == Kind::kBigint || kind == Kind::kDouble || kind == Kind::kDecimal; }

  // As users write it and DuckDB reads it: "bigint", "decimal(12,2)".
  std::string to_string() const;
  // Accepts SQL's usual synonyms, case ignored: bool, int, integer, bigint, double, float, real, decimal(p,s),
  // numeric(p,s), timestamp, varchar, text, string.
  static Result<Type> parse(std::string_view text);
};

inline constexpr Type kBoolean{Kind::kBoolean};
inline constexpr Type kBigint{Kind::kBigint};
inline constexpr Type kDouble{Kind::kDouble};
inline constexpr Type kTimestamp{Kind::kTimestamp};
inline constexpr Type kVarchar{Kind::kVarchar};

// 10^digits, digits at most 18.
int64_t power_of_ten(int digits);

}  // namespace millrace::columns
