#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "http/message.h"

namespace millrace::http {

// Send one request to a server at HOST:PORT, or [HOST]:PORT, and wait for its answer, at most `timeout`. `token` goes
// along where it is not empty. kUnavailable: nobody answers there; kTimedOut; an answer of any status is a Response.
Result<Response> call(const std::string& address, const std::string& method, const std::string& target,
                      const std::string& body, const std::string& token, std::chrono::milliseconds timeout);

}  // namespace millrace::http
