#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

class Random;

// 16 bytes, as Kafka identifies topics and clusters; all zero means "none". Text form: 22 characters of URL-safe
// base64.
struct Uuid {
  std::array<uint8_t, 16> bytes{};

  bool is_zero() const { return *this == Uuid{}; }
  friend auto operator<=>(const Uuid&, const Uuid&) = default;

  std::string to_string() const;
  static Result<Uuid> parse(std::string_view text);
  // A version 4 (random) UUID. Like Kafka's, its text never begins with '-', so that it can be a command-line argument.
  static Uuid random(Random& random);
};

}  // namespace millrace

template <>
struct std::hash<millrace::Uuid> {
  size_t operator()(const millrace::Uuid& uuid) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(uuid.bytes.data()), uuid.bytes.size()});
  }
};
