#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "broker/internal/simulation_stage.h"
#include "wire/heartbeat.h"
#include "wire/join_group.h"
#include "wire/leave_group.h"
#include "wire/offset_commit.h"
#include "wire/sync_group.h"

namespace millrace::broker {

// A member of the simulation's consumer group as clients are: joins, syncs, sends heartbeats, commits, and obeys the
// errors. Each of its assignments is a list of partitions, as text.
class SimulatedMember final : public SimulatedClient {
 public:
  SimulatedMember(SimulatedStage stage, std::string name, std::optional<std::string> instance_id)
      : SimulatedClient(stage, std::move(name)),
        instance_id_(std::move(instance_id)),
        join_version_(instance_id_ || stage_.random.chance(0.7) ? 7 : 3) {}

  void act() override {
    const MonoTime now = stage_.clock.mono_now();
    if (now < asleep_until_) return;
    switch (phase_) {
      case Phase::kDown:
        if (is_calm_) come_back();
        return;
      case Phase::kOut:
        return join();
      case Phase::kWaiting:
        // The request has timed out.
        if (now - asked_at_ > kRequestTimeout) give_up_waiting();
        return;
      case Phase::kMember:
        // One that has slept does not know it, and goes on with its work first.
        if (std::exchange(has_slept_, false)) return commit();
        if (now >= heartbeat_at_) return send_heartbeat();
        if (!is_calm_ && stage_.random.chance(0.05)) return sync_again();
        if (!is_calm_ && stage_.random.chance(0.3)) commit();
        return;
    }
  }
  void crash() override {
    phase_ = Phase::kDown;
    ++life_;
    lose_connections();
  }
  // A new process.
  void come_back() {
    if (phase_ != Phase::kDown) return;
    phase_ = Phase::kOut;
    member_id_.clear();
    generation_ = -1;
    assignment_.clear();
    asleep_until_ = {};
    has_slept_ = false;
  }
  void leave() {
    if (phase_ == Phase::kDown) return;
    wire::LeaveGroupRequest request;
    request.group_id = stage_.group.name();
    request.members.push_back({member_id_, instance_id_, "done"});
    if (!member_id_.empty()) {
      stage_.network.send<wire::LeaveGroupRequest>(open(link_), name() + ": LeaveGroup", request, 5,
                                                   [](const wire::LeaveGroupResponse*) {});
    }
    phase_ = Phase::kDown;
    ++life_;
  }
  void lose_connections() {
    if (link_ != nullptr) stage_.network.lose(link_);
  }
  // The process stands still, for longer than its session lasts.
  void fall_asleep() {
    asleep_until_ = stage_.clock.mono_now() + kSessionTimeout + std::chrono::seconds{2};
    has_slept_ = true;
  }
  bool is_down() const { return phase_ == Phase::kDown; }

  bool is_member() const { return phase_ == Phase::kMember; }
  int32_t generation() const { return generation_; }
  const std::vector<int32_t>& assignment() const { return assignment_; }

 private:
  enum class Phase { kDown, kOut, kWaiting, kMember };
  static constexpr std::chrono::seconds kRequestTimeout{20};
  static constexpr std::chrono::seconds kSessionTimeout{6};
  static constexpr const char* kProtocolType = "consumer";
  static constexpr const char* kProtocol = "range";

  // What stands for the member whatever its id is by now.
  std::string owner() const { return instance_id_.value_or(member_id_); }

  // Send what the member waits for; an answer to a process that is no more is read by nobody. `released` is told
  // whether the coordinator is still the one that the request came to.
  template <typename Request>
  void ask(const std::string& what, const Request& request, int16_t version,
           std::function<void(const typename Request::Response&)> answered,
           std::function<void(const typename Request::Response&, bool)> released = {}) {
    asked_at_ = stage_.clock.mono_now();
    struct Arrival {
      int32_t begun = -1;
      int coordinator = -1;
    };
    const auto arrival = std::make_shared<Arrival>();
    stage_.network.send<Request>(
        open(link_), name() + " " + member_id_ + " in " + std::to_string(generation_) + ": " + what, request, version,
        [this, life = life_, answered = std::move(answered)](const typename Request::Response* answer) {
          if (life != life_) return;
          if (answer != nullptr) return answered(*answer);
          if (phase_ == Phase::kWaiting) phase_ = Phase::kOut;
        },
        [&group = stage_.group, released = std::move(released), arrival,
         generation = generation_in(request)](const typename Request::Response& answer) {
          const bool by_this_coordinator = arrival->coordinator == group.coordinator();
          if (released) released(answer, by_this_coordinator);
          if (generation && by_this_coordinator && is_success(answer))
            EXPECT_GE(*generation, arrival->begun) << "what a member of an old generation asked was done";
        },
        [&group = stage_.group, arrival] { *arrival = {group.begun(), group.coordinator()}; });
  }

