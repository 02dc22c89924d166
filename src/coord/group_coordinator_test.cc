#include "coord/group_coordinator.h"

#include <gmock/gmock.h>

#include "coord/internal/test_bench.h"

namespace millrace::coord {
namespace {

using namespace internal;  // NOLINT(google-build-using-namespace): the bench
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

class GroupCoordinatorTest : public testing::Test {
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

// --- Joining

TEST_F(GroupCoordinatorTest, FirstMemberLeadsGenerationOneAtOnce) {
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

TEST_F(GroupCoordinatorTest, InitialRebalanceDelayIsKeptWhereItIsSet) {
  GroupSettings settings;
  settings.group_initial_rebalance_delay_ms = milliseconds{3000};
  TestBench slow(settings);
  const RequestToken token = slow.send(join_request());
  slow.advance(milliseconds{2999});
  EXPECT_FALSE(slow.answered(token));
  slow.advance(milliseconds{1});
  EXPECT_EQ(slow.reply<JoinReply>(token).generation, 1);
}

TEST_F(GroupCoordinatorTest, NewcomersThatCloselyFollowOneAnotherShareOneRebalance) {
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

TEST_F(GroupCoordinatorTest, EmptyGroupIdIsInvalidForMembers) {
  JoinRequest joining = join_request();
  joining.group = "";
  EXPECT_EQ(join(joining).error, GroupError::kInvalidGroupId);
  SyncRequest syncing = sync_request("m", 1);
  syncing.group = "";
  EXPECT_EQ(sync(syncing).error, GroupError::kInvalidGroupId);
  LeaveRequest leaving = leave_request("m");
  leaving.group = "";
  EXPECT_EQ(leave(leaving).error, GroupError::kInvalidGroupId);
}

TEST_F(GroupCoordinatorTest, SessionTimeoutsOutsideTheBoundsAreRefused) {
  JoinRequest request = join_request();
  request.session_timeout_ms = milliseconds{5'999};
  EXPECT_EQ(join(request).error, GroupError::kInvalidSessionTimeout);
  request.session_timeout_ms = milliseconds{1'800'001};
  EXPECT_EQ(join(request).error, GroupError::kInvalidSessionTimeout);
  EXPECT_FALSE(bench.coordinator->describe("g")) << "a refused join leaves no group behind";
  request.session_timeout_ms = milliseconds{6'000};
  EXPECT_EQ(join(request).error, GroupError::kNone);
}

TEST_F(GroupCoordinatorTest, NewcomerIsToldItsIdFirstWhereTheVersionKnowsThat) {
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

TEST_F(GroupCoordinatorTest, AnIdThatWasHandedOutExpiresWithTheSessionTimeout) {
  JoinRequest request = join_request();
  request.requires_known_member_id = true;
  request.member_id = join(request).member_id;
  bench.advance(milliseconds{10'000});
  EXPECT_EQ(join(request).error, GroupError::kUnknownMemberId);
  EXPECT_FALSE(bench.coordinator->describe("g"));
}

TEST_F(GroupCoordinatorTest, AnIdThatWasHandedOutHoldsTheRebalanceForTheDebounceOnly) {
  JoinRequest second = join_request();
  second.requires_known_member_id = true;
  second.member_id = join(second).member_id;
  const RequestToken first = bench.send(join_request());
  EXPECT_FALSE(bench.answered(first)) << "another member is on its way";
  bench.advance(milliseconds{50});
  EXPECT_THAT(bench.reply<JoinReply>(first).members, SizeIs(1));
}

TEST_F(GroupCoordinatorTest, StaticMembersNeedNoIdFirst) {
  JoinRequest request = static_join_request("i1");
  request.requires_known_member_id = true;
  const JoinReply reply = join(request);
  EXPECT_EQ(reply.error, GroupError::kNone);
  EXPECT_THAT(reply.member_id, StartsWith("i1-"));
}

TEST_F(GroupCoordinatorTest, UnknownMemberIdsAreRefused) {
  EXPECT_EQ(join(join_request("stranger")).error, GroupError::kUnknownMemberId);
  EXPECT_FALSE(bench.coordinator->describe("g")) << "only a newcomer makes a group";
  stable_group({join_request()});
  EXPECT_EQ(join(join_request("stranger")).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupCoordinatorTest, AnotherProtocolTypeOrNoCommonProtocolIsInconsistent) {
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

TEST_F(GroupCoordinatorTest, TheProtocolWithMostVotesAmongTheCommonOnesIsSelected) {
  const std::string first = stable_group({join_request("", {"range", "sticky", "roundrobin"})})[0];
  bench.send(join_request("", {"sticky", "roundrobin"}));
  bench.send(join_request("", {"roundrobin", "sticky", "other"}));
  // Common are sticky and roundrobin; the first member's favourite is not, so its vote is for sticky.
  const RequestToken again = bench.send(join_request(first, {"range", "sticky", "roundrobin"}));
  bench.advance(milliseconds{50});
  EXPECT_EQ(bench.reply<JoinReply>(again).protocol_name, "sticky");
}

TEST_F(GroupCoordinatorTest, OnlyTheLeaderSeesTheMembers) {
  const std::string leader = stable_group({join_request()})[0];
  const RequestToken follower = bench.send(join_request());
  const RequestToken led = bench.send(join_request(leader));
  bench.advance(milliseconds{50});
  EXPECT_EQ(bench.reply<JoinReply>(follower).leader, leader);
  EXPECT_THAT(bench.reply<JoinReply>(follower).members, IsEmpty());
  EXPECT_THAT(bench.reply<JoinReply>(led).members, SizeIs(2));
  EXPECT_EQ(bench.reply<JoinReply>(led).generation, 2);
}

TEST_F(GroupCoordinatorTest, GroupsAreFullAtTheirMaximumSize) {
  bench.settings.group_max_size = 2;
  bench.restart();
  const auto ids = stable_group({join_request(), join_request()});
  EXPECT_EQ(join(join_request()).error, GroupError::kGroupMaxSizeReached);
  EXPECT_EQ(join(join_request(ids[1])).error, GroupError::kNone) << "who is in stays in";
}

TEST_F(GroupCoordinatorTest, AnOldMemberThatComesLateDoesNotPushOutANewOne) {
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

TEST_F(GroupCoordinatorTest, TheSameJoinOverANewConnectionReplacesTheFirst) {
  const auto ids = stable_group({join_request(), join_request()});
  const RequestToken first = bench.send(join_request(ids[0]));
  const RequestToken second = bench.send(join_request(ids[0]));
  EXPECT_EQ(bench.reply<JoinReply>(first).error, GroupError::kRebalanceInProgress);
  bench.send(join_request(ids[1]));
  EXPECT_EQ(bench.reply<JoinReply>(second).error, GroupError::kNone);
}

// --- Joining again

TEST_F(GroupCoordinatorTest, FollowerThatJoinsUnchangedGetsTheCurrentGeneration) {
  const auto ids = stable_group({join_request(), join_request()});
  const JoinReply reply = join(join_request(ids[1]));
  EXPECT_EQ(reply.error, GroupError::kNone);
  EXPECT_EQ(reply.generation, 2);
  EXPECT_EQ(reply.leader, ids[0]);
  EXPECT_THAT(reply.members, IsEmpty());
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupCoordinatorTest, FollowerWithOtherMetadataForcesARebalance) {
  const auto ids = stable_group({join_request(), join_request()});
  JoinRequest request = join_request(ids[1]);
  request.protocols[0].metadata = bytes("other topics");
  const RequestToken token = bench.send(request);
  EXPECT_FALSE(bench.answered(token));
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
}

TEST_F(GroupCoordinatorTest, LeaderThatJoinsAgainForcesARebalance) {
  const auto ids = stable_group({join_request(), join_request()});
  JoinRequest request = join_request(ids[0]);
  request.reason = "topics changed";
  bench.send(request);
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
  EXPECT_EQ(bench.coordinator->describe("g")->last_rebalance_reason, "the leader joined again: topics changed");
  EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kRebalanceInProgress);
}

TEST_F(GroupCoordinatorTest, AJoinWhoseReplyWasLostIsRepeatedWithTheSameGeneration) {
  const JoinReply first = join(join_request());
  const JoinReply again = join(join_request(first.member_id));
  EXPECT_EQ(again.generation, first.generation);
  EXPECT_EQ(again.members, first.members);
}

TEST_F(GroupCoordinatorTest, OtherMetadataDuringTheSyncRoundStartsAnotherRound) {
  const JoinReply first = join(join_request("", {"range", "sticky"}));
  const JoinReply again = join(join_request(first.member_id, {"sticky", "range"}));
  EXPECT_EQ(again.generation, first.generation + 1);
  EXPECT_EQ(again.protocol_name, "sticky");
}

// --- Syncing

TEST_F(GroupCoordinatorTest, EveryoneGetsTheLeadersAssignment) {
  const auto ids = stable_group({join_request(), join_request(), join_request()});
  for (const std::string& id : ids) {
    const SyncReply reply = sync(sync_request(id, 2));
    EXPECT_EQ(reply.assignment, bytes("of " + id));
    EXPECT_EQ(reply.protocol_name, "range");
  }
}

TEST_F(GroupCoordinatorTest, MembersThatTheLeaderForgetsGetAnEmptyAssignment) {
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

TEST_F(GroupCoordinatorTest, SyncIsRefusedForOtherGenerationsProtocolsAndStrangers) {
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

TEST_F(GroupCoordinatorTest, WhoWaitsForAnAssignmentIsSentBackWhenTheRoundFails) {
  const auto ids = stable_group({join_request(), join_request()});
  bench.send(join_request(ids[0]));
  bench.send(join_request(ids[1]));
  const RequestToken waiting = bench.send(sync_request(ids[1], 3));
  leave(leave_request(ids[0]));
  EXPECT_EQ(bench.reply<SyncReply>(waiting).error, GroupError::kRebalanceInProgress);
}

TEST_F(GroupCoordinatorTest, AssignmentIsRecordedWithTheReplyThatGivesIt) {
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

// --- Sessions and timeouts

TEST_F(GroupCoordinatorTest, MemberIsOutExactlyWhenItsSessionTimesOut) {
  const auto ids = stable_group({join_request()});
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(heartbeat(ids[0], 1), GroupError::kNone);
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
  EXPECT_EQ(heartbeat(ids[0], 1), GroupError::kUnknownMemberId);
}

TEST_F(GroupCoordinatorTest, SilentMemberMakesTheOthersRebalanceWithinItsSessionTimeout) {
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

TEST_F(GroupCoordinatorTest, HeartbeatWhileTheRebalanceIsPreparedKeepsTheMember) {
  const auto ids = stable_group({join_request(), join_request()});
  bench.send(join_request(ids[0]));
  for (int i = 0; i < 4; ++i) {
    bench.advance(milliseconds{9'000});
    EXPECT_EQ(heartbeat(ids[1], 2), GroupError::kRebalanceInProgress);
  }
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
}

TEST_F(GroupCoordinatorTest, HeartbeatDuringTheSyncRoundIsFine) {
  const JoinReply joined = join(join_request());
  EXPECT_EQ(heartbeat(joined.member_id, joined.generation), GroupError::kNone);
  EXPECT_EQ(heartbeat(joined.member_id, joined.generation + 1), GroupError::kIllegalGeneration);
}

TEST_F(GroupCoordinatorTest, HeartbeatToAGroupThatIsNotThereIsFromAnUnknownMember) {
  EXPECT_EQ(heartbeat("m", 1), GroupError::kUnknownMemberId);
}

TEST_F(GroupCoordinatorTest, RebalanceTimeoutEvictsDynamicMembersThatDidNotJoinAgain) {
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

TEST_F(GroupCoordinatorTest, AnAbsentLeaderIsReplacedByAMemberThatJoined) {
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

TEST_F(GroupCoordinatorTest, MissingSyncEvicts) {
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

TEST_F(GroupCoordinatorTest, NewcomerWhoseJoinIsNeverReadIsDroppedInTheEnd) {
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

TEST_F(GroupCoordinatorTest, WhoWaitsInAJoinNeedsNoHeartbeats) {
  JoinRequest patient = join_request();
  patient.session_timeout_ms = milliseconds{600'000};
  const auto ids = stable_group({join_request(), patient});
  const RequestToken waiting = bench.send(join_request(ids[0]));
  bench.advance(milliseconds{50'000});
  EXPECT_FALSE(bench.answered(waiting));
  EXPECT_THAT(bench.coordinator->describe("g")->members, SizeIs(2));
}

// --- Leaving

TEST_F(GroupCoordinatorTest, LeavingMakesTheOthersRebalanceAtOnce) {
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

TEST_F(GroupCoordinatorTest, TheLastMemberLeavesAnEmptyGroupBehind) {
  const auto ids = stable_group({join_request()});
  leave(leave_request(ids[0]));
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
  EXPECT_EQ(generation(), 2);
  const auto& record = std::get<GroupRecord>(bench.log.back());
  EXPECT_THAT(record.value->members, IsEmpty());
  EXPECT_EQ(record.value->generation, 2);
}

TEST_F(GroupCoordinatorTest, SeveralLeaveAtOnceAndEachHasItsOutcome) {
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

TEST_F(GroupCoordinatorTest, AnIdThatWasHandedOutCanBeGivenBack) {
  JoinRequest request = join_request();
  request.requires_known_member_id = true;
  const std::string id = join(request).member_id;
  EXPECT_EQ(leave(leave_request(id)).members.at(0).error, GroupError::kNone);
  EXPECT_FALSE(bench.coordinator->describe("g"));
}

TEST_F(GroupCoordinatorTest, WhoLeavesWhileItWaitsIsAnsweredTwiceOnceForEachRequest) {
  const auto ids = stable_group({join_request(), join_request()});
  const RequestToken waiting = bench.send(join_request(ids[0]));
  leave(leave_request(ids[0]));
  EXPECT_EQ(bench.reply<JoinReply>(waiting).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupCoordinatorTest, LeavingAGroupThatIsNotThereIsUnknown) {
  EXPECT_EQ(leave(leave_request("m")).error, GroupError::kUnknownMemberId);
}

// --- Static members

TEST_F(GroupCoordinatorTest, StaticMembersNextProcessTakesItsPlaceWithoutARebalance) {
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

TEST_F(GroupCoordinatorTest, StaticLeadersNextProcessIsToldNotToAssign) {
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

TEST_F(GroupCoordinatorTest, StaticMemberThatChangesTheProtocolForcesARebalance) {
  stable_group({static_join_request("i1", "", {"range", "sticky"})});
  const JoinReply reply = join(static_join_request("i1", "", {"sticky", "range"}));
  EXPECT_EQ(reply.protocol_name, "sticky");
  EXPECT_EQ(reply.generation, 2);
}

TEST_F(GroupCoordinatorTest, StaticMemberThatComesBackDuringTheSyncRoundForcesARebalance) {
  const JoinReply first = join(static_join_request("i1"));
  const JoinReply second = join(static_join_request("i1"));
  EXPECT_EQ(second.generation, first.generation + 1);
  EXPECT_NE(second.member_id, first.member_id);
}

TEST_F(GroupCoordinatorTest, TheOldProcessIsFencedOutOfItsWaitingJoin) {
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

TEST_F(GroupCoordinatorTest, StaticMemberGoesWithItsSessionOnly) {
  const auto ids = stable_group({static_join_request("i1")});
  bench.advance(milliseconds{9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
  EXPECT_EQ(join(static_join_request("i1", ids[0])).error, GroupError::kUnknownMemberId);
}

TEST_F(GroupCoordinatorTest, AllStaticMembersAwayMeansWaitingForThem) {
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

// --- List, describe, delete

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

// --- Restart

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
