#pragma once

// For this module's tests: a coordinator with its clock, its log and the replies that came out so far.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/fake_clock.h"
#include "coord/group_coordinator.h"

namespace millrace::coord::internal {

using std::chrono::milliseconds;

inline Bytes bytes(std::string_view text) {
  const ByteView view = as_byte_view(text);
  return {view.begin(), view.end()};
}

class TestBench {
 public:
  explicit TestBench(GroupSettings group_settings = {}, uint64_t seed = 1) : settings(group_settings), random_(seed) {
    boot();
  }

  // The coordinator is lost, and another one comes up from the log.
  void restart() { boot(); }

  template <typename Request>
  RequestToken send(Request request) {
    request.token = RequestToken(++last_token_);
    const RequestToken token = request.token;
    take(coordinator->handle(std::move(request), now()));
    return token;
  }
  void send(TopicDeleted event) { take(coordinator->handle(std::move(event), now())); }
  void send(ConnectionClosed event) { take(coordinator->handle(event, now())); }
  void send(NextRequestWaits event) { take(coordinator->handle(event, now())); }

  // Time passes, and the coordinator is called at each of its deadlines on the way.
  void advance(milliseconds step) {
    const MonoTime end = clock.mono_now() + step;
    while (true) {
      const auto deadline = coordinator->next_deadline();
      if (!deadline || *deadline > end) break;
      if (*deadline > clock.mono_now())
        clock.advance(std::chrono::duration_cast<std::chrono::microseconds>(*deadline - clock.mono_now()));
      take(coordinator->on_time(now()));
    }
    clock.advance(std::chrono::duration_cast<std::chrono::microseconds>(end - clock.mono_now()));
  }

  bool answered(RequestToken token) const { return replies.contains(token); }
  // The reply to `token`, which must have come.
  template <typename Body>
  const Body& reply(RequestToken token) const {
    return std::get<Body>(replies.at(token));
  }
  GroupState state(std::string_view group = "g") const { return coordinator->describe(group)->state; }

  Instant now() const { return {clock.mono_now(), clock.wall_now()}; }
  void take(Effects effects) {
    for (Record& record : effects.records) log.push_back(std::move(record));
    for (Rebalance& rebalance : effects.rebalances) rebalances.push_back(std::move(rebalance));
    for (Reply& reply : effects.replies) {
      const bool first = replies.emplace(reply.to, std::move(reply.body)).second;
      EXPECT_TRUE(first) << "request " << reply.to.value() << " was answered twice";
    }
  }

  GroupSettings settings;
  FakeClock clock;
  std::unique_ptr<GroupCoordinator> coordinator;
  std::vector<Record> log;
  std::vector<Rebalance> rebalances;
  std::map<RequestToken, decltype(Reply::body)> replies;

 private:
  void boot() {
    coordinator = std::make_unique<GroupCoordinator>(settings, random_.fork());
    for (const Record& record : log) coordinator->apply(record);
    take(coordinator->start(now()));
  }

  Random random_;
  uint64_t last_token_ = 0;
};

// Requests with what most tests want in them.

inline JoinRequest join_request(std::string member_id = "", std::vector<std::string> protocols = {"range"}) {
  JoinRequest request;
  request.group = "g";
  request.member_id = std::move(member_id);
  request.client_id = "client";
  request.client_host = "/127.0.0.1";
  request.session_timeout_ms = milliseconds{10'000};
  request.rebalance_timeout_ms = milliseconds{60'000};
  request.protocol_type = "consumer";
  for (std::string& name : protocols) request.protocols.push_back({name, bytes("topics of " + name)});
  return request;
}

inline JoinRequest static_join_request(std::string instance_id, std::string member_id = "",
                                       std::vector<std::string> protocols = {"range"}) {
  JoinRequest request = join_request(std::move(member_id), std::move(protocols));
  request.instance_id = std::move(instance_id);
  return request;
}

inline SyncRequest sync_request(std::string member_id, int32_t generation,
                                std::vector<MemberAssignment> assignments = {}) {
  SyncRequest request;
  request.group = "g";
  request.member_id = std::move(member_id);
  request.generation = generation;
  request.assignments = std::move(assignments);
  return request;
}

inline HeartbeatRequest heartbeat_request(std::string member_id, int32_t generation) {
  return {{}, "g", std::move(member_id), std::nullopt, generation};
}

inline LeaveRequest leave_request(std::string member_id, std::optional<std::string> instance_id = std::nullopt) {
  return {{}, "g", {{std::move(member_id), std::move(instance_id), ""}}};
}

inline CommitRequest commit_request(std::string member_id, int32_t generation, int64_t offset = 7) {
  return {{}, "g", std::move(member_id), std::nullopt, generation, {{"t", PartitionId(0), Offset(offset), 3, "note"}}};
}

}  // namespace millrace::coord::internal
