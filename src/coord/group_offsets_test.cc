#include <gmock/gmock.h>

#include "coord/internal/test_bench.h"

namespace millrace::coord {
namespace {

using namespace internal;  // NOLINT(google-build-using-namespace): the bench
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr milliseconds kSevenDays{7LL * 24 * 3600 * 1000};

class GroupOffsetsTest : public testing::Test {
 protected:
  GroupError commit(const CommitRequest& request) { return bench.reply<CommitReply>(bench.send(request)).errors.at(0); }
  const CommittedOffset* committed() { return bench.coordinator->committed_offset("g", "t", PartitionId(0)); }
  // One member, Stable in generation 1.
  std::string stable_member() {
    const std::string id = bench.reply<JoinReply>(bench.send(join_request())).member_id;
    bench.send(sync_request(id, 1, {{id, bytes("all")}}));
    return id;
  }

  TestBench bench;
};

TEST_F(GroupOffsetsTest, CommitKeepsOffsetEpochMetadataAndTime) {
  bench.clock.advance(std::chrono::microseconds{1'234'567});
  EXPECT_EQ(commit(commit_request("", -1, 42)), GroupError::kNone);
  ASSERT_NE(committed(), nullptr);
  EXPECT_EQ(committed()->offset, Offset(42));
  EXPECT_EQ(committed()->leader_epoch, 3);
  EXPECT_EQ(committed()->metadata, "note");
  EXPECT_EQ(to_unix_us(committed()->committed_at), to_unix_us(FakeClock().wall_now()) + 1'234'000);
  ASSERT_THAT(bench.log, SizeIs(1));
  EXPECT_EQ(bench.log[0], Record(OffsetRecord{"g", "t", PartitionId(0), *committed()}));
}

TEST_F(GroupOffsetsTest, WithoutMembershipOnlyAnEmptyGroupTakesCommits) {
  EXPECT_EQ(commit(commit_request("", -1)), GroupError::kNone);
  const std::string id = stable_member();
  EXPECT_EQ(commit(commit_request("", -1)), GroupError::kUnknownMemberId);
  EXPECT_EQ(commit(commit_request(id, -1)), GroupError::kIllegalGeneration);
  bench.send(leave_request(id));
  EXPECT_EQ(commit(commit_request("", -1)), GroupError::kNone);
}

TEST_F(GroupOffsetsTest, AGenerationWithoutAGroupIsIllegal) {
  EXPECT_EQ(commit(commit_request("m", 1)), GroupError::kIllegalGeneration);
  EXPECT_FALSE(bench.coordinator->describe("g"));
}

TEST_F(GroupOffsetsTest, MembersCommitInTheirGenerationOnly) {
  const std::string id = stable_member();
  EXPECT_EQ(commit(commit_request(id, 1)), GroupError::kNone);
  EXPECT_EQ(commit(commit_request(id, 2)), GroupError::kIllegalGeneration);
  EXPECT_EQ(commit(commit_request("stranger", 1)), GroupError::kUnknownMemberId);
}

TEST_F(GroupOffsetsTest, DuringTheSyncRoundCommitsAreSentBackToTheRebalance) {
  const std::string id = bench.reply<JoinReply>(bench.send(join_request())).member_id;
  EXPECT_EQ(commit(commit_request(id, 1)), GroupError::kRebalanceInProgress);
}

TEST_F(GroupOffsetsTest, WhileARebalanceIsPreparedMembersStillCommit) {
  const std::string id = stable_member();
  bench.send(join_request());
  EXPECT_EQ(bench.state(), GroupState::kPreparingRebalance);
  EXPECT_EQ(commit(commit_request(id, 1, 99)), GroupError::kNone);
  EXPECT_EQ(committed()->offset, Offset(99));
}

TEST_F(GroupOffsetsTest, CommittingIsASignOfLife) {
  const std::string id = stable_member();
  for (int i = 0; i < 5; ++i) {
    bench.advance(milliseconds{9'000});
    EXPECT_EQ(commit(commit_request(id, 1)), GroupError::kNone);
  }
}

TEST_F(GroupOffsetsTest, TooMuchMetadataIsRefusedForItsPartitionAlone) {
  CommitRequest request = commit_request("", -1);
  request.offsets.push_back({"t", PartitionId(1), Offset(1), -1, std::string(4097, 'x')});
  request.offsets.push_back({"t", PartitionId(2), Offset(1), -1, std::string(4096, 'x')});
  const CommitReply reply = bench.reply<CommitReply>(bench.send(request));
  EXPECT_THAT(reply.errors, ElementsAre(GroupError::kNone, GroupError::kOffsetMetadataTooLarge, GroupError::kNone));
  EXPECT_THAT(bench.coordinator->committed_offsets("g"), SizeIs(2));
}

TEST_F(GroupOffsetsTest, SimpleConsumersOffsetsExpireAfterTheCommit) {
  commit(commit_request("", -1));
  bench.advance(kSevenDays - milliseconds{1'000'000});
  EXPECT_NE(committed(), nullptr);
  bench.advance(milliseconds{1'600'000});
  EXPECT_EQ(committed(), nullptr);
  EXPECT_FALSE(bench.coordinator->describe("g"));
  EXPECT_EQ(bench.log.back(), Record(OffsetRecord{"g", "t", PartitionId(0), std::nullopt}));
}

TEST_F(GroupOffsetsTest, MembersOffsetsExpireAfterTheGroupBecameEmpty) {
  const std::string id = stable_member();
  commit(commit_request(id, 1));
  for (int i = 0; i < 8 * 24 * 3600 / 9; ++i) {
    bench.advance(milliseconds{9'000});
    bench.send(heartbeat_request(id, 1));
  }
  EXPECT_NE(committed(), nullptr) << "eight days old, but the group is alive";
  bench.send(leave_request(id));
  bench.advance(kSevenDays - milliseconds{1'000'000});
  EXPECT_NE(committed(), nullptr);
  bench.advance(milliseconds{1'600'000});
  EXPECT_EQ(committed(), nullptr);
  EXPECT_EQ(bench.log.back(), Record(GroupRecord{"g", std::nullopt})) << "the group goes with its last offset";
  bench.restart();
  EXPECT_FALSE(bench.coordinator->describe("g"));
}

TEST_F(GroupOffsetsTest, ACommitToAnEmptyGroupStartsItsOwnRetention) {
  const std::string id = stable_member();
  bench.send(leave_request(id));
  commit(commit_request("", -1));
  bench.advance(kSevenDays / 2);
  commit(commit_request("", -1));
  bench.advance(kSevenDays - milliseconds{1'000'000});
  EXPECT_NE(committed(), nullptr);
}

TEST_F(GroupOffsetsTest, RetentionIsMeasuredAcrossRestarts) {
  commit(commit_request("", -1));
  bench.advance(kSevenDays - milliseconds{1'000'000});
  bench.restart();
  bench.advance(milliseconds{1'700'000});
  EXPECT_EQ(committed(), nullptr);
}

TEST_F(GroupOffsetsTest, ManyOffsetsExpireInSmallSteps) {
  CommitRequest request = commit_request("", -1);
  for (int32_t partition = 1; partition < 2500; ++partition)
    request.offsets.push_back({"t", PartitionId(partition), Offset(1), -1, ""});
  bench.send(request);
  bench.clock.advance(kSevenDays + milliseconds{1});
  size_t records_max = 0;
  while (bench.coordinator->next_deadline() && *bench.coordinator->next_deadline() <= bench.clock.mono_now())
    records_max = std::max(records_max, bench.coordinator->on_time(bench.now()).records.size());
  EXPECT_THAT(bench.coordinator->committed_offsets("g"), IsEmpty());
  EXPECT_LE(records_max, 1001u);
}

TEST_F(GroupOffsetsTest, OffsetsOfADeletedTopicAreForgotten) {
  CommitRequest request = commit_request("", -1);
  request.offsets.push_back({"u", PartitionId(0), Offset(1), -1, ""});
  bench.send(request);
  bench.send(TopicDeleted{"t"});
  EXPECT_EQ(committed(), nullptr);
  EXPECT_THAT(bench.coordinator->committed_offsets("g"), SizeIs(1));
  bench.restart();
  EXPECT_EQ(committed(), nullptr);
}

}  // namespace
}  // namespace millrace::coord
