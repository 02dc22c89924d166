#pragma once

// For the simulator: what a coordinator has promised, told step by step, and held against what it says of itself.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/text.h"
#include "coord/internal/test_bench.h"

namespace millrace::coord::internal {

// The partitions of an assignment, as text: "round/0,3,6".
inline std::vector<int> partitions_of(const Bytes& assignment) {
  std::vector<int> partitions;
  const std::string_view text = as_text(assignment);
  if (text.empty()) return partitions;
  for (const std::string_view part : split(text.substr(text.find('/') + 1), ','))
    if (!part.empty()) partitions.push_back(static_cast<int>(*parse_int64(part)));
  return partitions;
}

inline bool has_member(const GroupDescription& group, const std::string& id) {
  return std::ranges::any_of(group.members, [&](const MemberDescription& member) { return member.member_id == id; });
}

// Watches one group whose topic has `partitions` partitions. Members have all of them or, after nonsense, none.
class Referee {
 public:
  Referee(std::string group, int partitions, milliseconds rebalance_timeout, const GroupSettings& settings,
          const Clock& clock)
      : group_(std::move(group)),
        partitions_(partitions),
        rebalance_timeout_(rebalance_timeout),
        settings_(settings),
        clock_(clock) {}

  // --- What happens

  // A coordinator has started from the first `synced` records.
  void started(size_t synced, const GroupCoordinator& coordinator) {
    waiting_.clear();
    links_.clear();
    std::erase_if(commits_, [&](const auto& commit) { return commit.first >= synced; });
    expected_.clear();
    for (const auto& [position, commit] : commits_) expected_[commit.partition] = *commit.value;
    const auto group = coordinator.describe(group_);
    generation_seen_ = group ? group->generation : -1;
    generation_recorded_ = generation_seen_;
    for (auto& [id, life] : lives_) {
      life.last_sign = clock_.mono_now();
      life.owes_sync_since.reset();
    }
  }

  // The coordinator has taken `event`; `before` is the group as it was, `waits` whether there is no reply yet.
  void taken(const Event& event, const std::optional<GroupDescription>& before, const GroupCoordinator& coordinator,
             std::optional<RequestToken> waits) {
    if (waits) note_waiting(event, *waits);
    note_contact(event, before);
    const auto after = coordinator.describe(group_);
    if (!after) return;
    for (const MemberDescription& member : after->members)
      if (!before || !has_member(*before, member.member_id)) links_[member.member_id] = {connection_of(event), {}};
  }

  void closed(ConnectionId connection) {
    if (settings_.group_disconnect_grace_ms.count() == 0) return;
    for (auto& [id, link] : links_)
      if (link.connection == connection) link = {ConnectionId{0}, clock_.mono_now()};
  }

  // The `position`th record of the log.
  void appended(size_t position, const Record& record) {
    const auto* offset = std::get_if<OffsetRecord>(&record);
    if (offset == nullptr || !offset->value) return;
    commits_.push_back({position, *offset});
    expected_[offset->partition] = *offset->value;
  }

  // Every generation that is recorded comes with its history, which says what the record says.
  void decided(const Effects& effects) {
    for (const Record& record : effects.records) {
      const auto* group = std::get_if<GroupRecord>(&record);
      if (group == nullptr) continue;
      if (!group->value) {
        generation_recorded_ = -1;
      } else if (group->value->generation > generation_recorded_) {
        generation_recorded_ = group->value->generation;
        check_history(*group->value, effects.rebalances);
      }
    }
  }

  // `reply` to `event` has been decided. Was that right?
  void replied(const Event& event, const Reply& reply, const GroupCoordinator& coordinator) {
    waiting_.erase(reply.to);
    if (const auto* joined = std::get_if<JoinReply>(&reply.body)) {
      if (joined->error != GroupError::kNone) return;
      lives_[joined->member_id].session_timeout = std::get<JoinRequest>(event).session_timeout_ms;
      sign_of_life(joined->member_id);
      const auto group = coordinator.describe(group_);
      EXPECT_TRUE(has_member(*group, joined->leader)) << "the leader is a member";
      if (group->state == GroupState::kCompletingRebalance)
        lives_[joined->member_id].owes_sync_since = clock_.mono_now();
      EXPECT_EQ(joined->members.empty(), joined->leader != joined->member_id);
      EXPECT_GE(joined->generation, generation_seen_);
    } else if (const auto* synced = std::get_if<SyncReply>(&reply.body)) {
      const std::string& member_id = std::get<SyncRequest>(event).member_id;
      if (synced->error == GroupError::kNone || synced->error == GroupError::kRebalanceInProgress)
        sign_of_life(member_id);
      lives_[member_id].owes_sync_since.reset();
      if (synced->error != GroupError::kNone) return;
      const auto group = coordinator.describe(group_);
      EXPECT_EQ(group->generation, std::get<SyncRequest>(event).generation);
      EXPECT_TRUE(has_member(*group, member_id));
    } else if (const auto* beat = std::get_if<HeartbeatReply>(&reply.body)) {
      if (beat->error == GroupError::kNone || beat->error == GroupError::kRebalanceInProgress)
        sign_of_life(std::get<HeartbeatRequest>(event).member_id);
    } else if (const auto* committed = std::get_if<CommitReply>(&reply.body)) {
      check_commit(std::get<CommitRequest>(event), *committed, coordinator);
    }
  }

