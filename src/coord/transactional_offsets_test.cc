#include <gtest/gtest.h>

#include "coord/internal/test_bench.h"

namespace millrace::coord {
namespace {

using internal::commit_request;
using internal::join_request;
using internal::sync_request;
using internal::TestBench;

constexpr Producer kProducer{ProducerId{7}, ProducerEpoch{0}};
constexpr Producer kOther{ProducerId{8}, ProducerEpoch{0}};

// A group without members, whose offsets arrive in transactions. The log is kept with its markers.
class TransactionalOffsetsTest : public testing::Test {
 protected:
  GroupError commit(Producer producer, int64_t offset, const std::string& group = "g") {
    CommitRequest request = commit_request("", -1, offset);
    request.group = group;
    request.transaction = producer;
    return bench.reply<CommitReply>(bench.send(std::move(request))).errors.at(0);
  }
  void commit_plainly(int64_t offset) { bench.send(commit_request("", -1, offset)); }
  void end(Producer producer, bool committed, const std::string& group = "g") {
    const TransactionEnded marker{producer.id, committed, [=](const std::string& one) { return one == group; }};
    bench.take(bench.coordinator->handle(marker, bench.now()));
  }
  std::optional<int64_t> committed(const std::string& group = "g") const {
    const auto* found = bench.coordinator->committed_offset(group, "t", PartitionId{0});
    if (found == nullptr) return std::nullopt;
    return found->offset.value();
  }
  bool pending() const { return bench.coordinator->has_pending_offset("g", "t", PartitionId{0}); }

  TestBench bench;
};

TEST_F(TransactionalOffsetsTest, CountFromTheCommitMarkerOn) {
  ASSERT_EQ(commit(kProducer, 5), GroupError::kNone);
  EXPECT_EQ(committed(), std::nullopt);
  EXPECT_TRUE(pending());
  end(kProducer, true);
  EXPECT_EQ(committed(), 5);
  EXPECT_FALSE(pending());
}

TEST_F(TransactionalOffsetsTest, VanishWithAnAbort) {
  commit_plainly(3);
  commit(kProducer, 5);
  EXPECT_EQ(committed(), 3);
  end(kProducer, false);
  EXPECT_EQ(committed(), 3);
  EXPECT_FALSE(pending());
}

TEST_F(TransactionalOffsetsTest, ALaterCommitIsNotTakenBack) {
  commit(kProducer, 5);
  commit_plainly(9);
  end(kProducer, true);
  EXPECT_EQ(committed(), 9);
}

TEST_F(TransactionalOffsetsTest, AMarkerSpeaksOfItsProducerAndItsGroupsOnly) {
  commit(kProducer, 5);
  commit(kOther, 6, "h");
  commit(kProducer, 7, "h");
  end(kProducer, true, "g");
  EXPECT_EQ(committed("g"), 5);
  EXPECT_EQ(committed("h"), std::nullopt);
  end(kOther, true, "h");
  EXPECT_EQ(committed("h"), 6);
  end(kProducer, true, "h");
  EXPECT_EQ(committed("h"), 7);
}

TEST_F(TransactionalOffsetsTest, AnAbortedGroupThatHeldNothingElseIsGone) {
  commit(kProducer, 5);
  ASSERT_TRUE(bench.coordinator->describe("g"));
  end(kProducer, false);
  EXPECT_FALSE(bench.coordinator->describe("g"));
}

TEST_F(TransactionalOffsetsTest, ARestartFindsThemWhereTheLogHasThem) {
  commit(kProducer, 5);
  bench.restart();
  EXPECT_TRUE(pending());
  EXPECT_EQ(committed(), std::nullopt);
  end(kProducer, true);
  EXPECT_EQ(committed(), 5);
}

TEST_F(TransactionalOffsetsTest, ADeletedTopicTakesThemAlong) {
  commit(kProducer, 5);
  bench.send(TopicDeleted{"t"});
  EXPECT_FALSE(pending());
  end(kProducer, true);
  EXPECT_EQ(committed(), std::nullopt);
}

TEST_F(TransactionalOffsetsTest, WhatWasDeletedDoesNotComeBackWithARestart) {
  commit(kProducer, 5);
  bench.send(TopicDeleted{"t"});
  bench.restart();
  end(kProducer, true);
  EXPECT_EQ(committed(), std::nullopt);
}

TEST_F(TransactionalOffsetsTest, AreTakenFromAProducerThatKnowsNothingButTheGroupWhileItHasMembers) {
  const std::string id = bench.reply<JoinReply>(bench.send(join_request())).member_id;
  bench.send(sync_request(id, 1, {{id, internal::bytes("all")}}));
  ASSERT_EQ(bench.state(), GroupState::kStable);
  EXPECT_EQ(commit(kProducer, 5), GroupError::kNone);
  EXPECT_EQ(bench.reply<CommitReply>(bench.send(commit_request("", -1, 6))).errors.at(0), GroupError::kUnknownMemberId)
      << "outside of a transaction only members commit";
  end(kProducer, true);
  EXPECT_EQ(committed(), 5);
}

TEST_F(TransactionalOffsetsTest, AreRefusedFromAProducerThatNamesAMemberOrAGenerationThatIsNotThere) {
  const std::string id = bench.reply<JoinReply>(bench.send(join_request())).member_id;
  bench.send(sync_request(id, 1));
  const auto commit_as = [&](const std::string& member, int32_t generation) {
    CommitRequest request = commit_request(member, generation);
    request.transaction = kProducer;
    return bench.reply<CommitReply>(bench.send(std::move(request))).errors.at(0);
  };
  EXPECT_EQ(commit_as(id, 1), GroupError::kNone);
  EXPECT_EQ(commit_as(id, 0), GroupError::kIllegalGeneration);
  EXPECT_EQ(commit_as("stranger", 1), GroupError::kUnknownMemberId);
}

class DeleteOffsetsTest : public TransactionalOffsetsTest {
 protected:
  DeleteOffsetsReply remove(std::optional<std::set<std::string>> subscribed) {
    return bench.reply<DeleteOffsetsReply>(bench.send(
        DeleteOffsetsRequest{{}, "g", {{"t", PartitionId{0}}, {"t", PartitionId{9}}}, std::move(subscribed)}));
  }
};

TEST_F(DeleteOffsetsTest, RemovesWhatIsThereFromAGroupWithoutMembers) {
  commit_plainly(3);
  const auto reply = remove(std::nullopt);
  EXPECT_EQ(reply.error, GroupError::kNone);
  EXPECT_EQ(reply.errors, (std::vector{GroupError::kNone, GroupError::kNone}));
  EXPECT_EQ(committed(), std::nullopt);
}

TEST_F(DeleteOffsetsTest, KeepsWhatMembersRead) {
  commit_plainly(3);
  const auto id = bench.reply<JoinReply>(bench.send(internal::join_request())).member_id;
  EXPECT_EQ(remove(std::nullopt).error, GroupError::kNonEmptyGroup);
  EXPECT_EQ(remove(std::set<std::string>{"t"}).errors.at(0), GroupError::kGroupSubscribedToTopic);
  EXPECT_EQ(committed(), 3);
  EXPECT_EQ(remove(std::set<std::string>{"other"}).errors.at(0), GroupError::kNone);
  EXPECT_EQ(committed(), std::nullopt);
}

TEST_F(DeleteOffsetsTest, AnUnknownGroupIsToldSo) {
  EXPECT_EQ(remove(std::nullopt).error, GroupError::kGroupIdNotFound);
}

}  // namespace
}  // namespace millrace::coord
