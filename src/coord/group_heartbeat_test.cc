#include <gmock/gmock.h>

#include "coord/internal/group_fixture.h"

// Heartbeats whose answers are kept back until a rebalance begins.
namespace millrace::coord {
namespace {

using namespace internal;  // NOLINT(google-build-using-namespace): the bench
using testing::SizeIs;

class GroupHeartbeatTest : public GroupFixture {
 protected:
  RequestToken beat(uint64_t connection, const std::string& member_id, int32_t of_generation = 2,
                    std::optional<std::string> instance_id = std::nullopt) {
    HeartbeatRequest request = heartbeat_request(member_id, of_generation);
    request.connection = ConnectionId{connection};
    request.instance_id = std::move(instance_id);
    return bench.send(request);
  }
  static JoinRequest join_over(uint64_t connection, JoinRequest request = join_request()) {
    request.connection = ConnectionId{connection};
    return request;
  }
  GroupError answer(RequestToken token) { return bench.reply<HeartbeatReply>(token).error; }
};

TEST_F(GroupHeartbeatTest, TheAnswerIsKeptBackUntilItsTimeIsUp) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  const RequestToken held = beat(1, ids[0]);
  bench.advance(milliseconds{2'499});
  EXPECT_FALSE(bench.answered(held));
  bench.advance(milliseconds{1});
  EXPECT_EQ(answer(held), GroupError::kNone);
}

TEST_F(GroupHeartbeatTest, NoLongerThanAThirdOfTheSessionTimeout) {
  JoinRequest request = join_over(1);
  request.session_timeout_ms = milliseconds{6'000};
  const auto ids = stable_group({request});
  const RequestToken held = beat(1, ids[0], 1);
  bench.advance(milliseconds{1'999});
  EXPECT_FALSE(bench.answered(held));
  bench.advance(milliseconds{1});
  EXPECT_EQ(answer(held), GroupError::kNone);
}

TEST_F(GroupHeartbeatTest, AMemberWhoseWorkWaitsForItIsAnsweredAtOnce) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  HeartbeatRequest request = heartbeat_request(ids[0], 2);
  request.connection = ConnectionId{1};
  request.may_wait = false;
  EXPECT_EQ(answer(bench.send(request)), GroupError::kNone);
}

TEST_F(GroupHeartbeatTest, WhatFallsDueTogetherIsAnsweredTogether) {
  const auto ids = stable_group({join_over(1), join_over(2), join_over(3)});
  const RequestToken first = beat(1, ids[0]);
  bench.advance(milliseconds{90});
  const RequestToken second = beat(2, ids[1]);
  bench.advance(milliseconds{20});
  const RequestToken third = beat(3, ids[2]);
  bench.advance(milliseconds{2'390});
  EXPECT_TRUE(bench.answered(first));
  EXPECT_TRUE(bench.answered(second));
  EXPECT_FALSE(bench.answered(third));
}

TEST_F(GroupHeartbeatTest, ANewcomerIsToldOfAtOnce) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  const RequestToken held = beat(1, ids[0]);
  bench.send(join_over(3));
  EXPECT_EQ(answer(held), GroupError::kRebalanceInProgress);
}

TEST_F(GroupHeartbeatTest, WhoLeavesIsToldOfAtOnce) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  const RequestToken stays = beat(1, ids[0]);
  const RequestToken leaves = beat(2, ids[1]);
  leave(leave_request(ids[1]));
  EXPECT_EQ(answer(stays), GroupError::kRebalanceInProgress);
  EXPECT_EQ(answer(leaves), GroupError::kUnknownMemberId);
}

TEST_F(GroupHeartbeatTest, ADeadMemberIsToldOfWhenItsGraceIsOver) {
  const auto ids = stable_group({join_over(1), join_over(2), join_over(3)});
  const RequestToken before = beat(1, ids[0]);
  bench.send(ConnectionClosed{ConnectionId{3}});
  bench.advance(milliseconds{500});
  const RequestToken after = beat(2, ids[1]);
  bench.advance(milliseconds{499});
  EXPECT_FALSE(bench.answered(before));
  EXPECT_FALSE(bench.answered(after));
  bench.advance(milliseconds{1});
  EXPECT_EQ(answer(before), GroupError::kRebalanceInProgress);
  EXPECT_EQ(answer(after), GroupError::kRebalanceInProgress);
  EXPECT_THAT(bench.coordinator->describe("g")->members, SizeIs(2));
}

TEST_F(GroupHeartbeatTest, WhoComesBackWithinItsGraceDisturbsNobody) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  const RequestToken held = beat(1, ids[0]);
  bench.send(ConnectionClosed{ConnectionId{2}});
  bench.advance(milliseconds{900});
  beat(3, ids[1]);
  bench.advance(milliseconds{1'600});
  EXPECT_EQ(answer(held), GroupError::kNone);
  EXPECT_EQ(bench.state(), GroupState::kStable);
}

TEST_F(GroupHeartbeatTest, TheClientsNextRequestReleasesIt) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  const RequestToken held = beat(1, ids[0]);
  const RequestToken others = beat(2, ids[1]);
  bench.send(NextRequestWaits{ConnectionId{7}});
  EXPECT_FALSE(bench.answered(held));
  bench.send(NextRequestWaits{ConnectionId{1}});
  EXPECT_EQ(answer(held), GroupError::kNone);
  EXPECT_FALSE(bench.answered(others));
}

// Its next heartbeat may come long after the grace.
TEST_F(GroupHeartbeatTest, ReleasedWithinAGraceItTellsOfTheLostMember) {
  const auto ids = stable_group({join_over(1), join_over(2), join_over(3)});
  const RequestToken held = beat(1, ids[0]);
  const RequestToken others = beat(2, ids[1]);
  bench.send(ConnectionClosed{ConnectionId{3}});
  bench.send(NextRequestWaits{ConnectionId{1}});
  EXPECT_EQ(answer(held), GroupError::kRebalanceInProgress);
  EXPECT_EQ(answer(others), GroupError::kRebalanceInProgress);

  JoinRequest again = join_over(1);
  again.member_id = ids[0];
  const RequestToken joining = bench.send(again);
  bench.advance(milliseconds{999});
  EXPECT_FALSE(bench.answered(joining));
}

TEST_F(GroupHeartbeatTest, WhoseTimeIsUpWithinAGraceHearsOfTheLostMember) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  const RequestToken held = beat(1, ids[0]);
  bench.advance(milliseconds{2'000});
  bench.send(ConnectionClosed{ConnectionId{2}});
  bench.advance(milliseconds{500});
  EXPECT_EQ(answer(held), GroupError::kRebalanceInProgress);
}

TEST_F(GroupHeartbeatTest, TheSessionCountsFromTheAnswer) {
  const auto ids = stable_group({join_over(1)});
  beat(1, ids[0], 1);
  bench.advance(milliseconds{2'500 + 9'999});
  EXPECT_EQ(bench.state(), GroupState::kStable);
  bench.advance(milliseconds{1});
  EXPECT_EQ(bench.state(), GroupState::kEmpty);
}

TEST_F(GroupHeartbeatTest, OneIsHeldForAConnection) {
  const auto ids = stable_group({join_over(1)});
  const RequestToken first = beat(1, ids[0], 1);
  const RequestToken second = beat(1, ids[0], 1);
  EXPECT_EQ(answer(first), GroupError::kNone);
  EXPECT_FALSE(bench.answered(second));
}

TEST_F(GroupHeartbeatTest, WithItsConnectionItIsForgotten) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  const RequestToken held = beat(1, ids[0]);
  bench.send(ConnectionClosed{ConnectionId{1}});
  EXPECT_TRUE(bench.answered(held));
  bench.advance(milliseconds{1'000});
  EXPECT_THAT(bench.coordinator->describe("g")->members, SizeIs(1));
}

TEST_F(GroupHeartbeatTest, AFencedProcessHearsOfItAtOnce) {
  const auto ids = stable_group({join_over(1), join_over(2, static_join_request("i1"))});
  const RequestToken stays = beat(1, ids[0]);
  const RequestToken fenced = beat(2, ids[1], 2, "i1");
  join(join_over(3, static_join_request("i1")));
  EXPECT_EQ(answer(fenced), GroupError::kFencedInstanceId);
  EXPECT_FALSE(bench.answered(stays)) << "nothing has changed for it";
}

TEST_F(GroupHeartbeatTest, StrangersAndMembersOfOldGenerationsAreAnsweredAtOnce) {
  const auto ids = stable_group({join_over(1), join_over(2)});
  EXPECT_EQ(answer(beat(1, "stranger")), GroupError::kUnknownMemberId);
  EXPECT_EQ(answer(beat(1, ids[0], 1)), GroupError::kIllegalGeneration);
}

TEST_F(GroupHeartbeatTest, InTheSyncRoundTheAnswerComesAtOnce) {
  const JoinReply joined = join(join_over(1));
  EXPECT_EQ(answer(beat(1, joined.member_id, joined.generation)), GroupError::kNone);
}

TEST_F(GroupHeartbeatTest, ACoordinatorThatResignsAnswers) {
  const auto ids = stable_group({join_over(1)});
  const RequestToken held = beat(1, ids[0], 1);
  bench.take(bench.coordinator->resign());
  EXPECT_EQ(answer(held), GroupError::kNotCoordinator);
}

class GroupHeartbeatAsInKafka : public testing::TestWithParam<GroupSettings> {};

TEST_P(GroupHeartbeatAsInKafka, AnswersAtOnce) {
  TestBench bench(GetParam());
  JoinRequest request = join_request();
  request.connection = ConnectionId{1};
  const auto joined = bench.reply<JoinReply>(bench.send(request));
  bench.send(sync_request(joined.member_id, joined.generation));
  HeartbeatRequest beat = heartbeat_request(joined.member_id, joined.generation);
  beat.connection = ConnectionId{1};
  EXPECT_EQ(bench.reply<HeartbeatReply>(bench.send(beat)).error, GroupError::kNone);
}

INSTANTIATE_TEST_SUITE_P(, GroupHeartbeatAsInKafka,
                         testing::Values(GroupSettings{.group_heartbeat_hold_max_ms = milliseconds{0}},
                                         GroupSettings{.group_disconnect_grace_ms = milliseconds{0}}));

}  // namespace
}  // namespace millrace::coord
