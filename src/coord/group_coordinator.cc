#include "coord/group_coordinator.h"

#include <algorithm>

#include "base/text.h"
#include "coord/internal/group.h"

namespace millrace::coord {
namespace {

using internal::ClassicGroup;
using internal::Group;

// At most about this many offsets are expired in one call, so that one write stays small.
constexpr size_t kExpiredPerCallMax = 1000;

constexpr const char* kClassicType = "classic";

bool passes(const std::vector<std::string>& wanted, std::string_view name) {
  return wanted.empty() || std::any_of(wanted.begin(), wanted.end(),
                                       [&](const std::string& one) { return equal_ignoring_case(one, name); });
}

template <typename Body>
void reply(Effects& effects, RequestToken to, Body body) {
  effects.replies.push_back({to, std::move(body)});
}

}  // namespace

GroupCoordinator::GroupCoordinator(GroupSettings settings, Random random)
    : settings_(settings),
      random_(random),
      members_memory_(
          std::make_unique<internal::MembersMemory>(internal::MembersMemory{settings.group_members_max_bytes})) {}
GroupCoordinator::~GroupCoordinator() = default;

void GroupCoordinator::apply(Record record) {
  Group& group = find_or_create(group_of(record));
  if (auto* offset = std::get_if<OffsetRecord>(&record)) {
    if (offset->transaction && offset->value) {
      transaction_groups_[offset->transaction->id].insert(group.id);
      return group.offsets.restore_pending(*offset->transaction, std::move(offset->topic), offset->partition,
                                           std::move(*offset->value));
    }
    group.offsets.restore(std::move(offset->topic), offset->partition, std::move(offset->value));
  } else {
    group.membership.restore(std::move(std::get<GroupRecord>(record).value));
  }
}

void GroupCoordinator::apply(const TransactionEnded& marker) { end_transaction(marker); }

std::vector<std::string> GroupCoordinator::end_transaction(const TransactionEnded& marker) {
  std::vector<std::string> concerned;
  const auto found = transaction_groups_.find(marker.producer);
  if (found == transaction_groups_.end()) return concerned;
  std::erase_if(found->second, [&](const std::string& id) {
    if (!marker.concerns(id)) return false;
    if (Group* group = find(id)) group->offsets.end_transaction(marker.producer, marker.committed);
    concerned.push_back(id);
    return true;
  });
  if (found->second.empty()) transaction_groups_.erase(found);
  return concerned;
}

Effects GroupCoordinator::start(Instant now) {
  Effects effects;
  std::erase_if(groups_, [](const auto& entry) { return entry.second->is_disposable(); });
  for (auto& [id, group] : groups_) {
    group->membership.start(now, effects);
    reschedule(*group);
  }
  next_retention_check_ = now.mono + settings_.offsets_retention_check_interval_ms;
  return effects;
}

Effects GroupCoordinator::handle(Event event, Instant now) {
  Effects effects;
  std::visit([&](auto& any) { on(std::move(any), now, effects); }, event);
  return effects;
}

Effects GroupCoordinator::on_time(Instant now) {
  Effects effects;
  // Each group once: what it makes due by this is for the next call.
  std::vector<std::string> due;
  for (const auto& [time, id] : deadlines_) {
    if (time > now.mono) break;
    due.emplace_back(id);
  }
  for (const std::string& id : due) {
    Group& group = *find(id);
    group.membership.on_time(now, effects);
    reschedule_or_dispose(group);
  }
  if (next_retention_check_ && now.mono >= *next_retention_check_) check_retention(now, effects);
  return effects;
}

std::optional<MonoTime> GroupCoordinator::next_deadline() const {
  std::optional<MonoTime> earliest;
  if (!groups_.empty()) earliest = next_retention_check_;
  if (!deadlines_.empty())
    earliest = earliest ? std::min(*earliest, deadlines_.begin()->first) : deadlines_.begin()->first;
  return earliest;
}

Effects GroupCoordinator::resign() {
  Effects effects;
  for (auto& [id, group] : groups_) group->membership.resign(effects);
  return effects;
}

size_t GroupCoordinator::member_bytes() const { return members_memory_->bytes; }

std::vector<GroupListing> GroupCoordinator::list(const GroupFilter& filter) const {
  std::vector<GroupListing> listings;
  if (!passes(filter.types, kClassicType)) return listings;
  for (const auto& [id, group] : groups_) {
    const ClassicGroup& membership = group->membership;
    if (!passes(filter.states, group_state_name(membership.state()))) continue;
    listings.push_back({id, membership.protocol_type(), membership.state(), kClassicType});
  }
  return listings;
}

std::optional<GroupDescription> GroupCoordinator::describe(std::string_view id) const {
  const auto found = groups_.find(id);
  if (found == groups_.end()) return std::nullopt;
  const ClassicGroup& membership = found->second->membership;
  const bool stable = membership.state() == GroupState::kStable;

  GroupDescription description;
  description.state = membership.state();
  description.protocol_type = membership.protocol_type();
  if (stable) description.protocol_name = membership.protocol_name().value_or("");
  description.generation = membership.generation();
  description.last_rebalance_reason = membership.last_rebalance_reason();
  for (const auto& [member_id, member] : membership.members()) {
    MemberDescription shown{member.id, member.instance_id, member.client_id, member.client_host, {}, {}};
    if (stable) {
      const Protocol* selected = member.find_protocol(description.protocol_name);
      if (selected != nullptr) shown.metadata = selected->metadata;
      shown.assignment = member.assignment;
    }
    description.members.push_back(std::move(shown));
  }
  return description;
}

const CommittedOffset* GroupCoordinator::committed_offset(std::string_view id, std::string_view topic,
                                                          PartitionId partition) const {
  const auto found = groups_.find(id);
  return found == groups_.end() ? nullptr : found->second->offsets.find(topic, partition);
}

bool GroupCoordinator::has_pending_offset(std::string_view id, std::string_view topic, PartitionId partition) const {
  const auto found = groups_.find(id);
  return found != groups_.end() && found->second->offsets.has_pending(topic, partition);
}

std::vector<PartitionOffset> GroupCoordinator::committed_offsets(std::string_view id) const {
  const auto found = groups_.find(id);
  return found == groups_.end() ? std::vector<PartitionOffset>{} : found->second->offsets.all();
}

void GroupCoordinator::visit_groups(std::string_view after,
                                    const std::function<bool(const GroupSummary&)>& visit) const {
  for (auto entry = groups_.upper_bound(after); entry != groups_.end(); ++entry) {
    const ClassicGroup& membership = entry->second->membership;
    if (!visit({entry->first, membership.state(), membership.members().size()})) return;
  }
}

std::optional<std::string> GroupCoordinator::visit_offsets(std::string_view group, std::string_view after,
                                                           size_t count_max, const OffsetVisitor& visit) const {
  const auto found = groups_.find(group);
  return found == groups_.end() ? std::nullopt : found->second->offsets.visit(after, count_max, visit);
}

void GroupCoordinator::on(JoinRequest request, Instant now, Effects& effects) {
  const auto refuse = [&](GroupError error) {
    JoinReply refusal;
    refusal.error = error;
    refusal.member_id = request.member_id;
    reply(effects, request.token, std::move(refusal));
  };
  if (request.group.empty()) return refuse(GroupError::kInvalidGroupId);
  if (request.session_timeout_ms < settings_.group_min_session_timeout_ms ||
      request.session_timeout_ms > settings_.group_max_session_timeout_ms)
    return refuse(GroupError::kInvalidSessionTimeout);
  // Only a newcomer may bring a group into being.
  Group* group = request.member_id.empty() ? &find_or_create(request.group) : find(request.group);
  if (group == nullptr) return refuse(GroupError::kUnknownMemberId);
  const std::string id = group->id;
  const std::string member_id = request.member_id;
  const ConnectionId connection = request.connection;
  group->membership.join(std::move(request), now, random_, effects);
  reschedule_or_dispose(*group);
  // A join that was refused may have left nothing.
  if (const Group* left = find(id)) note_connection(connection, member_id, *left);
}

void GroupCoordinator::on(SyncRequest request, Instant now, Effects& effects) {
  const auto refuse = [&](GroupError error) { reply(effects, request.token, SyncReply{error, {}, {}, {}}); };
  if (request.group.empty()) return refuse(GroupError::kInvalidGroupId);
  Group* group = find(request.group);
  if (group == nullptr) return refuse(GroupError::kUnknownMemberId);
  note_connection(request.connection, request.member_id, *group);
  group->membership.sync(std::move(request), now, effects);
  reschedule(*group);
}

void GroupCoordinator::on(HeartbeatRequest request, Instant now, Effects& effects) {
  const RequestToken token = request.token;
  if (request.group.empty()) return reply(effects, token, HeartbeatReply{GroupError::kInvalidGroupId});
  Group* group = find(request.group);
  if (group == nullptr) return reply(effects, token, HeartbeatReply{GroupError::kUnknownMemberId});
  note_connection(request.connection, request.member_id, *group);
  const auto outcome = group->membership.heartbeat(std::move(request), now, effects);
  if (const auto* held_until = std::get_if<MonoTime>(&outcome)) return schedule_by(*group, *held_until);
  const GroupError error = std::get<GroupError>(outcome);
  // Otherwise it only puts the member's deadline off, so the one that is scheduled is early at worst.
  if (error == GroupError::kRebalanceInProgress) reschedule(*group);
  reply(effects, token, HeartbeatReply{error});
}

void GroupCoordinator::on(LeaveRequest request, Instant now, Effects& effects) {
  LeaveReply answer;
  Group* group = find(request.group);
  if (request.group.empty()) {
    answer.error = GroupError::kInvalidGroupId;
  } else {
    const std::vector<GroupError> errors =
        group != nullptr ? group->membership.leave(request, now, effects)
                         : std::vector<GroupError>(request.members.size(), GroupError::kUnknownMemberId);
    for (size_t i = 0; i < errors.size(); ++i)
      answer.members.push_back(
          {std::move(request.members[i].member_id), std::move(request.members[i].instance_id), errors[i]});
    if (group != nullptr) reschedule_or_dispose(*group);
  }
  reply(effects, request.token, std::move(answer));
}

void GroupCoordinator::on(CommitRequest request, Instant now, Effects& effects) {
  Group* group = find(request.group);
  GroupError error = GroupError::kNone;
  if (request.group.empty()) {
    error = GroupError::kInvalidGroupId;  // nobody could ask for them
  } else if (group != nullptr) {
    error = group->membership.check_commit(request, now);
  } else if (request.generation >= 0) {
    error = GroupError::kIllegalGeneration;
  }
  CommitReply answer;
  answer.errors.reserve(request.offsets.size());
  for (OffsetToCommit& given : request.offsets) {
    GroupError outcome = error;
    if (outcome == GroupError::kNone &&
        given.metadata.size() > static_cast<size_t>(settings_.offset_metadata_max_bytes))
      outcome = GroupError::kOffsetMetadataTooLarge;
    if (outcome == GroupError::kNone) {
      if (group == nullptr) group = &find_or_create(request.group);
      CommittedOffset offset{given.offset, given.leader_epoch, std::move(given.metadata), whole_ms(now.wall)};
      if (request.transaction) {
        transaction_groups_[request.transaction->id].insert(group->id);
        group->offsets.commit_pending(*request.transaction, std::move(given.topic), given.partition, std::move(offset),
                                      effects);
      } else {
        group->offsets.commit(std::move(given.topic), given.partition, std::move(offset), effects);
      }
    }
    answer.errors.push_back(outcome);
  }
  reply(effects, request.token, std::move(answer));
}

void GroupCoordinator::on(DeleteGroupRequest request, Instant, Effects& effects) {
  DeleteGroupReply answer;
  Group* group = find(request.group);
  if (group == nullptr) {
    answer.error = GroupError::kGroupIdNotFound;
  } else if (group->membership.state() != GroupState::kEmpty) {
    answer.error = GroupError::kNonEmptyGroup;
  } else {
    group->offsets.delete_all(effects);
    remove(*group, effects);
  }
  reply(effects, request.token, answer);
}

void GroupCoordinator::on(DeleteOffsetsRequest request, Instant, Effects& effects) {
  DeleteOffsetsReply answer;
  Group* group = find(request.group);
  const auto in_use = [&](const std::string& topic) {
    if (group->membership.state() == GroupState::kEmpty) return false;
    return request.subscribed->contains(topic);
  };
  if (request.group.empty()) {
    answer.error = GroupError::kInvalidGroupId;
  } else if (group == nullptr) {
    answer.error = GroupError::kGroupIdNotFound;
  } else if (group->membership.state() != GroupState::kEmpty && !request.subscribed) {
    answer.error = GroupError::kNonEmptyGroup;
  } else {
    for (const TopicPartition& partition : request.partitions) {
      const bool refused = in_use(partition.topic);
      answer.errors.push_back(refused ? GroupError::kGroupSubscribedToTopic : GroupError::kNone);
      if (!refused) group->offsets.delete_one(partition, effects);
    }
    reschedule_or_dispose(*group);
  }
  reply(effects, request.token, std::move(answer));
}

void GroupCoordinator::on(TransactionEnded event, Instant, Effects&) {
  for (const std::string& id : end_transaction(event)) {
    if (Group* group = find(id)) reschedule_or_dispose(*group);
  }
}

void GroupCoordinator::on(ConnectionClosed event, Instant now, Effects& effects) {
  const auto closed = connection_groups_.extract(event.connection);
  if (closed.empty() || settings_.group_disconnect_grace_ms.count() == 0) return;
  for (const std::string& id : closed.mapped()) {
    Group* group = find(id);
    if (group == nullptr) continue;
    group->membership.connection_closed(event.connection, now, effects);
    reschedule(*group);
  }
}

void GroupCoordinator::on(NextRequestWaits event, Instant now, Effects& effects) {
  const auto spoken_to = connection_groups_.find(event.connection);
  if (spoken_to == connection_groups_.end()) return;
  for (const std::string& id : spoken_to->second) {
    Group* group = find(id);
    if (group == nullptr) continue;
    group->membership.next_request_waits(event.connection, now, effects);
    if (group->membership.state() != GroupState::kStable) reschedule(*group);
  }
}

// Only what members and newcomers do counts: nobody can fill the table by naming groups.
void GroupCoordinator::note_connection(ConnectionId connection, std::string_view member_id, const Group& group) {
  if (connection.value() == 0) return;
  if (member_id.empty() || group.membership.has_member(member_id)) connection_groups_[connection].insert(group.id);
}

void GroupCoordinator::on(TopicDeleted event, Instant, Effects& effects) {
  for (auto& [id, group] : groups_) group->offsets.delete_topic(event.topic, effects);
  std::erase_if(groups_, [](const auto& entry) { return entry.second->is_disposable(); });
}

void GroupCoordinator::check_retention(Instant now, Effects& effects) {
  next_retention_check_ = now.mono + settings_.offsets_retention_check_interval_ms;
  const WallTime horizon = now.wall - settings_.offsets_retention_minutes;
  for (auto position = groups_.begin(); position != groups_.end();) {
    Group& group = *(position++)->second;
    if (!group.membership.is_vacant()) continue;
    // Members' offsets count from when the last member went; a simple consumer's group never had any.
    const bool had_members = !group.membership.protocol_type().empty();
    if (!had_members || group.membership.state_since() <= horizon) {
      const size_t used = effects.records.size();
      const size_t left = used < kExpiredPerCallMax ? kExpiredPerCallMax - used : 0;
      if (!group.offsets.expire(horizon, left, effects)) {
        next_retention_check_ = now.mono;
        return;
      }
    }
    if (group.offsets.empty()) remove(group, effects);
  }
}

internal::Group* GroupCoordinator::find(std::string_view id) {
  const auto found = groups_.find(id);
  return found == groups_.end() ? nullptr : found->second.get();
}

internal::Group& GroupCoordinator::find_or_create(const std::string& id) {
  std::unique_ptr<Group>& group = groups_[id];
  if (!group) group = std::make_unique<Group>(id, settings_, *members_memory_);
  return *group;
}

void GroupCoordinator::reschedule(Group& group) {
  const std::optional<MonoTime> deadline = group.membership.deadline();
  if (deadline == group.scheduled) return;
  if (group.scheduled) deadlines_.erase({*group.scheduled, group.id});
  if (deadline) deadlines_.insert({*deadline, group.id});
  group.scheduled = deadline;
}

void GroupCoordinator::schedule_by(Group& group, MonoTime time) {
  if (group.scheduled && *group.scheduled <= time) return;
  if (group.scheduled) deadlines_.erase({*group.scheduled, group.id});
  deadlines_.insert({time, group.id});
  group.scheduled = time;
}

void GroupCoordinator::reschedule_or_dispose(Group& group) {
  reschedule(group);
  if (group.is_disposable()) groups_.erase(groups_.find(group.id));
}

// `group` has no members and no offsets. Its record, if there is one, is deleted with it.
void GroupCoordinator::remove(Group& group, Effects& effects) {
  if (group.membership.is_recorded()) effects.records.push_back(GroupRecord{group.id, std::nullopt});
  if (group.scheduled) deadlines_.erase({*group.scheduled, group.id});
  groups_.erase(groups_.find(group.id));
}

}  // namespace millrace::coord
