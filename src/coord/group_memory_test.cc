#include <string>

#include "coord/internal/group_fixture.h"

// What the members of all groups may take together.
namespace millrace::coord::internal {
namespace {

class GroupMemory : public GroupFixture {
 protected:
  static JoinRequest join_of(const std::string& group, const std::string& member_id = "", size_t metadata_bytes = 10) {
    JoinRequest request = join_request(member_id);
    request.group = group;
    request.protocols.at(0).metadata.resize(metadata_bytes);
    return request;
  }
  LeaveReply leave_group(const std::string& group, const std::string& member_id) {
    LeaveRequest request = leave_request(member_id);
    request.group = group;
    return leave(request);
  }
  SyncReply sync_of(const std::string& group, const JoinReply& joined, size_t assignment_bytes) {
    SyncRequest request =
        sync_request(joined.member_id, joined.generation, {{joined.member_id, Bytes(assignment_bytes)}});
    request.group = group;
    return sync(request);
  }
  void bound(size_t bytes) {
    bench.settings.group_members_max_bytes = bytes;
    bench.restart();
  }
  size_t used() const { return bench.coordinator->member_bytes(); }
};

TEST_F(GroupMemory, AJoinThatNeedsMoreThanIsLeftIsToBeTriedAgainAndWorksWhenOthersHaveGone) {
  bound(1000);
  const JoinReply first = join(join_of("a", "", 600));
  ASSERT_EQ(first.error, GroupError::kNone);
  EXPECT_EQ(join(join_of("b", "", 600)).error, GroupError::kCoordinatorNotAvailable);
  EXPECT_EQ(join(join_of("b", "", 100)).error, GroupError::kNone);
  ASSERT_EQ(leave_group("a", first.member_id).members.at(0).error, GroupError::kNone);
  EXPECT_EQ(join(join_of("c", "", 600)).error, GroupError::kNone);
  EXPECT_LE(used(), 1000u);
}

TEST_F(GroupMemory, AMemberStaysWhereItWouldTellMoreThanIsLeft) {
  bound(1000);
  const JoinReply joined = join(join_of("a", "", 600));
  ASSERT_EQ(sync_of("a", joined, 1).error, GroupError::kNone);
  EXPECT_EQ(join(join_of("a", joined.member_id, 2000)).error, GroupError::kCoordinatorNotAvailable);
  EXPECT_EQ(bench.state("a"), GroupState::kStable);
  EXPECT_EQ(join(join_of("a", joined.member_id, 500)).error, GroupError::kNone);
}

TEST_F(GroupMemory, AssignmentsCountAndAreRefusedToo) {
  bound(1000);
  const JoinReply joined = join(join_of("a"));
  EXPECT_EQ(sync_of("a", joined, 2000).error, GroupError::kCoordinatorNotAvailable);
  EXPECT_EQ(sync_of("a", joined, 500).error, GroupError::kNone);
  EXPECT_EQ(join(join_of("b", "", 600)).error, GroupError::kCoordinatorNotAvailable);
}

TEST_F(GroupMemory, IdsOfNewcomersCountUntilTheyExpire) {
  bound(1000);
  JoinRequest request = join_of("a");
  request.requires_known_member_id = true;
  GroupError error = GroupError::kMemberIdRequired;
  int told = 0;
  for (; told < 100 && error == GroupError::kMemberIdRequired; ++told) error = join(request).error;
  EXPECT_EQ(error, GroupError::kCoordinatorNotAvailable);
  EXPECT_GT(told, 10);
  bench.advance(request.session_timeout_ms);
  EXPECT_EQ(used(), 0u);
}

TEST_F(GroupMemory, NothingIsCountedOnceEverybodyHasLeftAndWhatIsRestoredCounts) {
  const auto ids = stable_group({static_join_request("i"), join_request(), join_request()});
  const size_t before = used();
  EXPECT_GT(before, 0u);
  bench.restart();
  EXPECT_EQ(used(), before);
  EXPECT_EQ(leave(leave_request(ids.at(0), "i")).members.at(0).error, GroupError::kNone);
  for (size_t i = 1; i < ids.size(); ++i)
    EXPECT_EQ(leave(leave_request(ids[i])).members.at(0).error, GroupError::kNone);
  EXPECT_EQ(used(), 0u);
}

}  // namespace
}  // namespace millrace::coord::internal
