#include "log/internal/producer_state.h"

#include <gtest/gtest.h>

#include "log/internal/log_testing.h"

namespace millrace::log {
namespace {

class ProducerTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
  }
  Appended send(int16_t epoch, int32_t sequence, size_t records = 1, int64_t id = 7) {
    return append("t", {.values = std::vector<std::string>(records, "v"),
                        .options = {.producer_id = ProducerId{id},
                                    .producer_epoch = ProducerEpoch{epoch},
                                    .base_sequence = sequence}})
        .value();
  }
};

TEST_F(ProducerTest, SequencesMustFollowEachOther) {
  EXPECT_EQ(send(0, 0, 3).base_offset, Offset{0});
  EXPECT_EQ(send(0, 3).base_offset, Offset{3});
  EXPECT_EQ(send(0, 5).outcome, AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(send(0, 2).outcome, AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(send(0, 4).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(partition("t")->log_end_offset(), Offset{5});
}

TEST_F(ProducerTest, ADuplicateOfTheLastFiveGetsItsOriginalOffsets) {
  for (int32_t i = 0; i < 7; ++i) send(0, i * 2, 2);
  for (int32_t i = 2; i < 7; ++i) {
    const Appended again = send(0, i * 2, 2);
    EXPECT_EQ(again.outcome, AppendOutcome::kDuplicate) << i;
    EXPECT_EQ(again.base_offset, Offset{i * 2});
    EXPECT_EQ(again.last_offset, Offset{i * 2 + 1});
  }
  EXPECT_EQ(send(0, 2, 2).outcome, AppendOutcome::kOutOfOrderSequence);
  // The same first sequence, but not the same batch.
  EXPECT_EQ(send(0, 12, 1).outcome, AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(partition("t")->log_end_offset(), Offset{14});
}

TEST_F(ProducerTest, ANewEpochBeginsAtZeroAndFencesTheOld) {
  send(0, 0);
  EXPECT_EQ(send(1, 1).outcome, AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(send(1, 0).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(send(0, 1).outcome, AppendOutcome::kInvalidProducerEpoch);
  EXPECT_EQ(send(1, 1).outcome, AppendOutcome::kAppended);
}

TEST_F(ProducerTest, AnUnknownProducerMayBeginAnywhere) {
  EXPECT_EQ(send(3, 17).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(send(3, 18).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(send(0, 5, 1, 8).outcome, AppendOutcome::kAppended);
}

// Clients send up to five batches without waiting: what is behind one that was refused must not begin the partition.
TEST_F(ProducerTest, AnUnknownProducerWhoseFirstBatchWasRefusedBeginsWithThat) {
  const auto refused_for_room = [&](int16_t epoch, int32_t sequence) {
    Bytes batch = make_batch(
        {.values = {std::string(options.tail_bytes + 1, 'v')},
         .options = {.producer_id = ProducerId{7}, .producer_epoch = ProducerEpoch{epoch}, .base_sequence = sequence}});
    files.fail_write(1, env::FaultFileSystem::Fault::kOutOfSpace);
    return partition("t")->append(batch).error().code == Errc::kOutOfSpace;
  };
  ASSERT_TRUE(refused_for_room(0, 10));
  EXPECT_EQ(send(0, 11).outcome, AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(send(0, 3, 1, 8).outcome, AppendOutcome::kAppended) << "another producer";
  EXPECT_EQ(send(0, 10).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(send(0, 11).outcome, AppendOutcome::kAppended);
}

TEST_F(ProducerTest, ANewEpochIsNotHeldUpByWhatTheLastWasRefused) {
  Bytes batch = make_batch({.values = {"v"},
                            .options = {.producer_id = ProducerId{7},
                                        .producer_epoch = ProducerEpoch{0},
                                        .base_sequence = 0,
                                        .transactional = true}});
  ASSERT_EQ(partition("t")->append(batch)->outcome, AppendOutcome::kInvalidTxnState);
  EXPECT_EQ(send(0, 1).outcome, AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(send(1, 1).outcome, AppendOutcome::kAppended);
}

TEST_F(ProducerTest, SequencesWrapAround) {
  EXPECT_EQ(send(0, 2147483646, 2).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(send(0, 0, 2).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(send(0, 2).outcome, AppendOutcome::kAppended);
}

TEST_F(ProducerTest, StateSurvivesCrashesAndCheckpoints) {
  send(2, 0, 2);
  for (const bool checkpointed : {false, true, false}) {
    if (checkpointed) ASSERT_EQ(error_of(store->checkpoint()), "");
    crash();
    ASSERT_EQ(error_of(open()), "");
    EXPECT_EQ(send(2, 0, 2).outcome, AppendOutcome::kDuplicate);
    EXPECT_EQ(send(2, 3).outcome, AppendOutcome::kOutOfOrderSequence);
    EXPECT_EQ(send(1, 0).outcome, AppendOutcome::kInvalidProducerEpoch);
  }
  EXPECT_EQ(send(2, 2).outcome, AppendOutcome::kAppended);
}

TEST_F(ProducerTest, AProducerThatIsSilentForTooLongIsForgotten) {
  send(0, 0);
  clock.advance(std::chrono::hours(23));
  ASSERT_EQ(error_of(store->checkpoint()), "");
  EXPECT_EQ(send(0, 5).outcome, AppendOutcome::kOutOfOrderSequence);
  clock.advance(std::chrono::hours(2));
  ASSERT_EQ(error_of(store->checkpoint()), "");
  EXPECT_EQ(send(0, 5).outcome, AppendOutcome::kAppended);
}

TEST(ProducerStates, OfTooManyTheMostSilentAreForgotten) {
  ProducerStates states;
  const auto batch_of = [](int64_t id) {
    return make_batch(
        {.values = {"v"},
         .options = {.producer_id = ProducerId{id}, .producer_epoch = ProducerEpoch{0}, .base_sequence = 0}});
  };
  const auto append = [&](int64_t id, int64_t now_ms) {
    const Bytes bytes = batch_of(id);
    states.update(*record::BatchView::first_of(bytes), now_ms);
  };
  const auto is_known = [&](int64_t id) {
    const Bytes bytes = batch_of(id);
    return states.check(*record::BatchView::first_of(bytes)).outcome == AppendOutcome::kDuplicate;
  };
  constexpr auto kMost = static_cast<int64_t>(ProducerStates::kProducersMax);
  for (int64_t id = 0; id < kMost; ++id) append(id, 1000 + id);
  append(0, 1000 + kMost);
  EXPECT_EQ(states.size(), ProducerStates::kProducersMax);
  for (int64_t id = kMost; id < 3 * kMost; ++id) {
    append(id, 2000 + id);
    if (id % 500 == 0) append(0, 2000 + id);
    ASSERT_LE(states.size(), ProducerStates::kProducersMax);
  }
  EXPECT_TRUE(is_known(0)) << "it goes on writing";
  EXPECT_FALSE(is_known(1));
  EXPECT_FALSE(is_known(kMost));
  EXPECT_TRUE(is_known(3 * kMost - 1));
  EXPECT_TRUE(is_known(3 * kMost - kMost / 2));
}

TEST_F(ProducerTest, ABatchWithAProducerMustBeAlone) {
  const record::BatchOptions producer{
      .producer_id = ProducerId{1}, .producer_epoch = ProducerEpoch{0}, .base_sequence = 0};
  Bytes two = make_batch({.values = {"a"}, .options = producer});
  const Bytes other = make_batch({.values = {"b"}});
  two.insert(two.end(), other.begin(), other.end());
  EXPECT_EQ(partition("t")->append(two).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(partition("t")->log_end_offset(), Offset{0});
}

}  // namespace
}  // namespace millrace::log
