#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "base/random.h"
#include "coord/effects.h"
#include "coord/internal/member.h"
#include "coord/requests.h"
#include "coord/settings.h"

namespace millrace::coord::internal {

// The membership of one classic group: who is in, which generation runs, who waits for what. Knows nothing of offsets.
//
//   Empty --first join--> PreparingRebalance --everyone joined, or timeout--> CompletingRebalance
//     ^                      ^    |                                              |
//     +----nobody is left----|----+              leader's assignment arrives: Stable
//                            +---- someone comes, changes, leaves, falls silent (from both) ----+
//
// Calls add what they do to `effects`. After each one but check_commit() and a heartbeat() that is answered kNone or
// kept back, which only put deadlines off, deadline() may be earlier than before.
class ClassicGroup {
 public:
  // `settings` and `memory`, which the group counts its members in, must outlive the group.
  ClassicGroup(std::string id, const GroupSettings& settings, MembersMemory& memory)
      : id_(std::move(id)), settings_(settings), memory_(memory) {}
  ~ClassicGroup() { memory_.bytes -= members_bytes_ + assignments_bytes_ + pending_bytes_; }
  ClassicGroup(const ClassicGroup&) = delete;
  ClassicGroup& operator=(const ClassicGroup&) = delete;

  // Take up what a record says; nothing: as if there had never been a record.
  void restore(std::optional<GroupRecordValue> value);
  // After the last restore().
  void start(Instant now, Effects& effects);

  void join(JoinRequest request, Instant now, Random& random, Effects& effects);
  void sync(SyncRequest request, Instant now, Effects& effects);
  // The answer; or until when it is kept back, so that a rebalance is told as soon as it begins: deadline() may be
  // that.
  using HeartbeatOutcome = std::variant<GroupError, MonoTime>;
  HeartbeatOutcome heartbeat(HeartbeatRequest request, Instant now, Effects& effects);
  // The errors in the order of request.members.
  std::vector<GroupError> leave(const LeaveRequest& request, Instant now, Effects& effects);
  // May this caller commit offsets now? A member's commit is a sign of life.
  GroupError check_commit(const CommitRequest& request, Instant now);
  void connection_closed(ConnectionId connection, Instant now, Effects& effects);
  void next_request_waits(ConnectionId connection, Instant now, Effects& effects);

  void on_time(Instant now, Effects& effects);
  std::optional<MonoTime> deadline() const;
  // Answer everything that waits.
  void resign(Effects& effects);

  GroupState state() const { return state_; }
  // Empty: the group has never had members.
  const std::string& protocol_type() const { return protocol_type_; }
  WallTime state_since() const { return state_since_; }
  // No members, and nobody on the way in.
  bool is_vacant() const { return state_ == GroupState::kEmpty && pending_ids_.empty(); }
  // A record of the group exists.
  bool is_recorded() const { return recorded_; }

  int32_t generation() const { return generation_; }
  const std::optional<std::string>& protocol_name() const { return protocol_name_; }
  const std::string& last_rebalance_reason() const { return last_rebalance_reason_; }
  const std::map<std::string, Member, std::less<>>& members() const { return members_; }
  // Or one that was told its id and has not joined with it yet.
  bool has_member(std::string_view id) const { return members_.contains(id) || pending_ids_.contains(id); }

 private:
  // Over this many ids that were handed out and not used yet, newcomers are refused.
  static constexpr size_t kPendingIdsMax = 10'000;
  // What all members have told about themselves, and all their assignments: a group is one record, which has both.
  static constexpr size_t kMembersBytesMax = 8u << 20;
  static constexpr size_t kAssignmentsBytesMax = 8u << 20;

  using Millis = std::chrono::milliseconds;
  using Members = std::map<std::string, Member, std::less<>>;

  // A heartbeat whose answer is kept back. There are some in a Stable group only, and one for a connection.
  struct HeldHeartbeat {
    HeartbeatRequest request;
    MonoTime until;
  };
  using HeldHeartbeats = std::map<ConnectionId, HeldHeartbeat>;
  // What falls due so soon after another is answered with it: a large group wakes the broker ten times a second at
  // most.
  static constexpr Millis kHeldTogether{100};

  // Heartbeats (classic_group_heartbeat.cc).
  GroupError answer_to(const HeartbeatRequest& request, Instant now);
  bool may_hold(const HeartbeatRequest& request) const;
  void release(HeldHeartbeats::iterator held, Instant now, Effects& effects);
  void release_all(Instant now, Effects& effects);
  void release_due(Instant now, Effects& effects);
  void release_of(std::string_view member_id, Instant now, Effects& effects);