  // --- What must hold after every step

  void check(const GroupCoordinator& coordinator) {
    check_offsets(coordinator);
    const auto group = coordinator.describe(group_);
    if (!group) {
      generation_seen_ = -1;
      return;
    }
    EXPECT_GE(group->generation, generation_seen_) << "generations only grow";
    generation_seen_ = group->generation;
    EXPECT_EQ(group->state == GroupState::kEmpty, group->members.empty());
    if (group->state != GroupState::kPreparingRebalance)
      EXPECT_LE(group->members.size(), static_cast<size_t>(settings_.group_max_size));

    std::set<std::string> instances;
    for (const MemberDescription& member : group->members) {
      if (member.instance_id) EXPECT_TRUE(instances.insert(*member.instance_id).second) << "two for one instance";
      check_alive(member);
    }
    if (group->state == GroupState::kStable) check_assignment(*group);
  }

  // Every id that was ever a member's.
  std::vector<std::string> member_ids() const {
    std::vector<std::string> ids;
    for (const auto& [id, life] : lives_) ids.push_back(id);
    return ids;
  }
  int commits_accepted() const { return commits_accepted_; }
  int evicted_by_connection() const { return evicted_by_connection_; }

 private:
  // What a member id has done lately, as the network saw it.
  struct Life {
    MonoTime last_sign;
    milliseconds session_timeout{0};
    // Told of a generation, and since then without its assignment.
    std::optional<MonoTime> owes_sync_since;
  };
  // Over what a member was heard from last, and since when that is closed.
  struct Link {
    ConnectionId connection{0};
    std::optional<MonoTime> lost_since;
  };

  static ConnectionId connection_of(const Event& event) {
    return std::visit(
        [](const auto& any) {
          if constexpr (requires { any.connection; }) return any.connection;
          return ConnectionId{0};
        },
        event);
  }

  void note_waiting(const Event& event, RequestToken token) {
    if (const auto* joining = std::get_if<JoinRequest>(&event)) {
      if (!joining->member_id.empty()) waiting_[token] = joining->member_id;
    } else if (const auto* syncing = std::get_if<SyncRequest>(&event)) {
      waiting_[token] = syncing->member_id;
    } else if (const auto* beating = std::get_if<HeartbeatRequest>(&event)) {
      sign_of_life(beating->member_id);
    } else {
      ADD_FAILURE() << "only joins, syncs and heartbeats may wait";
    }
  }

  void note_contact(const Event& event, const std::optional<GroupDescription>& before) {
    if (!before) return;
    std::visit(
        [&](const auto& request) {
          if constexpr (requires { request.generation; } ||
                        std::is_same_v<std::decay_t<decltype(request)>, JoinRequest>) {
            if (!has_member(*before, request.member_id)) return;
            if (request.instance_id && !is_instance(*before, request.member_id, *request.instance_id)) return;
            Link& link = links_[request.member_id];
            link.lost_since.reset();
            if (connection_of(event).value() != 0) link.connection = connection_of(event);
          }
        },
        event);
  }

  static bool is_instance(const GroupDescription& group, const std::string& id, const std::string& instance) {
    return std::ranges::any_of(group.members, [&](const MemberDescription& member) {
      return member.member_id == id && member.instance_id == instance;
    });
  }

  void sign_of_life(const std::string& member_id) { lives_[member_id].last_sign = clock_.mono_now(); }

