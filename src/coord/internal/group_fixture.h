#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coord/internal/test_bench.h"

namespace millrace::coord::internal {

// For this module's tests: the requests of group "g", answered at once.
class GroupFixture : public testing::Test {
 protected:
  JoinReply join(const JoinRequest& request) { return bench.reply<JoinReply>(bench.send(request)); }
  SyncReply sync(const SyncRequest& request) { return bench.reply<SyncReply>(bench.send(request)); }
  GroupError heartbeat(const std::string& member_id, int32_t generation) {
    return bench.reply<HeartbeatReply>(bench.send(heartbeat_request(member_id, generation))).error;
  }
  GroupError commit(const CommitRequest& request) { return bench.reply<CommitReply>(bench.send(request)).errors.at(0); }
  LeaveReply leave(const LeaveRequest& request) { return bench.reply<LeaveReply>(bench.send(request)); }

  // A Stable group of these, in generation 1 (first alone) or 2. Each is assigned its own name. Returns the member ids.
  std::vector<std::string> stable_group(const std::vector<JoinRequest>& requests) {
    std::vector<std::string> ids;
    std::vector<RequestToken> joins;
    joins.push_back(bench.send(requests[0]));
    ids.push_back(bench.reply<JoinReply>(joins[0]).member_id);
    if (requests.size() > 1) {
      for (size_t i = 1; i < requests.size(); ++i) joins.push_back(bench.send(requests[i]));
      JoinRequest again = requests[0];
      again.member_id = ids[0];
      joins[0] = bench.send(again);
      bench.advance(bench.settings.group_rebalance_debounce_ms);
      for (size_t i = 1; i < requests.size(); ++i) ids.push_back(bench.reply<JoinReply>(joins[i]).member_id);
    }
    const int32_t generation = bench.reply<JoinReply>(joins[0]).generation;
    const std::string leader = bench.reply<JoinReply>(joins[0]).leader;
    std::vector<MemberAssignment> assignments;
    for (const std::string& id : ids) assignments.push_back({id, bytes("of " + id)});
    for (const std::string& id : ids)
      if (id != leader) bench.send(sync_request(id, generation));
    EXPECT_EQ(sync(sync_request(leader, generation, assignments)).error, GroupError::kNone);
    EXPECT_EQ(bench.state(), GroupState::kStable);
    return ids;
  }
  int32_t generation() { return bench.coordinator->describe("g")->generation; }

  TestBench bench;
};

}  // namespace millrace::coord::internal
