#include "coord/transaction_coordinator.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "base/fake_clock.h"

namespace millrace::coord {
namespace {

using std::chrono::milliseconds;

TopicPartition partition(std::string topic, int32_t number) { return {std::move(topic), PartitionId{number}}; }
Producer producer(int64_t id, int epoch) { return {ProducerId{id}, ProducerEpoch{static_cast<int16_t>(epoch)}}; }

// A coordinator with its clock and log, and what came out of the last call.
class TransactionCoordinatorTest : public testing::Test {
 protected:
  TransactionCoordinatorTest() { boot(); }

  void boot() {
    coordinator = std::make_unique<TransactionCoordinator>(settings, [this]() -> std::optional<ProducerId> {
      if (!has_ids) return std::nullopt;
      return ProducerId{next_id++};
    });
    for (const auto& record : log) coordinator->apply(record);
    take(coordinator->start(now()));
  }
  Instant now() const { return {clock.mono_now(), clock.wall_now()}; }
  void take(TransactionEffects effects) {
    log.insert(log.end(), effects.records.begin(), effects.records.end());
    last = std::move(effects);
  }
  template <typename Reply>
  Reply only_reply() const {
    EXPECT_EQ(last.replies.size(), 1u);
    return std::get<Reply>(last.replies.at(0).body);
  }
  InitProducerReply init(std::optional<Producer> expected = std::nullopt, std::string id = "tx") {
    take(coordinator->handle(InitProducerRequest{{}, std::move(id), milliseconds{60'000}, expected}, now()));
    return only_reply<InitProducerReply>();
  }
  TransactionError add(Producer who, std::vector<TopicPartition> partitions, bool verify_only = false) {
    take(coordinator->handle(AddPartitionsRequest{{}, "tx", who, std::move(partitions), verify_only}, now()));
    return only_reply<AddPartitionsReply>().error;
  }
  EndTransactionReply end(Producer who, bool commit, bool raises_epoch = false) {
    take(coordinator->handle(EndTransactionRequest{{}, "tx", who, commit, raises_epoch}, now()));
    return only_reply<EndTransactionReply>();
  }
  TransactionState state() const { return coordinator->describe("tx")->value.state; }
  // A producer of the last epoch but `epochs_left`.
  Producer restored_at(int epochs_left) {
    const Producer old = producer(77, std::numeric_limits<int16_t>::max() - 1 - epochs_left);
    TransactionRecordValue value;
    value.producer = old;
    value.timeout_ms = milliseconds{60'000};
    value.last_update = clock.wall_now();
    log.push_back({"tx", value});
    boot();
    return old;
  }

  TransactionSettings settings;
  FakeClock clock;
  std::unique_ptr<TransactionCoordinator> coordinator;
  std::vector<TransactionRecord> log;
  TransactionEffects last;
  int64_t next_id = 100;
  bool has_ids = true;
};

TEST_F(TransactionCoordinatorTest, ANewIdGetsAFreshProducerAtEpochZero) {
  EXPECT_EQ(init().producer, producer(100, 0));
  EXPECT_EQ(state(), TransactionState::kEmpty);
  EXPECT_EQ(init(std::nullopt, "other").producer, producer(101, 0));
}

TEST_F(TransactionCoordinatorTest, TheNextProcessFencesTheOneBefore) {
  const Producer first = init().producer;
  const Producer second = init().producer;
  EXPECT_EQ(second, producer(100, 1));
  EXPECT_EQ(add(first, {partition("t", 0)}), TransactionError::kProducerFenced);
  EXPECT_EQ(end(first, true).error, TransactionError::kProducerFenced);
  EXPECT_EQ(add(second, {partition("t", 0)}), TransactionError::kNone);
}

TEST_F(TransactionCoordinatorTest, ACommitMarksEveryPartitionOnceInTheWriteOfItsRecord) {
  const Producer who = init().producer;
  ASSERT_EQ(add(who, {partition("t", 0), partition("t", 1)}), TransactionError::kNone);
  ASSERT_EQ(last.admissions.size(), 1u);
  EXPECT_EQ(last.admissions[0].partitions.size(), 2u);
  ASSERT_EQ(add(who, {partition("t", 1), partition("u", 0)}), TransactionError::kNone);
  EXPECT_EQ(last.admissions.at(0).partitions, std::vector{partition("u", 0)});
  EXPECT_EQ(end(who, true).error, TransactionError::kNone);
  ASSERT_EQ(last.markers.size(), 1u);
  EXPECT_EQ(last.markers[0], (Marker{who, true, {partition("t", 0), partition("t", 1), partition("u", 0)}}));
  ASSERT_EQ(last.records.size(), 1u);
  EXPECT_EQ(last.records[0].value->state, TransactionState::kCompleteCommit);
  EXPECT_TRUE(last.records[0].value->partitions.empty());
}

TEST_F(TransactionCoordinatorTest, AddingWhatIsThereAlreadyWritesNothing) {
  const Producer who = init().producer;
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  EXPECT_TRUE(last.records.empty());
  EXPECT_TRUE(last.admissions.empty());
}

TEST_F(TransactionCoordinatorTest, TheSameEndAgainSucceedsAndTheOtherDoesNot) {
  const Producer who = init().producer;
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  ASSERT_EQ(end(who, true).error, TransactionError::kNone);
  EXPECT_EQ(end(who, true).error, TransactionError::kNone);
  EXPECT_TRUE(last.markers.empty());
  EXPECT_EQ(end(who, false).error, TransactionError::kInvalidTxnState);
}

TEST_F(TransactionCoordinatorTest, EndingNothingIsAnInvalidState) {
  const Producer who = init().producer;
  EXPECT_EQ(end(who, true).error, TransactionError::kInvalidTxnState);
  EXPECT_EQ(end(who, false).error, TransactionError::kInvalidTxnState);
}

TEST_F(TransactionCoordinatorTest, AnUnknownIdOrAnotherProducersIdIsAMappingError) {
  EXPECT_EQ(add(producer(100, 0), {partition("t", 0)}), TransactionError::kInvalidProducerIdMapping);
  const Producer who = init().producer;
  EXPECT_EQ(add(producer(who.id.value() + 1, 0), {partition("t", 0)}), TransactionError::kInvalidProducerIdMapping);
  EXPECT_EQ(end(producer(who.id.value() + 1, 0), true).error, TransactionError::kInvalidProducerIdMapping);
}

TEST_F(TransactionCoordinatorTest, ATimeoutOutsideItsBoundsIsRefused) {
  for (const milliseconds timeout : {milliseconds{0}, milliseconds{-1}, milliseconds{900'001}}) {
    take(coordinator->handle(InitProducerRequest{{}, "tx", timeout, {}}, now()));
    EXPECT_EQ(only_reply<InitProducerReply>().error, TransactionError::kInvalidTransactionTimeout);
  }
  EXPECT_FALSE(coordinator->describe("tx"));
}

TEST_F(TransactionCoordinatorTest, TakingOverAbortsWhatIsOpenAndAnswersAtOnce) {
  const Producer first = init().producer;
  ASSERT_EQ(add(first, {partition("t", 0)}), TransactionError::kNone);
  const InitProducerReply answer = init();
  EXPECT_EQ(answer.error, TransactionError::kNone);
  EXPECT_EQ(answer.producer, producer(100, 2));
  ASSERT_EQ(last.markers.size(), 1u);
  // The abort carries an epoch that nobody was given, so that the first process is fenced in the partitions, too.
  EXPECT_EQ(last.markers[0], (Marker{producer(100, 1), false, {partition("t", 0)}}));
  EXPECT_EQ(state(), TransactionState::kEmpty);
}

TEST_F(TransactionCoordinatorTest, AnOpenTransactionIsAbortedExactlyAtItsTimeout) {
  const Producer who = init().producer;
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  clock.advance(milliseconds{59'999});
  take(coordinator->on_time(now()));
  EXPECT_EQ(state(), TransactionState::kOngoing);
  clock.advance(milliseconds{1});
  ASSERT_LE(*coordinator->next_deadline(), clock.mono_now());
  take(coordinator->on_time(now()));
  EXPECT_EQ(state(), TransactionState::kCompleteAbort);
  ASSERT_EQ(last.markers.size(), 1u);
  EXPECT_FALSE(last.markers[0].commit);
  EXPECT_EQ(end(who, true).error, TransactionError::kProducerFenced);
  EXPECT_EQ(init(who).error, TransactionError::kProducerFenced);
}

TEST_F(TransactionCoordinatorTest, AProducerThatAbortsWhatHasTimedOutGoesOnWithTheEpochThatItWasRaisedTo) {
  const Producer who = init().producer;
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  clock.advance(milliseconds{60'000});
  take(coordinator->on_time(now()));
  EXPECT_EQ(end(who, true, true).error, TransactionError::kInvalidTxnState);
  const auto aborted = end(who, false, true);
  EXPECT_EQ(aborted.error, TransactionError::kNone);
  EXPECT_EQ(aborted.producer, producer(100, 1));
  EXPECT_EQ(add(aborted.producer, {partition("t", 0)}), TransactionError::kNone);
}

TEST_F(TransactionCoordinatorTest, OneTransactionTimesOutInACallAndTheNextIsDueAtOnce) {
  const Producer who = init().producer;
  const Producer other = init(std::nullopt, "other").producer;
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  take(coordinator->handle(AddPartitionsRequest{{}, "other", other, {partition("t", 0)}}, now()));
  clock.advance(milliseconds{60'000});
  take(coordinator->on_time(now()));
  EXPECT_EQ(last.markers.size(), 1u);
  ASSERT_LE(*coordinator->next_deadline(), clock.mono_now());
  take(coordinator->on_time(now()));
  EXPECT_EQ(last.markers.size(), 1u);
  EXPECT_EQ(coordinator->ongoing(), 0u);
}

TEST_F(TransactionCoordinatorTest, ARaisedEpochIsGivenAgainToWhoHasNotHeardOfIt) {
  const Producer first = init().producer;
  const Producer raised = init(first).producer;
  EXPECT_EQ(raised, producer(100, 1));
  EXPECT_EQ(init(first).producer, raised);
  EXPECT_TRUE(last.records.empty());
  ASSERT_EQ(add(raised, {partition("t", 0)}), TransactionError::kNone);
  EXPECT_EQ(init(first).error, TransactionError::kProducerFenced);
}

TEST_F(TransactionCoordinatorTest, ARaiseOfAnOpenTransactionIsGivenAgain) {
  const Producer first = init().producer;
  ASSERT_EQ(add(first, {partition("t", 0)}), TransactionError::kNone);
  const Producer raised = init(first).producer;
  EXPECT_EQ(raised, producer(100, 2));
  EXPECT_EQ(init(first).producer, raised);
}

TEST_F(TransactionCoordinatorTest, UsedUpEpochsBringANewProducerId) {
  const Producer old = restored_at(0);
  EXPECT_EQ(init(old).producer, producer(100, 0));
  EXPECT_EQ(coordinator->describe("tx")->value.previous_producer_id, old.id);
}

TEST_F(TransactionCoordinatorTest, WithoutAProducerIdAtHandNothingChanges) {
  has_ids = false;
  EXPECT_EQ(init().error, TransactionError::kCoordinatorNotAvailable);
  EXPECT_FALSE(coordinator->describe("tx"));
  has_ids = true;
  const Producer old = restored_at(0);
  ASSERT_EQ(add(old, {partition("t", 0)}), TransactionError::kNone);
  has_ids = false;
  EXPECT_EQ(init(old).error, TransactionError::kCoordinatorNotAvailable);
  EXPECT_EQ(end(old, true, true).error, TransactionError::kCoordinatorNotAvailable);
  EXPECT_EQ(state(), TransactionState::kOngoing);
  has_ids = true;
  EXPECT_EQ(init(old).producer, producer(100, 0));
}

TEST_F(TransactionCoordinatorTest, AnEndThatRaisesTheEpochMarksWithTheNewOne) {
  const Producer first = init().producer;
  ASSERT_EQ(add(first, {partition("t", 0)}), TransactionError::kNone);
  const auto ended = end(first, true, true);
  EXPECT_EQ(ended.producer, producer(100, 1));
  EXPECT_EQ(last.markers.at(0).producer, producer(100, 1));
  EXPECT_EQ(add(first, {partition("t", 0)}), TransactionError::kProducerFenced);
  const auto again = end(first, true, true);
  EXPECT_EQ(again.error, TransactionError::kNone);
  EXPECT_EQ(again.producer, producer(100, 1));
  EXPECT_TRUE(last.markers.empty());
  EXPECT_EQ(end(first, false, true).error, TransactionError::kInvalidTxnState);
  ASSERT_EQ(add(again.producer, {partition("t", 0)}), TransactionError::kNone);
  EXPECT_EQ(end(first, true, true).error, TransactionError::kProducerFenced);
}

TEST_F(TransactionCoordinatorTest, AnAbortThatRaisesTheEpochNeedsNoTransaction) {
  const Producer first = init().producer;
  const auto ended = end(first, false, true);
  EXPECT_EQ(ended.error, TransactionError::kNone);
  EXPECT_EQ(ended.producer, producer(100, 1));
  EXPECT_TRUE(last.markers.empty());
  EXPECT_EQ(end(ended.producer, true, true).error, TransactionError::kInvalidTxnState);
}

TEST_F(TransactionCoordinatorTest, AnEndAtTheLastEpochGoesOnWithANewProducerId) {
  const Producer old = restored_at(0);
  ASSERT_EQ(add(old, {partition("t", 0)}), TransactionError::kNone);
  const auto ended = end(old, true, true);
  EXPECT_EQ(ended.producer, producer(100, 0));
  EXPECT_EQ(last.markers.at(0).producer, producer(77, std::numeric_limits<int16_t>::max()));
  EXPECT_EQ(end(old, true, true).producer, producer(100, 0));
}

TEST_F(TransactionCoordinatorTest, AskingWhetherPartitionsAreInChangesNothing) {
  const Producer who = init().producer;
  EXPECT_EQ(add(who, {partition("t", 0)}, true), TransactionError::kInvalidTxnState);
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  EXPECT_EQ(add(who, {partition("t", 0)}, true), TransactionError::kNone);
  EXPECT_EQ(add(who, {partition("t", 0), partition("t", 1)}, true), TransactionError::kInvalidTxnState);
  EXPECT_EQ(only_reply<AddPartitionsReply>().absent, std::vector{partition("t", 1)});
  EXPECT_TRUE(last.records.empty());
}

TEST_F(TransactionCoordinatorTest, ARestartAdmitsOpenTransactionsAgainAndKeepsTheirDeadline) {
  const Producer who = init().producer;
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  clock.advance(milliseconds{40'000});
  boot();
  ASSERT_EQ(last.admissions.size(), 1u);
  EXPECT_EQ(last.admissions[0].producer, who);
  clock.advance(milliseconds{20'000});
  take(coordinator->on_time(now()));
  EXPECT_EQ(state(), TransactionState::kCompleteAbort);
}

TEST_F(TransactionCoordinatorTest, ALogOfKafkasThatStopsBetweenDecisionAndMarkersIsCompleted) {
  TransactionRecordValue value;
  value.producer = producer(5, 3);
  value.state = TransactionState::kPrepareCommit;
  value.timeout_ms = milliseconds{1'000};
  value.partitions = {partition("t", 2)};
  log.push_back({"tx", value});
  boot();
  ASSERT_LE(*coordinator->next_deadline(), clock.mono_now());
  take(coordinator->on_time(now()));
  EXPECT_EQ(state(), TransactionState::kCompleteCommit);
  ASSERT_EQ(last.markers.size(), 1u);
  EXPECT_EQ(last.markers[0], (Marker{producer(5, 3), true, {partition("t", 2)}}));
}

TEST_F(TransactionCoordinatorTest, AnIdleIdIsForgottenAfterItsRetentionAndAnOpenOneIsNot) {
  settings.transaction_max_timeout_ms = std::chrono::hours{24 * 30};
  log.clear();
  boot();
  init();
  take(coordinator->handle(InitProducerRequest{{}, "open", std::chrono::hours{24 * 30}, {}}, now()));
  const Producer open = only_reply<InitProducerReply>().producer;
  take(coordinator->handle(AddPartitionsRequest{{}, "open", open, {partition("t", 0)}}, now()));
  clock.advance(std::chrono::hours{24 * 7 + 1});
  take(coordinator->on_time(now()));
  EXPECT_FALSE(coordinator->describe("tx"));
  EXPECT_TRUE(coordinator->describe("open"));
  ASSERT_EQ(last.records.size(), 1u);
  EXPECT_FALSE(last.records[0].value);
}

TEST_F(TransactionCoordinatorTest, ListsByStateProducerAndAge) {
  const Producer who = init().producer;
  init(std::nullopt, "idle");
  ASSERT_EQ(add(who, {partition("t", 0)}), TransactionError::kNone);
  clock.advance(milliseconds{5'000});
  const WallTime wall = clock.wall_now();
  EXPECT_EQ(coordinator->list({}, wall).size(), 2u);
  EXPECT_EQ(coordinator->list({.states = {"Ongoing"}}, wall).at(0).transactional_id, "tx");
  EXPECT_EQ(coordinator->list({.producer_ids = {ProducerId{101}}}, wall).at(0).transactional_id, "idle");
  const auto longer_than = [&](milliseconds age) {
    return coordinator->list({.running_longer_than = age}, wall).size();
  };
  EXPECT_EQ(longer_than(milliseconds{4'999}), 2u);
  EXPECT_EQ(longer_than(milliseconds{5'000}), 1u) << "the idle one has begun nothing, ever";
  EXPECT_EQ(longer_than(milliseconds::max()), 0u);
  ASSERT_EQ(end(who, true).error, TransactionError::kNone);
  EXPECT_EQ(longer_than(milliseconds{4'999}), 2u) << "its last transaction began then";
}

}  // namespace
}  // namespace millrace::coord
