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

Result<std::vector<HostPort>> parse_bootstrap(std::string_view text) {
  std::vector<HostPort> brokers;
  for (const std::string_view entry : split(text, ',')) {
    const std::string_view broker = trim(entry);
    if (broker.empty()) continue;
    auto place = HostPort::parse(broker);
    if (place) {
      brokers.push_back(std::move(*place));
      continue;
    }
    const bool lacks_port = broker.back() == ']' || broker.find(':') == std::string_view::npos;
    return fail(Errc::kInvalidArgument, fmt::format("cannot connect to {}: {}", text, place.error().message),
                lacks_port ? fmt::format("name its port, too: {}:9092", broker) : std::move(place.error().hint));
  }
  if (brokers.empty())
    return fail(Errc::kInvalidArgument, "cannot connect to a cluster: no broker is named", "HOST:PORT of one of them");
  return brokers;
}

}  // namespace millrace
