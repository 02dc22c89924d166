// Heartbeats, and those whose answers are kept back: a member hears of a rebalance by nothing else.

#include <algorithm>
#include <utility>

#include "coord/internal/classic_group.h"

namespace millrace::coord::internal {

ClassicGroup::HeartbeatOutcome ClassicGroup::heartbeat(HeartbeatRequest request, Instant now, Effects& effects) {
  if (const auto earlier = held_heartbeats_.find(request.connection); earlier != held_heartbeats_.end())
    release(earlier, now, effects);
  const auto found = find_member(request.member_id, request.instance_id);
  if (found) (*found)->note_contact(request.connection);
  const GroupError error = answer_to(request, now);
  if (error != GroupError::kNone || state_ != GroupState::kStable) return error;
  if (may_hold(request)) {
    const MonoTime until = now.mono + std::min(settings_.group_heartbeat_hold_max_ms, (*found)->session_timeout / 3);
    const ConnectionId connection = request.connection;
    held_heartbeats_.emplace(connection, HeldHeartbeat{std::move(request), until});
    return until;
  }
  // The next heartbeat may come long after the grace.
  rebalance_if_someone_is_lost(now, effects);
  return answer_to(request, now);
}

// In CompletingRebalance a member may already know its generation and wait for nothing but its assignment.
GroupError ClassicGroup::answer_to(const HeartbeatRequest& request, Instant now) {
  const auto found = find_member(request.member_id, request.instance_id);
  if (!found) return found.error();
  if (request.generation != generation_) return GroupError::kIllegalGeneration;
  touch(**found, now);
  return state_ == GroupState::kPreparingRebalance ? GroupError::kRebalanceInProgress : GroupError::kNone;
}

// Only over a connection that is known: what the client sends next must be able to release it.
bool ClassicGroup::may_hold(const HeartbeatRequest& request) const {
  return request.may_wait && request.connection.value() != 0 && settings_.group_heartbeat_hold_max_ms > Millis{0} &&
         settings_.group_disconnect_grace_ms > Millis{0};
}

void ClassicGroup::next_request_waits(ConnectionId connection, Instant now, Effects& effects) {
  if (!held_heartbeats_.contains(connection)) return;
  rebalance_if_someone_is_lost(now, effects);
  if (const auto held = held_heartbeats_.find(connection); held != held_heartbeats_.end()) release(held, now, effects);
}

void ClassicGroup::release_due(Instant now, Effects& effects) {
  const auto is_due = [&](const auto& entry) { return entry.second.until <= now.mono; };
  if (std::none_of(held_heartbeats_.begin(), held_heartbeats_.end(), is_due)) return;
  rebalance_if_someone_is_lost(now, effects);
  for (auto held = held_heartbeats_.begin(); held != held_heartbeats_.end();) {
    const auto next = std::next(held);
    if (held->second.until <= now.mono + kHeldTogether) release(held, now, effects);
    held = next;
  }
}

void ClassicGroup::release_of(std::string_view member_id, Instant now, Effects& effects) {
  for (auto held = held_heartbeats_.begin(); held != held_heartbeats_.end();) {
    const auto next = std::next(held);
    if (held->second.request.member_id == member_id) release(held, now, effects);
    held = next;
  }
}

void ClassicGroup::release_all(Instant now, Effects& effects) {
  while (!held_heartbeats_.empty()) release(held_heartbeats_.begin(), now, effects);
}

// It is answered as if it came now.
void ClassicGroup::release(HeldHeartbeats::iterator held, Instant now, Effects& effects) {
  const HeartbeatRequest request = std::move(held->second.request);
  held_heartbeats_.erase(held);
  effects.replies.push_back({request.token, HeartbeatReply{answer_to(request, now)}});
}

}  // namespace millrace::coord::internal
