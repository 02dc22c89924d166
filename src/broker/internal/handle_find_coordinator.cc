#include <utility>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;

constexpr int8_t kGroup = 0;
constexpr int8_t kTransaction = 1;
constexpr int16_t kBatchedFrom = 4;

// The topic that the coordinator for keys of a type writes to; empty: there is none.
std::string_view log_of(int8_t key_type) {
  if (key_type == kGroup) return kOffsetsTopic;
  if (key_type == kTransaction) return kTransactionsTopic;
  return {};
}

ErrorCode judge(int8_t key_type, const std::string& key, bool ready) {
  if (log_of(key_type).empty()) return ErrorCode::kInvalidRequest;
  if (key.empty()) return key_type == kGroup ? ErrorCode::kInvalidGroupId : ErrorCode::kInvalidRequest;
  return ready ? ErrorCode::kNone : ErrorCode::kCoordinatorNotAvailable;
}

const char* explain(ErrorCode error) {
  switch (error) {
    case ErrorCode::kInvalidRequest:
      return "a group, or a transactional id that is not empty, has a coordinator: share groups are not built yet";
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
    response.node_id = found ? core.node_id() : -1;
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
    coordinator.node_id = found ? core.node_id() : -1;
    coordinator.host = found ? address.host : "";
    coordinator.port = found ? address.port : -1;
  }
  respond(request, response);
}

}  // namespace

// The first who looks for a coordinator has the topic of its log made.
void handle_find_coordinator(Core& core, Request request, wire::FindCoordinatorRequest message) {
  const std::string_view log = log_of(message.key_type);
  const bool ready = !log.empty() && core.topics.snapshot()->find(log) != nullptr;
  if (ready || log.empty()) return answer(core, request, message, ready);
  core.worker.post([&core, log, request = std::move(request), message = std::move(message)]() mutable {
    const auto made = core.topics.create_internal(log);
    const bool exists = made || made.error().code == Errc::kAlreadyExists;
    if (!exists) log_error("broker", "topic '{}' could not be made: {}", log, made.error().message);
    answer(core, request, message, exists);
  });
}

}  // namespace millrace::broker