  template <typename Request>
  static std::optional<int32_t> generation_in(const Request& request) {
    if constexpr (requires { request.generation_id_or_member_epoch; }) return request.generation_id_or_member_epoch;
    if constexpr (requires { request.generation_id; }) return request.generation_id;
    return std::nullopt;
  }
  static bool is_success(const wire::OffsetCommitResponse& answer) {
    return answer.topics.at(0).partitions.at(0).error_code == wire::ErrorCode::kNone;
  }
  static bool is_success(const auto& answer) { return answer.error_code == wire::ErrorCode::kNone; }

  void give_up_waiting() {
    ++life_;
    lose_connections();
    phase_ = Phase::kOut;
  }

  void join() {
    phase_ = Phase::kWaiting;
    assignment_.clear();
    wire::JoinGroupRequest request;
    request.group_id = stage_.group.name();
    request.session_timeout_ms = static_cast<int32_t>(std::chrono::milliseconds(kSessionTimeout).count());
    request.rebalance_timeout_ms = 9'000;
    request.member_id = member_id_;
    request.group_instance_id = instance_id_;
    request.protocol_type = kProtocolType;
    request.protocols.push_back({kProtocol, as_byte_view("topics")});
    ask<wire::JoinGroupRequest>(
        "JoinGroup", request, join_version_, [this](const wire::JoinGroupResponse& answer) { joined(answer); },
        [&group = stage_.group, at_least = stage_.group.generation()](const wire::JoinGroupResponse& answer,
                                                                      bool by_this_coordinator) {
          if (answer.error_code == wire::ErrorCode::kNone)
            group.joined(answer.generation_id, at_least, by_this_coordinator);
        });
  }

  void joined(const wire::JoinGroupResponse& answer) {
    if (answer.error_code == wire::ErrorCode::kMemberIdRequired) {
      member_id_ = answer.member_id;
      return join();
    }
    if (answer.error_code != wire::ErrorCode::kNone) return obey("JoinGroup", answer.error_code);
    member_id_ = answer.member_id;
    generation_ = answer.generation_id;
    std::map<std::string, std::vector<int32_t>> shares;
    if (answer.leader == member_id_ && !answer.members.empty()) {
      for (const auto& member : answer.members) shares[member.member_id];
      auto next = shares.begin();
      for (int32_t partition = 0; partition < kSimulatedPartitions; ++partition) {
        next->second.push_back(partition);
        if (++next == shares.end()) next = shares.begin();
      }
    }
    ask_to_sync(generation_, shares, [this](const wire::SyncGroupResponse& synced) { begin(synced); });
  }

  // As a leader that was away while the group went on: what it says of a generation that is over counts for nothing.
  void sync_again() {
    if (generation_ > 0) ask_to_sync(generation_ - 1, {{member_id_, {0, 1, 2}}}, [](const wire::SyncGroupResponse&) {});
  }

  void ask_to_sync(int32_t generation, const std::map<std::string, std::vector<int32_t>>& shares,
                   std::function<void(const wire::SyncGroupResponse&)> answered) {
    wire::SyncGroupRequest request;
    request.group_id = stage_.group.name();
    request.generation_id = generation;
    request.member_id = member_id_;
    request.group_instance_id = instance_id_;
    request.protocol_type = kProtocolType;
    request.protocol_name = kProtocol;
    std::deque<std::string> texts;
    for (const auto& [id, share] : shares) {
      std::string& text = texts.emplace_back();
      for (const int32_t partition : share) text += std::to_string(partition) + ",";
      request.assignments.push_back({id, as_byte_view(text)});
      if (generation == generation_) stage_.group.divided(generation, share);
    }
    ask<wire::SyncGroupRequest>(
        (shares.empty() ? "SyncGroup " : "SyncGroup with assignments ") + std::to_string(generation), request, 5,
        std::move(answered),
        [&group = stage_.group, generation, owner = owner()](const wire::SyncGroupResponse& synced, bool) {
          if (synced.error_code == wire::ErrorCode::kNone)
            group.assigned(generation, owner, partitions_of(as_text(synced.assignment)));
        });
  }

