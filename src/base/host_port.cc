#include "base/host_port.h"

#include <fmt/core.h>

#include "base/text.h"

namespace millrace {

std::string HostPort::to_string() const {
  return host.find(':') != std::string::npos ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<HostPort> HostPort::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && colon > 0) {
    std::string_view host = text.substr(0, colon);
    const auto port = parse_int64(text.substr(colon + 1));
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    const bool is_host = host.find_first_of(bracketed ? "[]" : "[]:") == std::string_view::npos;
    if (is_host && port && *port >= 0 && *port <= 65'535)
      return HostPort{std::string(host), static_cast<uint16_t>(*port)};
  }
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not HOST:PORT", text), "write 127.0.0.1:9092 or [::1]:9092");
}

}  // namespace millrace
