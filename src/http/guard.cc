#include "http/guard.h"

#include <algorithm>

#include "base/text.h"

namespace millrace::http {
namespace {

std::string_view without_port(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.rfind(':'));
}

std::string_view authority_of_origin(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? std::string_view{} : origin.substr(scheme + 3);
}

// Compares every byte whatever the first difference, so that the time taken tells nothing about the token.
bool same_secret(std::string_view given, std::string_view expected) {
  unsigned difference = given.size() == expected.size() ? 0 : 1;
  for (size_t i = 0; i < expected.size(); ++i)
    difference |= static_cast<unsigned char>(i < given.size() ? given[i] : 0) ^ static_cast<unsigned char>(expected[i]);
  return difference == 0;
}

std::string_view given_token(const Request& request) {
  constexpr std::string_view kBearer = "Bearer ";
  constexpr std::string_view kCookie = "millrace_token=";
  const std::string_view authorization = request.header("authorization");
  if (authorization.starts_with(kBearer)) return authorization.substr(kBearer.size());
  for (const std::string_view part : split(request.header("cookie"), ';'))
    if (trim(part).starts_with(kCookie)) return trim(part).substr(kCookie.size());
  return {};
}

}  // namespace

bool is_loopback_authority(std::string_view authority) {
  const std::string_view host = without_port(authority);
  if (host == "localhost" || host == "[::1]") return true;
  const auto parts = split(host, '.');
  if (parts.size() != 4 || parts[0] != "127") return false;
  return std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
    const auto number = parse_int64(part);
    return number && *number >= 0 && *number <= 255;
  });
}

std::optional<Response> refuse(const Request& request, const GuardOptions& options) {
  const std::string_view host = request.header("host");
  if (!options.allow_remote && !is_loopback_authority(host))
    return Response::error(403, "forbidden", "the Host header names another machine than this one",
                           "open http://127.0.0.1:PORT/, or set http.allow_remote and http.token");
  if (const std::string_view origin = request.header("origin"); !origin.empty() && authority_of_origin(origin) != host)
    return Response::error(403, "forbidden", "the request comes from a page of another origin");
  const bool is_probe = request.path == "/healthz" || request.path == "/readyz";
  if (!options.token.empty() && !is_probe && !same_secret(given_token(request), options.token))
    return Response::error(401, "unauthorized", "the token is missing or wrong", "send Authorization: Bearer TOKEN");
  return std::nullopt;
}

}  // namespace millrace::http