  void begin(const wire::SyncGroupResponse& answer) {
    if (answer.error_code != wire::ErrorCode::kNone) return obey("SyncGroup", answer.error_code);
    phase_ = Phase::kMember;
    assignment_ = partitions_of(as_text(answer.assignment));
    heartbeat_at_ = stage_.clock.mono_now();
  }

  static std::vector<int32_t> partitions_of(std::string_view text) {
    std::vector<int32_t> partitions;
    for (const std::string_view part : split(text, ','))
      if (!part.empty()) partitions.push_back(static_cast<int32_t>(*parse_int64(part)));
    return partitions;
  }

  void send_heartbeat() {
    heartbeat_at_ = stage_.clock.mono_now() + std::chrono::milliseconds{1'500};
    wire::HeartbeatRequest request;
    request.group_id = stage_.group.name();
    request.generation_id = generation_;
    request.member_id = member_id_;
    request.group_instance_id = instance_id_;
    ask<wire::HeartbeatRequest>("Heartbeat", request, 4, [this](const wire::HeartbeatResponse& answer) {
      if (phase_ == Phase::kMember && answer.error_code != wire::ErrorCode::kNone) obey("Heartbeat", answer.error_code);
    });
  }

  void commit() {
    if (assignment_.empty()) return;
    wire::OffsetCommitRequest request;
    request.group_id = stage_.group.name();
    // Now and then as one that has not heard of the last rebalance.
    const bool is_stale = stage_.random.chance(0.1);
    request.generation_id_or_member_epoch = generation_ - (is_stale ? 1 : 0);
    request.member_id = member_id_;
    request.group_instance_id = instance_id_;
    auto& topic = request.topics.emplace_back();
    topic.name = kSimulatedTopic;
    const int number = stage_.group.new_commit(assignment_);
    for (const int32_t partition : assignment_)
      topic.partitions.push_back({.partition_index = partition, .committed_offset = number});
    ask<wire::OffsetCommitRequest>(
        "OffsetCommit " + std::to_string(number), request, 8,
        [this, is_stale](const wire::OffsetCommitResponse& answer) {
          const auto error = answer.topics.at(0).partitions.at(0).error_code;
          if (!is_stale && phase_ == Phase::kMember && error != wire::ErrorCode::kNone) obey("OffsetCommit", error);
        },
        [&group = stage_.group, number](const wire::OffsetCommitResponse& answer, bool) {
          group.committed(number, answer.topics.at(0).partitions.at(0).error_code);
        });
  }

  void obey(const char* what, wire::ErrorCode error) {
    switch (error) {
      case wire::ErrorCode::kUnknownMemberId:
        member_id_.clear();
        phase_ = Phase::kOut;
        return;
      case wire::ErrorCode::kIllegalGeneration:
      case wire::ErrorCode::kRebalanceInProgress:
      case wire::ErrorCode::kNotCoordinator:
      case wire::ErrorCode::kCoordinatorNotAvailable:
        phase_ = Phase::kOut;
        return;
      case wire::ErrorCode::kFencedInstanceId:
        phase_ = Phase::kDown;
        ++life_;
        return;
      default:
        undeserved(what, error);
    }
  }

  const std::optional<std::string> instance_id_;
  const int16_t join_version_;
  LinkPtr link_;
  Phase phase_ = Phase::kOut;
  int life_ = 0;  // grows when what was asked is of no interest any more
  std::string member_id_;
  int32_t generation_ = -1;
  std::vector<int32_t> assignment_;
  MonoTime asked_at_;
  MonoTime heartbeat_at_;
  MonoTime asleep_until_;
  bool has_slept_ = false;
};

}  // namespace millrace::broker
