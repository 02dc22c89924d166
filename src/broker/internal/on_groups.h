#pragma once

#include <utility>

#include "broker/internal/core.h"
#include "broker/internal/handler.h"

// How handlers get to the groups.
namespace millrace::broker {

// Run `act` where the groups are, on their executor, or answer with `refuse` where groups are not served.
template <typename Act, typename Refuse>
void on_groups(Core& core, Request request, Act act, Refuse refuse) {
  if (core.groups.is_crowded()) return refuse(request, GroupService::State::kFailed);
  core.groups.post([&core, request = std::move(request), act = std::move(act), refuse = std::move(refuse)]() mutable {
    if (const auto state = core.groups.state(); state != GroupService::State::kServing) return refuse(request, state);
    act(std::move(request));
  });
}

// For responses that consist of an error.
template <typename Response>
struct RefuseWith {
  void operator()(Request& request, GroupService::State) const {
    Response response;
    response.error_code = wire::ErrorCode::kNotCoordinator;
    respond(request, response);
  }
};

}  // namespace millrace::broker
