#pragma once

#include <optional>
#include <string>

#include "http/message.h"

namespace millrace::http {

struct GuardOptions {
  bool allow_remote = false;  // serve names and addresses other than this machine's loopback
  std::string token;          // empty: none is asked for
};

// Whether the request may be served: nullopt, or the refusal. Checked before any handler, so that
//
// - a page from elsewhere cannot reach a server on the user's machine: its Origin is another host (cross-site
//   request), or the Host header names a foreign domain that resolves to 127.0.0.1 (DNS rebinding);
//
// - without the token, where one is set, nothing but /healthz and /readyz is served. It comes as "Authorization:
//   Bearer TOKEN" or, for event streams, which cannot send headers, as the cookie millrace_token.
std::optional<Response> refuse(const Request& request, const GuardOptions& options);

// "localhost", "127.0.0.0/8" and "[::1]", each with or without a port.
bool is_loopback_authority(std::string_view authority);

}  // namespace millrace::http
