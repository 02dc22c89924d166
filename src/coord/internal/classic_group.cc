#include "coord/internal/classic_group.h"

#include <algorithm>
#include <limits>

namespace millrace::coord::internal {
namespace {

RebalanceMember shown(const Member& member) {
  return {member.id, member.instance_id, member.client_id, member.client_host, member.assignment};
}

size_t bytes_of(const std::vector<MemberAssignment>& assignments) {
  size_t sum = 0;
  for (const MemberAssignment& given : assignments) sum += given.assignment.size();
  return sum;
}

}  // namespace

void ClassicGroup::restore(std::optional<GroupRecordValue> value) {
  members_.clear();
  count(members_bytes_, members_bytes_, 0);
  count(assignments_bytes_, assignments_bytes_, 0);
  static_members_.clear();
  recorded_ = value.has_value();
  if (!value) value.emplace();

  protocol_type_ = std::move(value->protocol_type);
  generation_ = value->generation;
  protocol_name_ = std::move(value->protocol_name);
  leader_ = std::move(value->leader);
  state_since_ = value->state_since;
  state_ = value->members.empty() ? GroupState::kEmpty : GroupState::kStable;
  for (GroupRecordMember& kept : value->members) {
    Member member;
    member.id = kept.member_id;
    member.instance_id = std::move(kept.instance_id);
    member.client_id = std::move(kept.client_id);
    member.client_host = std::move(kept.client_host);
    member.session_timeout = kept.session_timeout_ms;
    member.rebalance_timeout = kept.rebalance_timeout_ms;
    // The record keeps only what the member said about the protocol that was selected.
    member.protocols.push_back({protocol_name_.value_or(""), std::move(kept.subscription)});
    set_assignment(member, std::move(kept.assignment));
    member.is_new = false;
    if (member.instance_id) static_members_[*member.instance_id] = member.id;
    members_.insert_or_assign(kept.member_id, std::move(member));
  }
  for (auto& [id, member] : members_) count_bytes(member);
}

void ClassicGroup::start(Instant now, Effects& effects) {
  for (auto& [id, member] : members_) touch(member, now);
  if (members_.size() > static_cast<size_t>(settings_.group_max_size))
    prepare_rebalance({"the group is over group.max.size", {}, {}, {}, {}}, now, effects);
}

void ClassicGroup::sync(SyncRequest request, Instant now, Effects& effects) {
  const auto refuse = [&](GroupError error) {
    SyncReply reply;
    reply.error = error;
    effects.replies.push_back({request.token, std::move(reply)});
  };
  const auto found = find_member(request.member_id, request.instance_id);
  if (!found) return refuse(found.error());
  (*found)->note_contact(request.connection);
  if (request.generation != generation_) return refuse(GroupError::kIllegalGeneration);
  if ((request.protocol_type && *request.protocol_type != protocol_type_) ||
      (request.protocol_name && request.protocol_name != protocol_name_))
    return refuse(GroupError::kInconsistentGroupProtocol);

  Member& member = **found;
  switch (state_) {
    case GroupState::kEmpty:  // has no members, so none was found
      return refuse(GroupError::kUnknownMemberId);
    case GroupState::kPreparingRebalance:
      return refuse(GroupError::kRebalanceInProgress);
    case GroupState::kCompletingRebalance:
      if (leader_ == member.id && bytes_of(request.assignments) > kAssignmentsBytesMax)
        return refuse(GroupError::kAssignmentTooLarge);
      if (leader_ == member.id && !memory_.takes(bytes_of(request.assignments), assignments_bytes_))
        return refuse(GroupError::kCoordinatorNotAvailable);
      // The same request once more, over a new connection: nobody reads the first one's reply.
      if (member.waiting_sync) {
        const RequestToken stale = *std::exchange(member.waiting_sync, request.token);
        effects.replies.push_back({stale, SyncReply{GroupError::kRebalanceInProgress, {}, {}, {}}});
      }
      member.waiting_sync = request.token;
      member.owes_sync = false;
      if (leader_ == member.id) assign(std::move(request.assignments), now, effects);
      return;
    case GroupState::kStable:
      member.owes_sync = false;
      touch(member, now);
      effects.replies.push_back(
          {request.token, SyncReply{GroupError::kNone, protocol_type_, protocol_name_, member.assignment}});
      return;
  }
}

std::vector<GroupError> ClassicGroup::leave(const LeaveRequest& request, Instant now, Effects& effects) {
  std::vector<GroupError> errors;
  errors.reserve(request.members.size());
  std::optional<RebalanceCause> cause;
  for (const LeavingMember& leaving : request.members) errors.push_back(leave_one(leaving, cause, effects));
  if (cause) rebalance_or_complete(std::move(*cause), now, effects);
  return errors;
}

// `cause` becomes what is to be known of the last member that was removed.
GroupError ClassicGroup::leave_one(const LeavingMember& leaving, std::optional<RebalanceCause>& cause,
                                   Effects& effects) {
  std::string_view member_id = leaving.member_id;
  if (member_id.empty()) {
    if (!leaving.instance_id) return GroupError::kUnknownMemberId;
    const auto by_instance = static_members_.find(*leaving.instance_id);
    if (by_instance == static_members_.end()) return GroupError::kUnknownMemberId;
    member_id = by_instance->second;
  } else if (const auto pending = pending_ids_.find(member_id); pending != pending_ids_.end()) {
    forget_pending(pending);
    return GroupError::kNone;
  }
  const auto found = find_member(member_id, leaving.instance_id);
  if (!found) return found.error();
  cause = cause_of(**found, leaving.reason.empty() ? "a member left" : "a member left: " + leaving.reason);
  remove_member(members_.find(member_id), effects);
  return GroupError::kNone;
}

GroupError ClassicGroup::check_commit(const CommitRequest& request, Instant now) {
  if (request.generation < 0 && state_ == GroupState::kEmpty) return GroupError::kNone;
  const bool is_by_a_member = request.generation >= 0 || !request.member_id.empty() || request.instance_id;
  // Before its version 3 TxnOffsetCommit cannot say who commits: clients to this day know nothing but the group.
  if (!is_by_a_member) return request.transaction ? GroupError::kNone : GroupError::kUnknownMemberId;
  const auto found = find_member(request.member_id, request.instance_id);
  if (!found) return found.error();
  // Commits may come over another connection than the one that tells of the member's life.
  (*found)->note_contact(ConnectionId{0});
  if (request.generation != generation_) return GroupError::kIllegalGeneration;
  // Clients take this answer to a transaction's commit for a defect: Kafka does not give it there.
  if (state_ == GroupState::kCompletingRebalance && !request.transaction) return GroupError::kRebalanceInProgress;
  touch(**found, now);
  return GroupError::kNone;
}

void ClassicGroup::connection_closed(ConnectionId connection, Instant now, Effects& effects) {
  // Nobody reads it.
  if (const auto held = held_heartbeats_.extract(connection); !held.empty())
    effects.replies.push_back({held.mapped().request.token, HeartbeatReply{}});
  for (auto& [id, member] : members_) {
    if (member.connection != connection || member.instance_id) continue;
    member.connection = ConnectionId{0};
    member.lost_until = now.mono + settings_.group_disconnect_grace_ms;
  }
}

void ClassicGroup::on_time(Instant now, Effects& effects) {
  for (auto pending = pending_ids_.begin(); pending != pending_ids_.end();)
    pending = now.mono >= pending->second ? forget_pending(pending) : std::next(pending);
  expire_members(now, effects);
  evict_who_owe_sync(now, effects);
  release_due(now, effects);
  complete_join_if_ready(now, effects);
}

std::optional<MonoTime> ClassicGroup::deadline() const {
  std::optional<MonoTime> earliest;
  const auto consider = [&](MonoTime time) { earliest = earliest ? std::min(*earliest, time) : time; };
  for (const auto& [id, until] : pending_ids_) consider(until);
  for (const auto& [id, member] : members_) {
    if (member.is_new || !member.in_request()) consider(member.expires_at);
    if (member.owes_sync) consider(sync_deadline_);
    if (member.lost_until) consider(*member.lost_until);
  }
  for (const auto& [connection, held] : held_heartbeats_) consider(held.until);
  if (state_ == GroupState::kPreparingRebalance)
    consider(everyone_joined() ? std::min(quiet_at_, join_deadline_) : join_deadline_);
  return earliest;
}

void ClassicGroup::resign(Effects& effects) {
  for (auto& [id, member] : members_) end_waits(member, GroupError::kNotCoordinator, effects);
  for (const auto& [connection, held] : held_heartbeats_)
    effects.replies.push_back({held.request.token, HeartbeatReply{GroupError::kNotCoordinator}});
  held_heartbeats_.clear();
}

void ClassicGroup::rebalance_or_complete(RebalanceCause cause, Instant now, Effects& effects) {
  if (state_ == GroupState::kPreparingRebalance) {
    complete_join_if_ready(now, effects);
  } else {
    prepare_rebalance(std::move(cause), now, effects);
  }
}

// The grace still counts for who is to be in the next generation.
void ClassicGroup::rebalance_if_someone_is_lost(Instant now, Effects& effects) {
  const auto lost = std::find_if(members_.begin(), members_.end(),
                                 [](const auto& entry) { return entry.second.lost_until.has_value(); });
  if (lost != members_.end()) prepare_rebalance(cause_of(lost->second, "a member's connection closed"), now, effects);
}

RebalanceCause ClassicGroup::cause_of(const Member& member, std::string reason) {
  return {std::move(reason), member.id, member.instance_id, member.client_id, member.client_host};
}

void ClassicGroup::note_cause(RebalanceCause cause, Instant now) {
  last_rebalance_reason_ = cause.reason;
  if (!rebalance_) {
    rebalance_.emplace();
    rebalance_->began = whole_ms(now.wall);
    rebalance_began_ = now.mono;
    rebalance_->before = std::exchange(departed_, {});
    if (state_ == GroupState::kStable)
      for (const auto& [id, member] : members_)
        if (!member.is_new) rebalance_->before.push_back(shown(member));
  }
  if (rebalance_->causes.size() < Rebalance::kCausesMax) rebalance_->causes.push_back(std::move(cause));
}

void ClassicGroup::end_rebalance(Instant now, Effects& effects) {
  departed_.clear();
  if (!rebalance_) return;
  Rebalance ended = std::move(*rebalance_);
  rebalance_.reset();
  ended.group = id_;
  ended.protocol_type = protocol_type_;
  ended.generation = generation_;
  ended.took = std::chrono::duration_cast<Millis>(now.mono - rebalance_began_);
  for (const auto& [id, member] : members_) ended.after.push_back(shown(member));
  effects.rebalances.push_back(std::move(ended));
}

void ClassicGroup::prepare_rebalance(RebalanceCause cause, Instant now, Effects& effects) {
  note_cause(std::move(cause), now);
  for (auto& [id, member] : members_) {
    member.owes_sync = false;
    if (state_ != GroupState::kCompletingRebalance) continue;
    // What the leader decides for this generation will not come to pass.
    set_assignment(member, {});
    if (!member.waiting_sync) continue;
    effects.replies.push_back({*member.waiting_sync, SyncReply{GroupError::kRebalanceInProgress, {}, {}, {}}});
    member.waiting_sync.reset();
    touch(member, now);
  }
  quiet_at_ = now.mono;
  if (state_ == GroupState::kEmpty) {
    quiet_at_ += settings_.group_initial_rebalance_delay_ms;
    // Nobody else is on the way: a lone consumer need not wait.
    if (!pending_ids_.empty()) note_newcomer(now);
  }
  join_deadline_ = now.mono + rebalance_timeout();
  set_state(GroupState::kPreparingRebalance, now);
  release_all(now, effects);
  complete_join_if_ready(now, effects);
}

void ClassicGroup::note_newcomer(Instant now) {
  quiet_at_ = std::max(quiet_at_, now.mono + settings_.group_rebalance_debounce_ms);
}

void ClassicGroup::complete_join_if_ready(Instant now, Effects& effects) {
  if (state_ != GroupState::kPreparingRebalance) return;
  if (now.mono >= join_deadline_ || (everyone_joined() && (members_.empty() || now.mono >= quiet_at_)))
    complete_join(now, effects);
}

void ClassicGroup::complete_join(Instant now, Effects& effects) {
  for (auto position = members_.begin(); position != members_.end();) {
    const auto next = std::next(position);
    if (!position->second.waiting_join && !position->second.instance_id) remove_member(position, effects);
    position = next;
  }
  if (members_.empty()) return become_empty(now, effects);

  const auto joined = [](const auto& entry) { return entry.second.waiting_join.has_value(); };
  const auto leader = leader_ ? members_.find(*leader_) : members_.end();
  if (leader == members_.end() || !joined(*leader)) {
    const auto other = std::find_if(members_.begin(), members_.end(), joined);
    if (other == members_.end()) {
      // Only static members, all away: wait until one comes back or their sessions end.
      join_deadline_ = now.mono + rebalance_timeout();
      return;
    }
    leader_ = other->first;
  }
  begin_generation(now, effects);
}

void ClassicGroup::become_empty(Instant now, Effects& effects) {
  generation_ = generation_ == std::numeric_limits<int32_t>::max() ? 0 : generation_ + 1;
  protocol_name_.reset();
  leader_.reset();
  set_state(GroupState::kEmpty, now);
  record(effects);
  end_rebalance(now, effects);
}

void ClassicGroup::begin_generation(Instant now, Effects& effects) {
  generation_ = generation_ == std::numeric_limits<int32_t>::max() ? 0 : generation_ + 1;
  protocol_name_ = select_protocol();
  set_state(GroupState::kCompletingRebalance, now);
  sync_deadline_ = now.mono + rebalance_timeout();
  for (auto& [id, member] : members_) {
    if (!member.waiting_join) continue;
    reply_with_generation(member, *member.waiting_join, effects);
    member.waiting_join.reset();
    member.is_new = false;
    member.owes_sync = true;
    touch(member, now);
  }
}

void ClassicGroup::assign(std::vector<MemberAssignment> assignments, Instant now, Effects& effects) {
  for (auto& [id, member] : members_) set_assignment(member, {});
  for (MemberAssignment& given : assignments) {
    const auto position = members_.find(given.member_id);
    if (position != members_.end()) set_assignment(position->second, std::move(given.assignment));
  }
  set_state(GroupState::kStable, now);
  record(effects);
  end_rebalance(now, effects);
  for (auto& [id, member] : members_) {
    if (!member.waiting_sync) continue;
    effects.replies.push_back(
        {*member.waiting_sync, SyncReply{GroupError::kNone, protocol_type_, protocol_name_, member.assignment}});
    member.waiting_sync.reset();
    touch(member, now);
  }
}

// Each member votes for the protocol it prefers among those that all members know.
std::string ClassicGroup::select_protocol() const {
  const auto known_to_all = [&](const std::string& name) {
    return std::all_of(members_.begin(), members_.end(),
                       [&](const auto& entry) { return entry.second.find_protocol(name) != nullptr; });
  };
  std::map<std::string, int> votes;
  for (const Protocol& candidate : members_.begin()->second.protocols)
    if (known_to_all(candidate.name)) votes[candidate.name] = 0;
  for (const auto& [id, member] : members_) {
    const auto choice = std::find_if(member.protocols.begin(), member.protocols.end(),
                                     [&](const Protocol& protocol) { return votes.contains(protocol.name); });
    if (choice != member.protocols.end()) ++votes[choice->name];
  }
  const auto winner =
      std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  // Joins are refused unless a protocol common to all is left, so only a log that another program wrote gets here
  // without.
  return winner == votes.end() ? std::string() : winner->first;
}

tl::expected<Member*, GroupError> ClassicGroup::find_member(std::string_view member_id,
                                                            const std::optional<std::string>& instance_id) {
  if (instance_id) {
    const auto owner = static_members_.find(*instance_id);
    if (owner == static_members_.end()) return tl::unexpected(GroupError::kUnknownMemberId);
    if (owner->second != member_id) return tl::unexpected(GroupError::kFencedInstanceId);
  }
  const auto position = members_.find(member_id);
  if (position == members_.end()) return tl::unexpected(GroupError::kUnknownMemberId);
  return &position->second;
}

void ClassicGroup::remove_member(Members::iterator position, Effects& effects) {
  Member& member = position->second;
  end_waits(member, GroupError::kUnknownMemberId, effects);
  if (state_ == GroupState::kStable) departed_.push_back(shown(member));
  if (member.instance_id) {
    const auto owner = static_members_.find(*member.instance_id);
    if (owner != static_members_.end() && owner->second == member.id) static_members_.erase(owner);
  }
  if (leader_ == member.id) leader_.reset();
  set_assignment(member, {});
  count(members_bytes_, member.counted_bytes, 0);
  members_.erase(position);
}

ClassicGroup::PendingIds::iterator ClassicGroup::forget_pending(PendingIds::iterator pending) {
  count(pending_bytes_, pending->first.size(), 0);
  return pending_ids_.erase(pending);
}

void ClassicGroup::set_assignment(Member& member, Bytes assignment) {
  count(assignments_bytes_, member.assignment.size(), assignment.size());
  member.assignment = std::move(assignment);
}

void ClassicGroup::count(size_t& sum, size_t before, size_t now) {
  sum = sum - before + now;
  memory_.bytes = memory_.bytes - before + now;
}

void ClassicGroup::expire_members(Instant now, Effects& effects) {
  std::optional<RebalanceCause> cause;
  for (auto position = members_.begin(); position != members_.end();) {
    const auto next = std::next(position);
    const Member& member = position->second;
    const bool lost = member.lost(now.mono);
    if (lost || member.expired(now.mono)) {
      cause = cause_of(
          member, lost ? "a member's connection closed, and it did not come back" : "a member's session timed out");
      remove_member(position, effects);
    }
    position = next;
  }
  if (cause) rebalance_or_complete(std::move(*cause), now, effects);
}

void ClassicGroup::evict_who_owe_sync(Instant now, Effects& effects) {
  std::optional<RebalanceCause> cause;
  for (auto position = members_.begin(); position != members_.end();) {
    const auto next = std::next(position);
    if (position->second.owes_sync && now.mono >= sync_deadline_) {
      cause = cause_of(position->second, "a member did not fetch its assignment");
      remove_member(position, effects);
    }
    position = next;
  }
  if (cause) rebalance_or_complete(std::move(*cause), now, effects);
}

void ClassicGroup::end_waits(Member& member, GroupError error, Effects& effects) {
  if (member.waiting_join) {
    JoinReply reply;
    reply.error = error;
    reply.member_id = member.id;
    effects.replies.push_back({*member.waiting_join, std::move(reply)});
  }
  if (member.waiting_sync) effects.replies.push_back({*member.waiting_sync, SyncReply{error, {}, {}, {}}});
  member.waiting_join.reset();
  member.waiting_sync.reset();
}

void ClassicGroup::touch(Member& member, Instant now) {
  if (!member.is_new) member.expires_at = now.mono + member.session_timeout;
}

bool ClassicGroup::everyone_joined() const {
  return std::all_of(members_.begin(), members_.end(),
                     [](const auto& entry) { return entry.second.waiting_join.has_value(); });
}

ClassicGroup::Millis ClassicGroup::rebalance_timeout() const {
  // Below that a client asks for what it cannot keep; the floor keeps deadlines from following one another endlessly.
  Millis longest{100};
  for (const auto& [id, member] : members_) longest = std::max(longest, member.rebalance_timeout);
  return longest;
}

void ClassicGroup::set_state(GroupState state, Instant now) {
  state_ = state;
  state_since_ = whole_ms(now.wall);
}

void ClassicGroup::record(Effects& effects) {
  GroupRecordValue value;
  value.protocol_type = protocol_type_;
  value.generation = generation_;
  value.protocol_name = protocol_name_;
  value.leader = leader_;
  value.state_since = state_since_;
  value.members.reserve(members_.size());
  for (const auto& [id, member] : members_) {
    const Protocol* selected = protocol_name_ ? member.find_protocol(*protocol_name_) : nullptr;
    value.members.push_back({member.id, member.instance_id, member.client_id, member.client_host,
                             member.session_timeout, member.rebalance_timeout, selected ? selected->metadata : Bytes{},
                             member.assignment});
  }
  effects.records.push_back(GroupRecord{id_, std::move(value)});
  recorded_ = true;
}

}  // namespace millrace::coord::internal
