#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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

// Where a cluster's brokers are, as in Kafka's bootstrap.servers: HOST:PORT, one at least, several separated by commas.
// kInvalidArgument names the one that is not; as in Kafka, no port is assumed.
Result<std::vector<HostPort>> parse_bootstrap(std::string_view text);

}  // namespace millrace
