#include "http/sql_route.h"

#include <fmt/core.h>

#include "base/text.h"

namespace millrace::http {
namespace {

constexpr int64_t kTimeoutMsMax = 3'600'000;

int status_of(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
    case Errc::kUnsupported:
    case Errc::kNotBuiltYet:
      return 400;
    case Errc::kPermissionDenied:
      return 403;
    case Errc::kNotFound:
      return 404;
    case Errc::kAlreadyExists:
    case Errc::kConflict:
      return 409;
    case Errc::kTooLarge:
      return 413;
    case Errc::kUnavailable:
    case Errc::kOutOfSpace:
      return 503;
    case Errc::kTimedOut:
      return 504;
    case Errc::kCancelled:
    case Errc::kCorruption:
    case Errc::kIo:
    case Errc::kInternal:
      return 500;
  }
  return 500;
}

Response error_response(const Error& error) {
  return Response::error(status_of(error.code), errc_name(error.code), error.message, error.hint);
}

Result<warehouse::QueryOptions> options_of(const Request& request) {
  warehouse::QueryOptions options;
  if (const auto format = request.query.find("format"); format != request.query.end()) {
    MILLRACE_ASSIGN_OR_RETURN(options.format, warehouse::parse_answer_format(format->second));
  }
  if (const auto timeout = request.query.find("timeout_ms"); timeout != request.query.end()) {
    const auto ms = parse_int64(timeout->second);
    if (!ms || *ms <= 0 || *ms > kTimeoutMsMax)
      return fail(Errc::kInvalidArgument, fmt::format("timeout_ms is not a number from 1 to {}", kTimeoutMsMax));
    options.timeout = std::chrono::milliseconds(*ms);
  }
  return options;
}

}  // namespace

void answer_sql(warehouse::Warehouse& warehouse, const Request& request, ResponderPtr responder) {
  auto options = options_of(request);
  if (!options) return responder->send(error_response(options.error()));
  std::stop_source gone;
  options->cancel = gone.get_token();
  responder->on_gone([gone]() mutable { gone.request_stop(); });
  warehouse.query_async(
      request.body, *options, [responder, format = options->format](Result<warehouse::Answer> answer) {
        if (!answer) return responder->send(error_response(answer.error()));
        responder->send(
            {.content_type = std::string(warehouse::content_type(format)), .body = std::move(answer->body)});
      });
}

}  // namespace millrace::http
