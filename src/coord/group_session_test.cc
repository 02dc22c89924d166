#include <gmock/gmock.h>

#include "coord/internal/group_fixture.h"

// How members stay and go: sessions, timeouts, leaving, and static members that come back.
namespace millrace::coord {
namespace {

using namespace internal;  // NOLINT(google-build-using-namespace): the bench
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using GroupSessionTest = GroupFixture;

TEST_F(GroupSessionTest, MemberIsOutExactlyWhenItsSessionTimesOut) {
  const auto ids = stable_group({join_request()});
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(heartbeat(ids[0], 1), GroupError::kNone);
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
  EXPECT_EQ(heartbeat(ids[0], 1), GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, SilentMemberMakesTheOthersRebalanceWithinItsSessionTimeout) {
  const auto ids = stable_group({join_request(), join_request(), join_request()});
  bench.advance(milliseconds{5'000});
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kNone);
  EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kNone);
  bench.advance(milliseconds{5'000});
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kRebalanceInProgress);
  const RequestToken led = bench.send(join_request(ids[0]));
  bench.send(join_request(ids[1]));
  EXPECT_THAT(bench.reply<JoinReply>(led).members, SizeIs(2));
}

TEST_F(GroupSessionTest, HeartbeatWhileTheRebalanceIsPreparedKeepsTheMember) {
  const auto ids = stable_group({join_request(), join_request()});
  bench.send(join_request(ids[0]));
  for (int i = 0; i < 4; ++i) {
    bench.advance(milliseconds{9'000});
    EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kRebalanceInProgress);
  }
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
}

TEST_F(GroupSessionTest, HeartbeatDuringTheSyncRoundIsFine) {
  const JoinReply joined = join(join_request());
  EXPECT_EQ(heartbeat(joined.member_id, joined.generation), GroupError::kNone);
  EXPECT_EQ(heartbeat(joined.member_id, joined.generation + 1), GroupError::kIllegalGeneration);
}

TEST_F(GroupSessionTest, HeartbeatToAGroupThatIsNotThereIsFromAnUnknownMember) {
  EXPECT_EQ(heartbeat("m", 1), GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, RebalanceTimeoutEvictsDynamicMembersThatDidNotJoinAgain) {
  JoinRequest patient = join_request();
  patient.session_timeout_ms = milliseconds{600'000};
  JoinRequest patient_static = static_join_request("i1");
  patient_static.session_timeout_ms = milliseconds{600'000};
  const auto ids = stable_group({patient, patient, patient_static});
  patient.member_id = ids[0];
  const RequestToken led = bench.send(patient);
  bench.advance(milliseconds{59'999});
  EXPECT_FALSE(bench.answered(led));
  bench.advance(milliseconds{1});
  const JoinReply& reply = bench.reply<JoinReply>(led);
  ASSERT_THAT(reply.members, SizeIs(2)) << "the dynamic follower is out, the static one may still come back";
  EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kUnknownMemberId);
  HeartbeatRequest from_static = heartbeat_request(ids[2], 2);
  from_static.instance_id = "i1";
  EXPECT_EQ(bench.reply<HeartbeatReply>(bench.send(from_static)).error, GroupError::kIllegalGeneration);
}

TEST_F(GroupSessionTest, AnAbsentLeaderIsReplacedByAMemberThatJoined) {
  JoinRequest request = static_join_request("i1");
  request.session_timeout_ms = milliseconds{600'000};
  const auto ids = stable_group({request, join_request()});
  JoinRequest changed = join_request(ids[1]);
  changed.protocols[0].metadata = bytes("other topics");
  const RequestToken token = bench.send(changed);
  bench.advance(milliseconds{60'000});
  EXPECT_EQ(bench.reply<JoinReply>(token).leader, ids[1]);
  EXPECT_THAT(bench.reply<JoinReply>(token).members, SizeIs(2));
}

TEST_F(GroupSessionTest, MissingSyncEvicts) {
  JoinRequest request = join_request();
  request.session_timeout_ms = milliseconds{600'000};
  const auto ids = stable_group({request, request});
  JoinRequest again = request;
  again.member_id = ids[0];
  bench.send(again);
  again.member_id = ids[1];
  bench.send(again);
  EXPECT_EQ(sync(sync_request(ids[0], 3, {{ids[1], bytes("all")}})).error, GroupError::kNone);
  bench.advance(milliseconds{59'999});
  EXPECT_EQ(heartbeat(ids[0], 3), GroupError::kNone);
  bench.advance(milliseconds{1});
  EXPECT_EQ(heartbeat(ids[0], 3), GroupError::kRebalanceInProgress);
  EXPECT_EQ(heartbeat(ids[1], 3), GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, NewcomerWhoseJoinIsNeverReadIsDroppedInTheEnd) {
  JoinRequest forever = join_request();
  forever.rebalance_timeout_ms = milliseconds{10'000'000};
  forever.session_timeout_ms = milliseconds{1'000'000};
  const auto ids = stable_group({forever, forever});
  const RequestToken newcomer = bench.send(join_request());
  bench.advance(milliseconds{299'999});
  EXPECT_FALSE(bench.answered(newcomer));
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.reply<JoinReply>(newcomer).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, WhoWaitsInAJoinNeedsNoHeartbeats) {
  JoinRequest patient = join_request();
  patient.session_timeout_ms = milliseconds{600'000};
  const auto ids = stable_group({join_request(), patient});
  const RequestToken waiting = bench.send(join_request(ids[0]));
  bench.advance(milliseconds{50'000});
  EXPECT_FALSE(bench.answered(waiting));
  EXPECT_THAT(bench.coordinator->describe("g")->members, SizeIs(2));
}

TEST_F(GroupSessionTest, LeavingMakesTheOthersRebalanceAtOnce) {
  const auto ids = stable_group({join_request(), join_request()});
  LeaveRequest request = leave_request(ids[1]);
  request.members[0].reason = "the consumer is being closed";
  const LeaveReply reply = leave(request);
  EXPECT_EQ(reply.error, GroupError::kNone);
  ASSERT_THAT(reply.members, SizeIs(1));
  EXPECT_EQ(reply.members[0].error, GroupError::kNone);
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kRebalanceInProgress);
  EXPECT_EQ(bench.coordinator->describe("g")->last_rebalance_reason, "a member left: the consumer is being closed");
  EXPECT_THAT(join(join_request(ids[0])).members, SizeIs(1)) << "no debounce: nobody is coming";
}

TEST_F(GroupSessionTest, TheLastMemberLeavesAnEmptyGroupBehind) {
  const auto ids = stable_group({join_request()});
  leave(leave_request(ids[0]));
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
  EXPECT_EQ(generation(), 2);
  const auto& record = std::get<GroupRecord>(bench.log.back());
  EXPECT_THAT(record.value->members, IsEmpty());
  EXPECT_EQ(record.value->generation, 2);
}

TEST_F(GroupSessionTest, SeveralLeaveAtOnceAndEachHasItsOutcome) {
  const auto ids = stable_group({join_request(), static_join_request("i1"), join_request()});
  LeaveRequest request;
  request.group = "g";
  request.members = {{"", "i1", ""},
                     {"", "i2", ""},
                     {"stranger", std::nullopt, ""},
                     {ids[2], std::nullopt, ""},
                     {"", std::nullopt, ""}};
  const LeaveReply reply = leave(request);
  std::vector<GroupError> errors;
  for (const LeaveOutcome& outcome : reply.members) errors.push_back(outcome.error);
  EXPECT_THAT(errors, ElementsAre(GroupError::kNone, GroupError::kUnknownMemberId, GroupError::kUnknownMemberId,
                                  GroupError::kNone, GroupError::kUnknownMemberId));
  EXPECT_THAT(bench.coordinator->describe("g")->members, SizeIs(1));
}

TEST_F(GroupSessionTest, AnIdThatWasHandedOutCanBeGivenBack) {
  JoinRequest request = join_request();
  request.requires_known_member_id = true;
  const std::string id = join(request).member_id;
  EXPECT_EQ(leave(leave_request(id)).members.at(0).error, GroupError::kNone);
  EXPECT_FALSE(bench.coordinator->describe("g"));
}

TEST_F(GroupSessionTest, WhoLeavesWhileItWaitsIsAnsweredTwiceOnceForEachRequest) {
  const auto ids = stable_group({join_request(), join_request()});
  const RequestToken waiting = bench.send(join_request(ids[0]));
  leave(leave_request(ids[0]));
  EXPECT_EQ(bench.reply<JoinReply>(waiting).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, LeavingAGroupThatIsNotThereIsUnknown) {
  const LeaveReply reply = leave(leave_request("m"));
  EXPECT_EQ(reply.error, GroupError::kNone);
  ASSERT_EQ(reply.members.size(), 1u);
  EXPECT_EQ(reply.members[0].error, GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, StaticMembersNextProcessTakesItsPlaceWithoutARebalance) {
  const auto ids = stable_group({join_request(), static_join_request("i1")});
  const JoinReply reply = join(static_join_request("i1"));
  EXPECT_EQ(reply.error, GroupError::kNone);
  EXPECT_NE(reply.member_id, ids[1]);
  EXPECT_EQ(reply.generation, 2);
  EXPECT_EQ(bench.state(), GroupState::kStable);

  SyncRequest syncing = sync_request(reply.member_id, 2);
  syncing.instance_id = "i1";
  EXPECT_EQ(sync(syncing).assignment, bytes("of " + ids[1])) << "it inherits the assignment";

  syncing.member_id = ids[1];
  EXPECT_EQ(sync(syncing).error, GroupError::kFencedInstanceId);
  EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kUnknownMemberId);
  EXPECT_EQ(join(static_join_request("i1", ids[1])).error, GroupError::kFencedInstanceId);
  CommitRequest stale = commit_request(ids[1], 2);
  stale.instance_id = "i1";
  EXPECT_EQ(commit(stale), GroupError::kFencedInstanceId);
  EXPECT_EQ(leave(leave_request(ids[1], "i1")).members.at(0).error, GroupError::kFencedInstanceId);

  const auto& record = std::get<GroupRecord>(bench.log.back());
  EXPECT_TRUE(std::any_of(record.value->members.begin(), record.value->members.end(),
                          [&](const GroupRecordMember& member) { return member.member_id == reply.member_id; }));
}

TEST_F(GroupSessionTest, StaticLeadersNextProcessIsToldNotToAssign) {
  const auto ids = stable_group({static_join_request("i1"), join_request()});
  JoinRequest modern = static_join_request("i1");
  modern.supports_skip_assignment = true;
  const JoinReply reply = join(modern);
  EXPECT_TRUE(reply.skip_assignment);
  EXPECT_EQ(reply.leader, reply.member_id);
  EXPECT_THAT(reply.members, SizeIs(2));

  const JoinReply old = join(static_join_request("i1"));
  EXPECT_FALSE(old.skip_assignment);
  EXPECT_EQ(old.leader, reply.member_id) << "versions before 9 are told that the former id leads";
  EXPECT_THAT(old.members, IsEmpty());
}

TEST_F(GroupSessionTest, StaticMemberThatChangesTheProtocolForcesARebalance) {
  stable_group({static_join_request("i1", "", {"range", "sticky"})});
  const JoinReply reply = join(static_join_request("i1", "", {"sticky", "range"}));
  EXPECT_EQ(reply.protocol_name, "sticky");
  EXPECT_EQ(reply.generation, 2);
}

TEST_F(GroupSessionTest, StaticMemberThatComesBackDuringTheSyncRoundForcesARebalance) {
  const JoinReply first = join(static_join_request("i1"));
  const JoinReply second = join(static_join_request("i1"));
  EXPECT_EQ(second.generation, first.generation + 1);
  EXPECT_NE(second.member_id, first.member_id);
}

TEST_F(GroupSessionTest, TheOldProcessIsFencedOutOfItsWaitingJoin) {
  stable_group({join_request(), static_join_request("i1")});
  const auto members = bench.coordinator->describe("g")->members;
  const std::string old_id = members[0].instance_id ? members[0].member_id : members[1].member_id;
  JoinRequest changed = static_join_request("i1", old_id);
  changed.protocols[0].metadata = bytes("other topics");
  const RequestToken old_process = bench.send(changed);
  const RequestToken new_process = bench.send(static_join_request("i1"));
  EXPECT_EQ(bench.reply<JoinReply>(old_process).error, GroupError::kFencedInstanceId);
  EXPECT_FALSE(bench.answered(new_process));
}

TEST_F(GroupSessionTest, StaticMemberGoesWithItsSessionOnly) {
  const auto ids = stable_group({static_join_request("i1")});
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
  EXPECT_EQ(join(static_join_request("i1", ids[0])).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, AllStaticMembersAwayMeansWaitingForThem) {
  JoinRequest request = static_join_request("i1");
  request.session_timeout_ms = milliseconds{600'000};
  JoinRequest leader = join_request();
  const auto ids = stable_group({leader, request});
  leave(leave_request(ids[0]));
  bench.advance(milliseconds{120'000});
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
  const JoinReply back = join(request);
  EXPECT_EQ(back.generation, 3);
  EXPECT_EQ(back.leader, back.member_id);
}

// --- Connections

HeartbeatRequest heartbeat_over(uint64_t connection, const std::string& member_id, int32_t generation) {
  HeartbeatRequest request = heartbeat_request(member_id, generation);
  request.connection = ConnectionId{connection};
  return request;
}
JoinRequest join_over(uint64_t connection, JoinRequest request = join_request()) {
  request.connection = ConnectionId{connection};
  return request;
}

TEST_F(GroupSessionTest, WhoseConnectionClosesIsOutAfterTheGrace) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  bench.send(heartbeat_over(1, ids[0], 2));
  bench.send(ConnectionClosed{ConnectionId{2}});
  bench.advance(milliseconds{999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
  bench.advance(milliseconds{1});
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kRebalanceInProgress);
  EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kUnknownMemberId);
}

TEST_F(GroupSessionTest, AHeartbeatTellsOfALostMemberBeforeItsGraceIsOver) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  bench.send(ConnectionClosed{ConnectionId{2}});
  bench.advance(milliseconds{100});
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kRebalanceInProgress);
  JoinRequest again = join_over(1);
  again.member_id = ids[0];
  const RequestToken waiting = bench.send(again);
  bench.advance(milliseconds{899});
  EXPECT_FALSE(bench.answered(waiting));
  bench.advance(milliseconds{1});
  ASSERT_TRUE(bench.answered(waiting));
  EXPECT_THAT(bench.reply<JoinReply>(waiting).members, SizeIs(1));
}

TEST_F(GroupSessionTest, WhoComesBackWhileOthersJoinKeepsItsPlace) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  bench.send(ConnectionClosed{ConnectionId{2}});
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kRebalanceInProgress);
  JoinRequest again = join_over(1);
  again.member_id = ids[0];
  const RequestToken waiting = bench.send(again);
  bench.advance(milliseconds{900});
  const RequestToken back = bench.send(heartbeat_over(3, ids[1], 2));
  EXPECT_EQ(bench.reply<HeartbeatReply>(back).error, GroupError::kRebalanceInProgress);
  bench.advance(milliseconds{900});
  again = join_over(3);
  again.member_id = ids[1];
  EXPECT_EQ(join(again).member_id, ids[1]);
  EXPECT_THAT(bench.reply<JoinReply>(waiting).members, SizeIs(2));
}

TEST_F(GroupSessionTest, WhoComesBackBeforeAnyoneAsksDisturbsNobody) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  bench.send(ConnectionClosed{ConnectionId{2}});
  bench.advance(milliseconds{100});
  bench.send(heartbeat_over(3, ids[1], 2));
  EXPECT_EQ(heartbeat(ids[0], 2), GroupError::kNone);
  bench.advance(milliseconds{5'000});
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupSessionTest, WhoComesBackWithinTheGraceStays) {
  const auto ids = stable_group({join_over(1)});
  bench.send(ConnectionClosed{ConnectionId{1}});
  bench.advance(milliseconds{900});
  bench.send(heartbeat_over(2, ids[0], 1));
  bench.advance(milliseconds{5'000});
  EXPECT_EQ(bench.state(), GroupState::kStable);
  // A commit may come over any connection, and is a sign of life, too.
  bench.send(ConnectionClosed{ConnectionId{2}});
  EXPECT_EQ(commit(commit_request(ids[0], 1)), GroupError::kNone);
  bench.advance(milliseconds{5'000});
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupSessionTest, AnEarlierConnectionOfAMemberMayClose) {
  const auto ids = stable_group({join_over(1)});
  bench.send(heartbeat_over(2, ids[0], 1));
  bench.send(ConnectionClosed{ConnectionId{1}});
  bench.advance(milliseconds{5'000});
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupSessionTest, StaticMembersOutliveTheirConnections) {
  stable_group({join_over(1, static_join_request("i1"))});
  bench.send(ConnectionClosed{ConnectionId{1}});
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupSessionTest, AMemberThatDiesInARebalanceDoesNotHoldItUp) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  JoinRequest again = join_over(1);
  again.member_id = ids[0];
  const RequestToken waiting = bench.send(again);
  bench.send(ConnectionClosed{ConnectionId{2}});
  bench.advance(milliseconds{1'000});
  ASSERT_TRUE(bench.answered(waiting));
  EXPECT_THAT(bench.reply<JoinReply>(waiting).members, SizeIs(1));
}

TEST_F(GroupSessionTest, AfterARestartMembersHaveTheirSessionUntilTheyAreHeardFrom) {
  const auto ids = stable_group({join_over(1)});
  bench.restart();
  bench.send(ConnectionClosed{ConnectionId{1}});
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST(GroupDisconnect, WithoutAGraceOnlyTheSessionCounts) {
  TestBench bench({.group_disconnect_grace_ms = milliseconds{0}});
  const auto joined = bench.reply<JoinReply>(bench.send(join_over(1)));
  bench.send(sync_request(joined.member_id, joined.generation));
  bench.send(ConnectionClosed{ConnectionId{1}});
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

// --- History

TEST_F(GroupSessionTest, TheHistorySaysWhoCausedARebalanceHowLongItTookAndWhoHadWhat) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  bench.rebalances.clear();
  bench.send(ConnectionClosed{ConnectionId{2}});
  bench.advance(milliseconds{1'000});
  bench.advance(milliseconds{250});
  JoinRequest again = join_over(1);
  again.member_id = ids[0];
  bench.send(again);
  bench.advance(milliseconds{100});
  EXPECT_EQ(sync(sync_request(ids[0], 3, {{ids[0], bytes("all")}})).error, GroupError::kNone);

  ASSERT_THAT(bench.rebalances, SizeIs(1));
  const Rebalance& rebalance = bench.rebalances[0];
  EXPECT_EQ(rebalance.group, "g");
  EXPECT_EQ(rebalance.generation, 3);
  EXPECT_EQ(rebalance.took, milliseconds{350});
  ASSERT_THAT(rebalance.causes, SizeIs(1));
  EXPECT_EQ(rebalance.causes[0].reason, "a member's connection closed, and it did not come back");
  EXPECT_EQ(rebalance.causes[0].member_id, ids[1]);
  EXPECT_EQ(rebalance.causes[0].client_id, "client");
  ASSERT_THAT(rebalance.before, SizeIs(2));
  for (const RebalanceMember& member : rebalance.before) EXPECT_EQ(member.assignment, bytes("of " + member.member_id));
  ASSERT_THAT(rebalance.after, SizeIs(1));
  EXPECT_EQ(rebalance.after[0].assignment, bytes("all"));
}

TEST_F(GroupSessionTest, ARebalanceThatBeginsAnewHasSeveralCauses) {
  const auto ids = stable_group({join_request(), join_request()});
  bench.rebalances.clear();
  JoinRequest again = join_request(ids[0]);
  again.reason = "topics changed";
  bench.send(again);
  bench.send(join_request(ids[1]));
  leave(leave_request(ids[1]));
  bench.send(join_request(ids[0]));
  sync(sync_request(ids[0], generation(), {{ids[0], bytes("all")}}));
  leave(leave_request(ids[0]));
  ASSERT_THAT(bench.rebalances, SizeIs(2));
  ASSERT_THAT(bench.rebalances[0].causes, SizeIs(2));
  EXPECT_EQ(bench.rebalances[0].causes[0].member_id, ids[0]);
  EXPECT_THAT(bench.rebalances[0].causes[0].reason, testing::EndsWith(": topics changed"));
  EXPECT_EQ(bench.rebalances[0].causes[1].reason, "a member left");
  EXPECT_THAT(bench.rebalances[0].before, SizeIs(2));
  EXPECT_THAT(bench.rebalances[1].after, IsEmpty());
}

}  // namespace
}  // namespace millrace::coord