  void check_history(const GroupRecordValue& record, const std::vector<Rebalance>& rebalances) {
    const auto found = std::ranges::find(rebalances, record.generation, &Rebalance::generation);
    ASSERT_NE(found, rebalances.end()) << "generation " << record.generation << " has no history";
    EXPECT_EQ(found->group, group_);
    EXPECT_FALSE(found->causes.empty());
    EXPECT_GE(found->took, milliseconds{0});
    ASSERT_EQ(found->after.size(), record.members.size());
    for (size_t i = 0; i < record.members.size(); ++i) {
      EXPECT_EQ(found->after[i].member_id, record.members[i].member_id);
      EXPECT_EQ(found->after[i].assignment, record.members[i].assignment);
    }
    std::set<int> held;
    for (const RebalanceMember& member : found->before)
      for (const int partition : partitions_of(member.assignment))
        EXPECT_TRUE(held.insert(partition).second) << "two held partition " << partition;
    for (const RebalanceCause& cause : found->causes)
      if (cause.reason.find("connection") != std::string::npos) ++evicted_by_connection_;
  }

  void check_commit(const CommitRequest& request, const CommitReply& reply, const GroupCoordinator& coordinator) {
    ASSERT_EQ(reply.errors.size(), request.offsets.size());
    if (reply.errors.at(0) != GroupError::kNone) return;
    ++commits_accepted_;
    const auto group = coordinator.describe(group_);
    EXPECT_NE(group->state, GroupState::kCompletingRebalance);
    if (request.generation < 0) {
      EXPECT_EQ(group->state, GroupState::kEmpty);
      return;
    }
    EXPECT_EQ(group->generation, request.generation);
    EXPECT_TRUE(has_member(*group, request.member_id));
    sign_of_life(request.member_id);
  }

  void check_alive(const MemberDescription& member) {
    const std::string& id = member.member_id;
    if (const auto link = links_.find(id); link != links_.end() && link->second.lost_since && !member.instance_id)
      EXPECT_LT(clock_.mono_now(), *link->second.lost_since + settings_.group_disconnect_grace_ms) << id;
    const auto life = lives_.find(id);
    if (life == lives_.end()) return;  // new: it waits in its first join
    const bool waits = std::ranges::any_of(waiting_, [&](const auto& waiting) { return waiting.second == id; });
    if (waits) return;
    EXPECT_LT(clock_.mono_now(), life->second.last_sign + life->second.session_timeout) << id;
    // A generation's syncs have as long as its joins; where a rebalance comes between, its deadline evicts. Static
    // members stay away from that as long as their session lasts.
    if (life->second.owes_sync_since && !member.instance_id)
      EXPECT_LE(clock_.mono_now(), *life->second.owes_sync_since + 2 * rebalance_timeout_) << id << " never synced";
  }

  // Members of a Stable group hold parts of one round, and together every partition once.
  void check_assignment(const GroupDescription& group) const {
    std::set<std::string> rounds;
    std::multiset<int> held;
    for (const MemberDescription& member : group.members) {
      const std::string_view text = as_text(member.assignment);
      if (!text.empty()) rounds.insert(std::string(text.substr(0, text.find('/'))));
      for (const int partition : partitions_of(member.assignment)) held.insert(partition);
    }
    if (rounds.empty()) return;  // a nonsense sync by the leader's id assigned nothing
    EXPECT_EQ(rounds.size(), 1u) << "assignments of several generations";
    EXPECT_EQ(held.size(), static_cast<size_t>(partitions_));
    for (int partition = 0; partition < partitions_; ++partition) EXPECT_EQ(held.count(partition), 1u) << partition;
  }

  void check_offsets(const GroupCoordinator& coordinator) const {
    const auto actual = coordinator.committed_offsets(group_);
    ASSERT_EQ(actual.size(), expected_.size());
    for (const PartitionOffset& entry : actual) {
      const auto expected = expected_.find(entry.partition);
      ASSERT_NE(expected, expected_.end());
      EXPECT_EQ(entry.committed, expected->second);
    }
  }

  const std::string group_;
  const int partitions_;
  const milliseconds rebalance_timeout_;
  const GroupSettings& settings_;
  const Clock& clock_;

  std::map<RequestToken, std::string> waiting_;
  std::map<std::string, Life> lives_;
  std::map<std::string, Link> links_;
  std::vector<std::pair<size_t, OffsetRecord>> commits_;  // with their positions in the log
  std::map<PartitionId, CommittedOffset> expected_;       // the last of them
  int commits_accepted_ = 0;
  int evicted_by_connection_ = 0;
  int32_t generation_seen_ = -1;
  int32_t generation_recorded_ = -1;
};

}  // namespace millrace::coord::internal