  // Joins, by who asks (classic_group_join.cc).
  void join_as_newcomer(JoinRequest request, Instant now, Random& random, Effects& effects);
  void join_again(JoinRequest request, Instant now, Effects& effects);
  void add_member(JoinRequest request, std::string member_id, Instant now, Effects& effects);
  void rejoin(Member& member, JoinRequest request, const std::string& reason, Instant now, Effects& effects);
  void replace_static_member(JoinRequest request, std::string new_id, Instant now, Effects& effects);
  void wait_for_rebalance(Member& member, JoinRequest request, Effects& effects);
  void reply_with_generation(const Member& member, RequestToken token, Effects& effects) const;
  JoinReply generation_reply(const Member& member) const;
  std::vector<JoinedMember> joined_members() const;
  bool has_room_for(const JoinRequest& request) const;
  bool has_bytes_for(const JoinRequest& request) const;
  bool has_memory_for(const JoinRequest& request) const;
  // Who asks, or whose place it takes; null: a newcomer.
  const Member* place_of(const JoinRequest& request) const;
  // `member` has told more, or less, about itself.
  void count_bytes(Member& member);
  void set_assignment(Member& member, Bytes assignment);
  // One of our sums of bytes has changed.
  void count(size_t& sum, size_t before, size_t now);
  bool supports_any(const JoinRequest& request) const;

  // The course of a rebalance.
  void rebalance_if_someone_is_lost(Instant now, Effects& effects);
  void rebalance_or_complete(RebalanceCause cause, Instant now, Effects& effects);
  void prepare_rebalance(RebalanceCause cause, Instant now, Effects& effects);
  static RebalanceCause cause_of(const Member& member, std::string reason);
  void note_cause(RebalanceCause cause, Instant now);
  void end_rebalance(Instant now, Effects& effects);
  void note_newcomer(Instant now);
  void complete_join_if_ready(Instant now, Effects& effects);
  void complete_join(Instant now, Effects& effects);
  void become_empty(Instant now, Effects& effects);
  void begin_generation(Instant now, Effects& effects);
  void assign(std::vector<MemberAssignment> assignments, Instant now, Effects& effects);
  std::string select_protocol() const;

  // Members and what they wait for.
  tl::expected<Member*, GroupError> find_member(std::string_view member_id,
                                                const std::optional<std::string>& instance_id);
  GroupError leave_one(const LeavingMember& leaving, std::optional<RebalanceCause>& cause, Effects& effects);
  void remove_member(Members::iterator position, Effects& effects);
  using PendingIds = std::map<std::string, MonoTime, std::less<>>;
  PendingIds::iterator forget_pending(PendingIds::iterator pending);
  void expire_members(Instant now, Effects& effects);
  void evict_who_owe_sync(Instant now, Effects& effects);
  void end_waits(Member& member, GroupError error, Effects& effects);
  void touch(Member& member, Instant now);
  bool everyone_joined() const;
  Millis rebalance_timeout() const;
  void set_state(GroupState state, Instant now);
  void record(Effects& effects);

  const std::string id_;
  const GroupSettings& settings_;
  MembersMemory& memory_;

  GroupState state_ = GroupState::kEmpty;
  WallTime state_since_;
  std::string protocol_type_;
  int32_t generation_ = 0;
  std::optional<std::string> protocol_name_;
  std::optional<std::string> leader_;
  std::string last_rebalance_reason_;
  bool recorded_ = false;

  Members members_;
  size_t members_bytes_ = 0;                                        // the sum of their counted_bytes
  size_t assignments_bytes_ = 0;                                    // and of their assignments
  std::map<std::string, std::string, std::less<>> static_members_;  // instance id -> member id
  PendingIds pending_ids_;                                          // told to a newcomer; until when they are good

  size_t pending_bytes_ = 0;

  HeldHeartbeats held_heartbeats_;

  // The rebalance under way, from PreparingRebalance on; and who left a Stable group just before it.
  std::optional<Rebalance> rebalance_;
  MonoTime rebalance_began_;
  std::vector<RebalanceMember> departed_;

  // In PreparingRebalance: it ends when everyone has joined and no newcomer came for a while, or at its deadline.
  MonoTime quiet_at_;
  MonoTime join_deadline_;
  // While a member owes a SyncGroup.
  MonoTime sync_deadline_;
};

}  // namespace millrace::coord::internal
