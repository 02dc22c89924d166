#include <gmock/gmock.h>

#include "coord/internal/group_fixture.h"

// JoinGroup and SyncGroup: who gets in, and what a round gives.
namespace millrace::coord {
namespace {

using namespace internal;  // NOLINT(google-build-using-namespace): the bench
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

using GroupJoinTest = GroupFixture;

TEST_F(GroupJoinTest, FirstMemberLeadsGenerationOneAtOnce) {
  const JoinReply reply = join(join_request());
  EXPECT_EQ(reply.error, GroupError::kNone);
  EXPECT_EQ(reply.generation, 1);
  EXPECT_EQ(reply.protocol_name, "range");
  EXPECT_EQ(reply.protocol_type, "consumer");
  EXPECT_EQ(reply.leader, reply.member_id);
  EXPECT_THAT(reply.member_id, StartsWith("client-"));
  ASSERT_THAT(reply.members, SizeIs(1));
  EXPECT_EQ(reply.members[0].metadata, bytes("topics of range"));
  EXPECT_EQ(bench.state(), GroupState::kCompletingRebalance);
}

TEST_F(GroupJoinTest, InitialRebalanceDelayIsKeptWhereItIsSet) {
  GroupSettings settings;
  settings.group_initial_rebalance_delay_ms = milliseconds{3000};
  TestBench slow(settings);
  const RequestToken token = slow.send(join_request());
  slow.advance(milliseconds{2999});
  EXPECT_FALSE(slow.answered(token));
  slow.advance(milliseconds{1});
  EXPECT_EQ(slow.reply<JoinReply>(token).generation, 1);
}

TEST_F(GroupJoinTest, NewcomersThatCloselyFollowOneAnotherShareOneRebalance) {
  const std::string first = stable_group({join_request()})[0];
  const RequestToken second = bench.send(join_request());
  const RequestToken again = bench.send(join_request(first));
  bench.advance(milliseconds{49});
  const RequestToken third = bench.send(join_request());
  bench.advance(milliseconds{49});
  EXPECT_FALSE(bench.answered(second)) << "the third may not be the last";
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.reply<JoinReply>(second).generation, 2);
  EXPECT_EQ(bench.reply<JoinReply>(third).generation, 2);
  EXPECT_THAT(bench.reply<JoinReply>(again).members, SizeIs(3));
}

TEST_F(GroupJoinTest, AnEmptyGroupIdIsInvalid) {
  JoinRequest joining = join_request();
  joining.group = "";
  EXPECT_EQ(join(joining).error, GroupError::kInvalidGroupId);
  SyncRequest syncing = sync_request("m", 1);
  syncing.group = "";
  EXPECT_EQ(sync(syncing).error, GroupError::kInvalidGroupId);
  CommitRequest committing = commit_request("", -1);
  committing.group = "";
  EXPECT_EQ(commit(committing), GroupError::kInvalidGroupId);
  LeaveRequest leaving = leave_request("m");
  leaving.group = "";
  EXPECT_EQ(leave(leaving).error, GroupError::kInvalidGroupId);
}

TEST_F(GroupJoinTest, AMemberIdBeginsWithAsMuchOfALongNameAsIsWhole) {
  JoinRequest request = join_request();
  request.client_id = std::string(1023, 'x') + "\u00e9";
  EXPECT_EQ(join(request).member_id.substr(0, 1024), std::string(1023, 'x') + "-");
}

TEST_F(GroupJoinTest, SessionTimeoutsOutsideTheBoundsAreRefused) {
  JoinRequest request = join_request();
  request.session_timeout_ms = milliseconds{5'999};
  EXPECT_EQ(join(request).error, GroupError::kInvalidSessionTimeout);
  request.session_timeout_ms = milliseconds{1'800'001};
  EXPECT_EQ(join(request).error, GroupError::kInvalidSessionTimeout);
  EXPECT_FALSE(bench.coordinator->describe("g")) << "a refused join leaves no group behind";
  request.session_timeout_ms = milliseconds{6'000};
  EXPECT_EQ(join(request).error, GroupError::kNone);
}

TEST_F(GroupJoinTest, NewcomerIsToldItsIdFirstWhereTheVersionKnowsThat) {
  JoinRequest request = join_request();
  request.requires_known_member_id = true;
  const JoinReply told = join(request);
  EXPECT_EQ(told.error, GroupError::kMemberIdRequired);
  EXPECT_THAT(told.member_id, StartsWith("client-"));
  EXPECT_THAT(bench.coordinator->describe("g")->members, IsEmpty());

  request.member_id = told.member_id;
  const JoinReply joined = join(request);
  EXPECT_EQ(joined.error, GroupError::kNone);
  EXPECT_EQ(joined.member_id, told.member_id);
}

TEST_F(GroupJoinTest, AnIdThatWasHandedOutExpiresWithTheSessionTimeout) {
  JoinRequest request = join_request();
  request.requires_known_member_id = true;
  request.member_id = join(request).member_id;
  bench.advance(milliseconds{10'000});
  EXPECT_EQ(join(request).error, GroupError::kUnknownMemberId);
  EXPECT_FALSE(bench.coordinator->describe("g"));
}

TEST_F(GroupJoinTest, AnIdThatWasHandedOutHoldsTheRebalanceForTheDebounceOnly) {
  JoinRequest second = join_request();
  second.requires_known_member_id = true;
  second.member_id = join(second).member_id;
  const RequestToken first = bench.send(join_request());
  EXPECT_FALSE(bench.answered(first)) << "another member is on its way";
  bench.advance(milliseconds{50});
  EXPECT_THAT(bench.reply<JoinReply>(first).members, SizeIs(1));
}

TEST_F(GroupJoinTest, StaticMembersNeedNoIdFirst) {
  JoinRequest request = static_join_request("i1");
  request.requires_known_member_id = true;
  const JoinReply reply = join(request);
  EXPECT_EQ(reply.error, GroupError::kNone);
  EXPECT_THAT(reply.member_id, StartsWith("i1-"));
}

TEST_F(GroupJoinTest, UnknownMemberIdsAreRefused) {
  EXPECT_EQ(join(join_request("stranger")).error, GroupError::kUnknownMemberId);
  EXPECT_FALSE(bench.coordinator->describe("g")) << "only a newcomer makes a group";
  stable_group({join_request()});
  EXPECT_EQ(join(join_request("stranger")).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupJoinTest, AnotherProtocolTypeOrNoCommonProtocolIsInconsistent) {
  JoinRequest untyped = join_request();
  untyped.protocol_type = "";
  EXPECT_EQ(join(untyped).error, GroupError::kInconsistentGroupProtocol);
  EXPECT_EQ(join(join_request("", {})).error, GroupError::kInconsistentGroupProtocol);

  stable_group({join_request("", {"range", "roundrobin"})});
  JoinRequest connect = join_request();
  connect.protocol_type = "connect";
  EXPECT_EQ(join(connect).error, GroupError::kInconsistentGroupProtocol);
  EXPECT_EQ(join(join_request("", {"sticky"})).error, GroupError::kInconsistentGroupProtocol);
  EXPECT_EQ(bench.state(), GroupState::kStable) << "a refused join disturbs nobody";
}

TEST_F(GroupJoinTest, TheProtocolWithMostVotesAmongTheCommonOnesIsSelected) {
  const std::string first = stable_group({join_request("", {"range", "sticky", "roundrobin"})})[0];
  bench.send(join_request("", {"sticky", "roundrobin"}));
  bench.send(join_request("", {"roundrobin", "sticky", "other"}));
  // Common are sticky and roundrobin; the first member's favourite is not, so its vote is for sticky.
  const RequestToken again = bench.send(join_request(first, {"range", "sticky", "roundrobin"}));
  bench.advance(milliseconds{50});
  EXPECT_EQ(bench.reply<JoinReply>(again).protocol_name, "sticky");
}

TEST_F(GroupJoinTest, OnlyTheLeaderSeesTheMembers) {
  const std::string leader = stable_group({join_request()})[0];
  const RequestToken follower = bench.send(join_request());
  const RequestToken led = bench.send(join_request(leader));
  bench.advance(milliseconds{50});
  EXPECT_EQ(bench.reply<JoinReply>(follower).leader, leader);
  EXPECT_THAT(bench.reply<JoinReply>(follower).members, IsEmpty());
  EXPECT_THAT(bench.reply<JoinReply>(led).members, SizeIs(2));
  EXPECT_EQ(bench.reply<JoinReply>(led).generation, 2);
}

TEST_F(GroupJoinTest, GroupsAreFullAtTheirMaximumSize) {
  bench.settings.group_max_size = 2;
  bench.restart();
  const auto ids = stable_group({join_request(), join_request()});
  EXPECT_EQ(join(join_request()).error, GroupError::kGroupMaxSizeReached);
  EXPECT_EQ(join(join_request(ids[1])).error, GroupError::kNone) << "who is in stays in";
}

TEST_F(GroupJoinTest, GroupsAreFullWhenTheirMembersHaveToldTooMuch) {
  constexpr size_t kMiB = 1u << 20;
  const auto telling = [](JoinRequest request, size_t bytes) {
    request.protocols.front().metadata.resize(bytes);
    return request;
  };
  const auto ids = stable_group({telling(join_request(), 3 * kMiB), telling(join_request(), 3 * kMiB)});
  EXPECT_EQ(join(telling(join_request(), 3 * kMiB)).error, GroupError::kGroupMaxSizeReached);
  EXPECT_EQ(bench.state(), GroupState::kStable) << "one that is refused changes nothing";
  bench.restart();
  EXPECT_EQ(join(telling(join_request(), 3 * kMiB)).error, GroupError::kGroupMaxSizeReached);

  // A member in the place of itself.
  bench.send(telling(join_request(ids[0]), 4 * kMiB));
  EXPECT_EQ(join(telling(join_request(ids[1]), 3 * kMiB)).error, GroupError::kNone);
  // One that wants more than there is goes; the others go on.
  EXPECT_EQ(join(telling(join_request(ids[1]), 5 * kMiB)).error, GroupError::kGroupMaxSizeReached);
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
  EXPECT_EQ(join(join_request(ids[0])).error, GroupError::kNone);
  const RequestToken newcomer = bench.send(telling(join_request(), 7 * kMiB));
  bench.send(join_request(ids[0]));
  bench.advance(milliseconds{50});
  EXPECT_EQ(bench.reply<JoinReply>(newcomer).error, GroupError::kNone) << "what the member had is free again";
}

TEST_F(GroupJoinTest, AssignmentsOfAGroupTogetherAreBounded) {
  const RequestToken token = bench.send(join_request());
  bench.advance(milliseconds{50});
  const JoinReply joined = bench.reply<JoinReply>(token);
  const size_t logged = bench.log.size();
  const auto assign = [&](size_t bytes) {
    return bench.reply<SyncReply>(
        bench.send(sync_request(joined.member_id, joined.generation, {{joined.member_id, Bytes(bytes)}})));
  };
  EXPECT_EQ(assign((8u << 20) + 1).error, GroupError::kAssignmentTooLarge);
  EXPECT_EQ(bench.log.size(), logged);
  EXPECT_EQ(assign(8u << 20).error, GroupError::kNone);
}

TEST_F(GroupJoinTest, AnOldMemberThatComesLateDoesNotPushOutANewOne) {
  bench.settings.group_max_size = 2;
  bench.restart();
  const auto ids = stable_group({join_request(), join_request()});
  bench.send(join_request(ids[0]));
  // The leader has joined again; the follower is away, and a newcomer takes the place.
  const RequestToken newcomer = bench.send(join_request());
  EXPECT_EQ(join(join_request(ids[1])).error, GroupError::kGroupMaxSizeReached);
  bench.advance(milliseconds{50});
  EXPECT_EQ(bench.reply<JoinReply>(newcomer).error, GroupError::kNone);
}

TEST_F(GroupJoinTest, TheSameJoinOverANewConnectionReplacesTheFirst) {
  const auto ids = stable_group({join_request(), join_request()});
  const RequestToken first = bench.send(join_request(ids[0]));
  const RequestToken second = bench.send(join_request(ids[0]));
  EXPECT_EQ(bench.reply<JoinReply>(first).error, GroupError::kRebalanceInProgress);
  bench.send(join_request(ids[1]));
  EXPECT_EQ(bench.reply<JoinReply>(second).error, GroupError::kNone);
}

TEST_F(GroupJoinTest, FollowerThatJoinsUnchangedGetsTheCurrentGeneration) {
  const auto ids = stable_group({join_request(), join_request()});
  const JoinReply reply = join(join_request(ids[1]));
  EXPECT_EQ(reply.error, GroupError::kNone);
  EXPECT_EQ(reply.generation, 2);
  EXPECT_EQ(reply.leader, ids[0]);
  EXPECT_THAT(reply.members, IsEmpty());
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupJoinTest, FollowerWithOtherMetadataForcesARebalance) {
  const auto ids = stable_group({join_request(), join_request()});
  JoinRequest request = join_request(ids[1]);
  request.protocols[0].metadata = bytes("other topics");
  const RequestToken token = bench.send(request);
  EXPECT_FALSE(bench.answered(token));
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
}

TEST_F(GroupJoinTest, LeaderThatJoinsAgainForcesARebalance) {
  const auto ids = stable_group({join_request(), join_request()});
  JoinRequest request = join_request(ids[0]);
  request.reason = "topics changed";
  bench.send(request);
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
  EXPECT_EQ(bench.coordinator->describe("g")->last_rebalance_reason, "the leader joined again: topics changed");
  EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kRebalanceInProgress);
}

TEST_F(GroupJoinTest, AJoinWhoseReplyWasLostIsRepeatedWithTheSameGeneration) {
  const JoinReply first = join(join_request());
  const JoinReply again = join(join_request(first.member_id));
  EXPECT_EQ(again.generation, first.generation);
  EXPECT_EQ(again.members, first.members);
}

TEST_F(GroupJoinTest, OtherMetadataDuringTheSyncRoundStartsAnotherRound) {
  const JoinReply first = join(join_request("", {"range", "sticky"}));
  const JoinReply again = join(join_request(first.member_id, {"sticky", "range"}));
  EXPECT_EQ(again.generation, first.generation + 1);
  EXPECT_EQ(again.protocol_name, "sticky");
}

TEST_F(GroupJoinTest, EveryoneGetsTheLeadersAssignment) {
  const auto ids = stable_group({join_request(), join_request(), join_request()});
  for (const std::string& id : ids) {
    const SyncReply reply = sync(sync_request(id, 2));
    EXPECT_EQ(reply.assignment, bytes("of " + id));
    EXPECT_EQ(reply.protocol_name, "range");
  }
}

TEST_F(GroupJoinTest, MembersThatTheLeaderForgetsGetAnEmptyAssignment) {
  const auto ids = stable_group({join_request(), join_request()});
  const RequestToken led = bench.send(join_request(ids[0]));
  bench.send(join_request(ids[1]));
  const int32_t next = bench.reply<JoinReply>(led).generation;
  const RequestToken forgotten = bench.send(sync_request(ids[1], next));
  EXPECT_FALSE(bench.answered(forgotten));
  bench.send(sync_request(ids[0], next, {{ids[0], bytes("all")}, {"stranger", bytes("none")}}));
  EXPECT_EQ(bench.reply<SyncReply>(forgotten).error, GroupError::kNone);
  EXPECT_THAT(bench.reply<SyncReply>(forgotten).assignment, IsEmpty());
}

TEST_F(GroupJoinTest, SyncIsRefusedForOtherGenerationsProtocolsAndStrangers) {
  const auto ids = stable_group({join_request(), join_request()});
  EXPECT_EQ(sync(sync_request(ids[1], 1)).error, GroupError::kIllegalGeneration);
  EXPECT_EQ(sync(sync_request("stranger", 2)).error, GroupError::kUnknownMemberId);
  SyncRequest other = sync_request(ids[1], 2);
  other.protocol_name = "sticky";
  EXPECT_EQ(sync(other).error, GroupError::kInconsistentGroupProtocol);
  other = sync_request(ids[1], 2);
  other.protocol_type = "connect";
  EXPECT_EQ(sync(other).error, GroupError::kInconsistentGroupProtocol);
  bench.send(join_request(ids[0]));
  EXPECT_EQ(sync(sync_request(ids[1], 2)).error, GroupError::kRebalanceInProgress);
}

TEST_F(GroupJoinTest, WhoWaitsForAnAssignmentIsSentBackWhenTheRoundFails) {
  const auto ids = stable_group({join_request(), join_request()});
  bench.send(join_request(ids[0]));
  bench.send(join_request(ids[1]));
  const RequestToken waiting = bench.send(sync_request(ids[1], 3));
  leave(leave_request(ids[0]));
  EXPECT_EQ(bench.reply<SyncReply>(waiting).error, GroupError::kRebalanceInProgress);
}

TEST_F(GroupJoinTest, AssignmentIsRecordedWithTheReplyThatGivesIt) {
  const std::string id = join(join_request()).member_id;
  EXPECT_THAT(bench.log, IsEmpty()) << "a generation without an assignment is nothing to keep";
  SyncRequest request = sync_request(id, 1, {{id, bytes("all")}});
  request.token = RequestToken(99);
  const Effects effects = bench.coordinator->handle(request, bench.now());
  ASSERT_THAT(effects.records, SizeIs(1));
  ASSERT_THAT(effects.replies, SizeIs(1));
  const auto& record = std::get<GroupRecord>(effects.records[0]);
  EXPECT_EQ(record.value->leader, id);
  EXPECT_EQ(record.value->generation, 1);
  ASSERT_THAT(record.value->members, SizeIs(1));
  EXPECT_EQ(record.value->members[0].subscription, bytes("topics of range"));
  EXPECT_EQ(record.value->members[0].assignment, bytes("all"));
}

}  // namespace
}  // namespace millrace::coord
