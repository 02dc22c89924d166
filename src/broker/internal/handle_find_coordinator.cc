#include <utility>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;

constexpr int8_t kGroup = 0;
constexpr int16_t kBatchedFrom = 4;

// Groups are found here; transactions and share groups are not served.
ErrorCode judge(int8_t key_type, const std::string& key, bool ready) {
  if (key_type != kGroup) return ErrorCode::kInvalidRequest;
  if (key.empty()) return ErrorCode::kInvalidGroupId;
  return ready ? ErrorCode::kNone : ErrorCode::kCoordinatorNotAvailable;
}

const char* explain(ErrorCode error) {
  switch (error) {
    case ErrorCode::kInvalidRequest:
      return "only groups have a coordinator: transactions and share groups are not built yet";
    case ErrorCode::kInvalidGroupId:
      return "the group id is empty";
    default:
      return wire::error_message(error);
  }
}

void answer(Core& core, Request& request, const wire::FindCoordinatorRequest& message, bool ready) {
  const ListenerAddress& address = core.advertised[request.listener];
  wire::FindCoordinatorResponse response;
  if (request.header.api_version < kBatchedFrom) {
    response.error_code = judge(message.key_type, message.key, ready);
    const bool found = response.error_code == ErrorCode::kNone;
    if (!found && request.header.api_version >= 1) response.error_message = explain(response.error_code);
    response.node_id = found ? kNodeId : -1;
    response.host = found ? address.host : "";
    response.port = found ? address.port : -1;
    return respond(request, response);
  }
  for (const std::string& key : message.coordinator_keys) {
    auto& coordinator = response.coordinators.emplace_back();
    coordinator.key = key;
    coordinator.error_code = judge(message.key_type, key, ready);
    const bool found = coordinator.error_code == ErrorCode::kNone;
    if (!found) coordinator.error_message = explain(coordinator.error_code);
    coordinator.node_id = found ? kNodeId : -1;
    coordinator.host = found ? address.host : "";
    coordinator.port = found ? address.port : -1;
  }
  respond(request, response);
}

}  // namespace

// The first who looks for a group's coordinator has __consumer_offsets made.
void handle_find_coordinator(Core& core, Request request, wire::FindCoordinatorRequest message) {
  const bool ready = core.topics.snapshot()->find(kOffsetsTopic) != nullptr;
  if (ready || message.key_type != kGroup) return answer(core, request, message, ready);
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    const auto made = core.topics.create_internal(kOffsetsTopic);
    const bool exists = made || made.error().code == Errc::kAlreadyExists;
    if (!exists) log_error("broker", "topic '{}' could not be made: {}", kOffsetsTopic, made.error().message);
    answer(core, request, message, exists);
  });
}

}  // namespace millrace::broker
