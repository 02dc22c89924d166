#include <gmock/gmock.h>

#include "coord/internal/group_fixture.h"

// Groups as a whole: queries, deletion, what a restart knows.
namespace millrace::coord {
namespace {

using namespace internal;  // NOLINT(google-build-using-namespace): the bench
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using GroupCoordinatorTest = GroupFixture;

TEST_F(GroupCoordinatorTest, ListFiltersByStateAndTypeInAnyCase) {
  stable_group({join_request()});
  CommitRequest simple = commit_request("", -1);
  simple.group = "simple";
  commit(simple);
  const auto names = [&](const GroupFilter& filter) {
    std::vector<std::string> found;
    for (const GroupListing& listing : bench.coordinator->list(filter)) found.push_back(listing.group);
    return found;
  };
  EXPECT_THAT(names({}), ElementsAre("g", "simple"));
  EXPECT_THAT(names({{"stable"}, {}}), ElementsAre("g"));
  EXPECT_THAT(names({{"Empty", "Stable"}, {"Classic"}}), ElementsAre("g", "simple"));
  EXPECT_THAT(names({{"Dead"}, {}}), IsEmpty());
  EXPECT_THAT(names({{}, {"consumer"}}), IsEmpty());
  EXPECT_EQ(bench.coordinator->list({})[1].protocol_type, "");
}

TEST_F(GroupCoordinatorTest, DescribeShowsAssignmentsOfAStableGroupOnly) {
  const auto ids = stable_group({static_join_request("i1")});
  auto description = bench.coordinator->describe("g");
  EXPECT_EQ(description->protocol_name, "range");
  ASSERT_THAT(description->members, SizeIs(1));
  EXPECT_EQ(description->members[0].instance_id, "i1");
  EXPECT_EQ(description->members[0].client_host, "/127.0.0.1");
  EXPECT_EQ(description->members[0].metadata, bytes("topics of range"));
  EXPECT_EQ(description->members[0].assignment, bytes("of " + ids[0]));

  bench.send(join_request());
  description = bench.coordinator->describe("g");
  EXPECT_EQ(description->state, GroupState::kPreparingRebalance);
  EXPECT_EQ(description->protocol_name, "");
  EXPECT_THAT(description->members[0].assignment, IsEmpty());
}

TEST_F(GroupCoordinatorTest, OnlyAGroupWithoutMembersCanBeDeleted) {
  const auto remove = [&] { return bench.reply<DeleteGroupReply>(bench.send(DeleteGroupRequest{{}, "g"})).error; };
  EXPECT_EQ(remove(), GroupError::kGroupIdNotFound);
  const auto ids = stable_group({join_request()});
  EXPECT_EQ(commit(commit_request(ids[0], 1)), GroupError::kNone);
  EXPECT_EQ(remove(), GroupError::kNonEmptyGroup);
  leave(leave_request(ids[0]));
  EXPECT_EQ(remove(), GroupError::kNone);
  EXPECT_FALSE(bench.coordinator->describe("g"));
  bench.restart();
  EXPECT_FALSE(bench.coordinator->describe("g")) << "it stays deleted";
  EXPECT_THAT(bench.coordinator->committed_offsets("g"), IsEmpty());
}

TEST_F(GroupCoordinatorTest, MembersGoOnAfterARestartAsIfNothingHadHappened) {
  const auto ids = stable_group({join_request(), static_join_request("i1")});
  EXPECT_EQ(commit(commit_request(ids[0], 2)), GroupError::kNone);
  bench.restart();
  EXPECT_EQ(bench.state(), GroupState::kStable);
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kNone);
  EXPECT_EQ(commit(commit_request(ids[0], 2, 8)), GroupError::kNone);
  EXPECT_EQ(sync(sync_request(ids[0], 2)).assignment, bytes("of " + ids[0]));
  EXPECT_NE(join(static_join_request("i1")).member_id, ids[1]);
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupCoordinatorTest, MembersThatDoNotComeBackAfterARestartTimeOut) {
  stable_group({join_request(), join_request()});
  bench.advance(milliseconds{9'000});
  bench.restart();
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable) << "a full session timeout from the start";
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
}

TEST_F(GroupCoordinatorTest, ARoundThatWasNotFinishedIsForgottenByARestart) {
  const JoinReply joined = join(join_request());
  bench.restart();
  EXPECT_EQ(sync(sync_request(joined.member_id, 1)).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupCoordinatorTest, LaterRecordsOfAKeyWinAndThoseWithoutAValueDelete) {
  TestBench other;
  GroupRecordValue value;
  value.protocol_type = "consumer";
  value.generation = 4;
  other.log.push_back(GroupRecord{"g", value});
  value.generation = 5;
  other.log.push_back(GroupRecord{"g", value});
  other.log.push_back(GroupRecord{"h", value});
  other.log.push_back(GroupRecord{"h", std::nullopt});
  other.log.push_back(OffsetRecord{"g", "t", PartitionId(0), CommittedOffset{Offset(1), -1, "", {}}});
  other.log.push_back(OffsetRecord{"g", "t", PartitionId(0), CommittedOffset{Offset(2), -1, "", {}}});
  other.log.push_back(OffsetRecord{"g", "t", PartitionId(1), CommittedOffset{Offset(3), -1, "", {}}});
  other.log.push_back(OffsetRecord{"g", "t", PartitionId(1), std::nullopt});
  other.log.push_back(OffsetRecord{"h", "t", PartitionId(1), std::nullopt});
  other.restart();
  EXPECT_EQ(other.coordinator->describe("g")->generation, 5);
  EXPECT_FALSE(other.coordinator->describe("h"));
  EXPECT_EQ(other.coordinator->committed_offset("g", "t", PartitionId(0))->offset, Offset(2));
  EXPECT_EQ(other.coordinator->committed_offset("g", "t", PartitionId(1)), nullptr);
}

TEST_F(GroupCoordinatorTest, ResigningAnswersEverythingThatWaits) {
  const auto ids = stable_group({join_request(), join_request()});
  bench.send(join_request(ids[0]));
  bench.send(join_request(ids[1]));
  const RequestToken syncing = bench.send(sync_request(ids[1], 3));
  JoinRequest elsewhere = join_request();
  elsewhere.group = "h";
  elsewhere.member_id = join(elsewhere).member_id;
  bench.send(elsewhere);
  elsewhere.member_id = "";
  const RequestToken joining = bench.send(elsewhere);
  bench.take(bench.coordinator->resign());
  EXPECT_EQ(bench.reply<SyncReply>(syncing).error, GroupError::kNotCoordinator);
  EXPECT_EQ(bench.reply<JoinReply>(joining).error, GroupError::kNotCoordinator);
}

TEST_F(GroupCoordinatorTest, NothingPendingMeansNoDeadlineButRetention) {
  EXPECT_EQ(bench.coordinator->next_deadline(), std::nullopt);
  const auto ids = stable_group({join_request()});
  EXPECT_LE(*bench.coordinator->next_deadline(), bench.clock.mono_now() + milliseconds{10'000});
  bench.send(leave_request(ids[0]));
  EXPECT_EQ(*bench.coordinator->next_deadline(), MonoTime{} + bench.settings.offsets_retention_check_interval_ms);
}

}  // namespace
}  // namespace millrace::coord
