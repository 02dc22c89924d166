// JoinGroup, by who asks: a newcomer, a newcomer that was told its id, a member again, a static member's next process.

#include <algorithm>
#include <utility>

#include "base/uuid.h"
#include "coord/internal/classic_group.h"

namespace millrace::coord::internal {
namespace {

void refuse(GroupError error, RequestToken token, std::string member_id, Effects& effects) {
  JoinReply reply;
  reply.error = error;
  reply.member_id = std::move(member_id);
  effects.replies.push_back({token, std::move(reply)});
}

// The beginning of `text`, of at most so many bytes, cut between characters.
std::string up_to(const std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xc0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

// Kafka, too, names static members after their instance id.
const std::string& stem_of_id(const JoinRequest& request) {
  return request.instance_id ? *request.instance_id : request.client_id;
}

// The id has to fit a record's string, however long the name that it begins with.
constexpr size_t kStemBytesMax = 1024;

// At most.
size_t new_id_bytes(const JoinRequest& request) {
  constexpr size_t kUuidBytes = 36;
  return std::min(stem_of_id(request).size(), kStemBytesMax) + 1 + kUuidBytes;
}

// What it tells about its member.
size_t bytes_of(const JoinRequest& request) {
  size_t bytes = request.client_id.size() + request.client_host.size();
  for (const Protocol& protocol : request.protocols) bytes += protocol.name.size() + protocol.metadata.size();
  return bytes;
}

}  // namespace

void ClassicGroup::join(JoinRequest request, Instant now, Random& random, Effects& effects) {
  if (!has_room_for(request)) {
    const RequestToken token = request.token;
    const auto position = members_.find(request.member_id);
    if (const auto pending = pending_ids_.find(request.member_id); pending != pending_ids_.end())
      forget_pending(pending);
    refuse(GroupError::kGroupMaxSizeReached, token, std::move(request.member_id), effects);
    if (position == members_.end()) return;
    RebalanceCause cause = cause_of(position->second, "there was no room for a member");
    remove_member(position, effects);
    return rebalance_or_complete(std::move(cause), now, effects);
  }
  // Nothing is wrong with this group: its members come again until others have gone.
  if (!has_memory_for(request))
    return refuse(GroupError::kCoordinatorNotAvailable, request.token, std::move(request.member_id), effects);
  if (!supports_any(request))
    return refuse(GroupError::kInconsistentGroupProtocol, request.token, std::move(request.member_id), effects);
  if (request.member_id.empty()) return join_as_newcomer(std::move(request), now, random, effects);
  join_again(std::move(request), now, effects);
}

void ClassicGroup::join_as_newcomer(JoinRequest request, Instant now, Random& random, Effects& effects) {
  std::string new_id = up_to(stem_of_id(request), kStemBytesMax) + "-" + Uuid::random(random).to_string();

  if (request.instance_id && static_members_.contains(*request.instance_id))
    return replace_static_member(std::move(request), std::move(new_id), now, effects);
  if (!request.instance_id && request.requires_known_member_id) {
    // A client that never hears this reply leaves no member behind, only an id that expires.
    pending_ids_[new_id] = now.mono + request.session_timeout_ms;
    count(pending_bytes_, 0, new_id.size());
    if (state_ == GroupState::kPreparingRebalance) note_newcomer(now);
    return refuse(GroupError::kMemberIdRequired, request.token, std::move(new_id), effects);
  }
  add_member(std::move(request), std::move(new_id), now, effects);
}

void ClassicGroup::join_again(JoinRequest request, Instant now, Effects& effects) {
  if (const auto pending = pending_ids_.find(request.member_id); pending != pending_ids_.end()) {
    // Ids are handed out to dynamic members only.
    if (request.instance_id)
      return refuse(GroupError::kInvalidRequest, request.token, std::move(request.member_id), effects);
    forget_pending(pending);
    std::string member_id = std::move(request.member_id);
    return add_member(std::move(request), std::move(member_id), now, effects);
  }
  const auto found = find_member(request.member_id, request.instance_id);
  if (!found) return refuse(found.error(), request.token, std::move(request.member_id), effects);

  Member& member = **found;
  member.note_contact(request.connection);
  const bool unchanged = member.protocols == request.protocols;
  switch (state_) {
    case GroupState::kEmpty:  // has no members, so none was found
      return refuse(GroupError::kUnknownMemberId, request.token, std::move(request.member_id), effects);
    case GroupState::kPreparingRebalance:
      return rejoin(member, std::move(request), "a member joined again", now, effects);
    case GroupState::kCompletingRebalance:
      if (!unchanged) return rejoin(member, std::move(request), "a member joined with other metadata", now, effects);
      break;  // most likely it never received the reply to its first join
    case GroupState::kStable:
      // The leader joins again when it sees that topics have changed: it must assign anew.
      if (leader_ == member.id) return rejoin(member, std::move(request), "the leader joined again", now, effects);
      if (!unchanged) return rejoin(member, std::move(request), "a member joined with other metadata", now, effects);
      break;
  }
  touch(member, now);
  reply_with_generation(member, request.token, effects);
}

void ClassicGroup::add_member(JoinRequest request, std::string member_id, Instant now, Effects& effects) {
  if (members_.empty()) protocol_type_ = request.protocol_type;
  Member member;
  member.id = member_id;
  member.instance_id = request.instance_id;
  member.client_id = std::move(request.client_id);
  member.client_host = std::move(request.client_host);
  member.note_contact(request.connection);
  // A newcomer that does not know its id cannot send heartbeats; one that is gone must not stay forever.
  member.expires_at = now.mono + settings_.new_member_join_timeout_ms;
  if (member.instance_id) static_members_[*member.instance_id] = member_id;
  const auto position = members_.emplace(std::move(member_id), std::move(member)).first;

  std::string reason = "a member joined";
  if (!request.reason.empty()) reason += ": " + request.reason;
  wait_for_rebalance(position->second, std::move(request), effects);

  const bool first = state_ == GroupState::kEmpty;
  if (state_ != GroupState::kPreparingRebalance)
    prepare_rebalance(cause_of(position->second, std::move(reason)), now, effects);
  if (!first) note_newcomer(now);
  complete_join_if_ready(now, effects);
}

void ClassicGroup::rejoin(Member& member, JoinRequest request, const std::string& reason, Instant now,
                          Effects& effects) {
  RebalanceCause cause = cause_of(member, request.reason.empty() ? reason : reason + ": " + request.reason);
  wait_for_rebalance(member, std::move(request), effects);
  rebalance_or_complete(std::move(cause), now, effects);
}

// Another process has come up with the instance id of a member. It takes the member's place under a new id, which
// fences the old process.
void ClassicGroup::replace_static_member(JoinRequest request, std::string new_id, Instant now, Effects& effects) {
  const std::string old_id = static_members_.at(*request.instance_id);
  auto node = members_.extract(old_id);
  Member& member = node.mapped();
  end_waits(member, GroupError::kFencedInstanceId, effects);
  const std::optional<std::string> old_leader = leader_;
  if (leader_ == old_id) leader_ = new_id;
  static_members_[*request.instance_id] = new_id;
  member.id = new_id;
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  member.note_contact(request.connection);
  member.owes_sync = false;
  if (member.is_new) member.expires_at = now.mono + settings_.new_member_join_timeout_ms;
  node.key() = std::move(new_id);
  members_.insert(std::move(node));
  release_of(old_id, now, effects);

  const RequestToken token = request.token;
  const bool supports_skip_assignment = request.supports_skip_assignment;
  wait_for_rebalance(member, std::move(request), effects);
  touch(member, now);
  if (state_ != GroupState::kStable || select_protocol() != protocol_name_)
    return rebalance_or_complete(cause_of(member, "a static member came back"), now, effects);

  // Nothing changes for anyone else. A leader that is told to lead would assign again, so it is told to skip that;
  // where the version cannot say so, that somebody else leads.
  member.waiting_join.reset();
  JoinReply reply = generation_reply(member);
  if (supports_skip_assignment) {
    reply.skip_assignment = leader_ == member.id;
    if (reply.skip_assignment) reply.members = joined_members();
  } else {
    reply.leader = old_leader.value_or("");
  }
  record(effects);
  effects.replies.push_back({token, std::move(reply)});
}

// `member` is what its newest join says, and waits for the rebalance to end.
void ClassicGroup::wait_for_rebalance(Member& member, JoinRequest request, Effects& effects) {
  member.session_timeout = request.session_timeout_ms;
  member.rebalance_timeout = std::max(request.rebalance_timeout_ms, Millis{0});
  member.protocols = std::move(request.protocols);
  count_bytes(member);
  // The same request once more, over a new connection: nobody reads the first one's reply.
  if (member.waiting_join) refuse(GroupError::kRebalanceInProgress, *member.waiting_join, member.id, effects);
  member.waiting_join = request.token;
}

JoinReply ClassicGroup::generation_reply(const Member& member) const {
  JoinReply reply;
  reply.member_id = member.id;
  reply.generation = generation_;
  reply.protocol_type = protocol_type_;
  reply.protocol_name = protocol_name_;
  reply.leader = leader_.value_or("");
  return reply;
}

void ClassicGroup::reply_with_generation(const Member& member, RequestToken token, Effects& effects) const {
  JoinReply reply = generation_reply(member);
  if (leader_ == member.id) reply.members = joined_members();
  effects.replies.push_back({token, std::move(reply)});
}

std::vector<JoinedMember> ClassicGroup::joined_members() const {
  std::vector<JoinedMember> all;
  all.reserve(members_.size());
  for (const auto& [id, member] : members_) {
    const Protocol* selected = protocol_name_ ? member.find_protocol(*protocol_name_) : nullptr;
    all.push_back({id, member.instance_id, selected ? selected->metadata : Bytes{}});
  }
  return all;
}

// While a rebalance gathers members, only those count that are sure to be in its generation (static members stay even
// if they do not come): an old member that comes late does not push out a new one.
bool ClassicGroup::has_room_for(const JoinRequest& request) const {
  if (!has_bytes_for(request)) return false;
  if (request.member_id.empty() && pending_ids_.size() >= kPendingIdsMax) return false;
  // The next process of a static member takes a place that is its own already.
  if (request.instance_id && static_members_.contains(*request.instance_id)) return true;
  const auto size_max = static_cast<size_t>(settings_.group_max_size);
  const auto position = members_.find(request.member_id);
  switch (state_) {
    case GroupState::kEmpty:
      return true;
    case GroupState::kPreparingRebalance: {
      if (position != members_.end() && position->second.waiting_join) return true;
      const auto staying = std::count_if(members_.begin(), members_.end(), [&](const auto& entry) {
        return entry.first != request.member_id && (entry.second.waiting_join || entry.second.instance_id);
      });
      return static_cast<size_t>(staying) < size_max;
    }
    case GroupState::kCompletingRebalance:
    case GroupState::kStable:
      return position != members_.end() || members_.size() < size_max;
  }
  return false;
}

bool ClassicGroup::has_bytes_for(const JoinRequest& request) const {
  const Member* place = place_of(request);
  const size_t others = members_bytes_ - (place == nullptr ? 0 : place->counted_bytes);
  return others + bytes_of(request) <= kMembersBytesMax;
}

bool ClassicGroup::has_memory_for(const JoinRequest& request) const {
  const Member* place = place_of(request);
  const size_t names = request.member_id.empty() ? new_id_bytes(request) : request.member_id.size();
  const size_t bytes = bytes_of(request) + names + (request.instance_id ? request.instance_id->size() : 0);
  if (place != nullptr) return memory_.takes(bytes, place->counted_bytes);
  return memory_.takes(bytes, pending_ids_.contains(request.member_id) ? request.member_id.size() : 0);
}

const Member* ClassicGroup::place_of(const JoinRequest& request) const {
  const auto owner = request.instance_id ? static_members_.find(*request.instance_id) : static_members_.end();
  const auto position = members_.find(owner == static_members_.end() ? request.member_id : owner->second);
  return position == members_.end() ? nullptr : &position->second;
}

void ClassicGroup::count_bytes(Member& member) {
  const size_t before = std::exchange(member.counted_bytes, member.bytes());
  count(members_bytes_, before, member.counted_bytes);
}

bool ClassicGroup::supports_any(const JoinRequest& request) const {
  if (members_.empty()) return !request.protocol_type.empty() && !request.protocols.empty();
  if (request.protocol_type != protocol_type_) return false;
  return std::any_of(request.protocols.begin(), request.protocols.end(), [&](const Protocol& offered) {
    return std::all_of(members_.begin(), members_.end(),
                       [&](const auto& entry) { return entry.second.find_protocol(offered.name) != nullptr; });
  });
}

}  // namespace millrace::coord::internal
