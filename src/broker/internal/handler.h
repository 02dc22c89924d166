#pragma once

#include <fmt/core.h>

#include <utility>
#include <vector>

#include "broker/internal/core.h"
#include "broker/internal/request.h"
#include "wire/api.h"

namespace millrace::broker {

// Takes a request whose API and version are served. On the session's thread; must not block.
using Handler = void (*)(Core&, Request);

// One for each served API but ApiVersions, by key; null for the others.
Handler find_handler(wire::ApiKey key);

// Whether ApiVersions tells clients of this API.
bool is_served(wire::ApiKey key);

// Answer with `response`; what its views point into must be in `held`, its records that lie elsewhere in `elsewhere`.
template <typename Response>
void respond(Request& request, const Response& response, std::vector<Bytes> held = {},
             std::vector<std::vector<RecordChunk>> elsewhere = {}) {
  if constexpr (requires(std::vector<wire::ErrorCode> errors) { response.collect_errors(errors); }) {
    std::vector<wire::ErrorCode> errors;
    response.collect_errors(errors);
    for (const wire::ErrorCode error : errors) request.metrics->failed(request.header.api_key, error);
  }
  auto frame = wire::encode_response(response, request.header.correlation_id, request.header.api_version);
  if (!frame) return request.reply.give_up(fmt::format("no answer could be made: {}", frame.error().message));
  request.reply.send({std::move(*frame), std::move(held), std::move(elsewhere)});
}

// Count `bytes` against the quota of the request's client. What is to stand in the answer as throttle_time_ms.
inline int32_t charge(Core& core, Request& request, QuotaKind kind, uint64_t bytes) {
  const auto mute = core.quotas.charge(request.header.client_id.value_or(""), kind, bytes);
  request.reply.mute(mute);
  if (mute > std::chrono::milliseconds(0)) request.metrics->throttled();
  return static_cast<int32_t>(mute.count());
}

// A Handler of a function that takes the decoded message, too.
template <typename Message, void (*handle)(Core&, Request, Message)>
void decoded(Core& core, Request request) {
  auto message = Message::decode(request.body, request.header.api_version);
  if (!message)
    return request.reply.give_up(fmt::format("malformed {} version {}: {}", Message::kName, request.header.api_version,
                                             message.error().message));
  handle(core, std::move(request), std::move(*message));
}

}  // namespace millrace::broker
