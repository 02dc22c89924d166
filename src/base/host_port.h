#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

// Where to listen or connect: "127.0.0.1:9092", "[::1]:9092", "localhost:0".
struct HostPort {
  std::string host;  // without brackets
  uint16_t port = 0;

  // The same back; a host that has colons in brackets.
  std::string to_string() const;
  // kInvalidArgument where it is not HOST:PORT, or an IPv6 address lacks its brackets.
  static Result<HostPort> parse(std::string_view text);
};

}  // namespace millrace
