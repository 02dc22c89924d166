#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/crc32c.h"
#include "log/internal/aborted_transactions.h"
#include "log/internal/checkpoint_file.h"
#include "log/internal/log_testing.h"
#include "record/marker.h"

namespace millrace::log {
namespace {

// One partition, and producers that write to it in transactions.
class TransactionsTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
  }
  Partition& log() const { return *partition("t"); }
  void admit(int64_t producer, int16_t epoch = 0) { log().admit(ProducerId{producer}, ProducerEpoch{epoch}); }
  Appended write(int64_t producer, const std::vector<std::string>& values, int16_t epoch = 0,
                 bool transactional = true) {
    int32_t& sequence = next_sequence_[{producer, epoch}];
    const Appended appended = append("t", {.values = values,
                                           .options = {.producer_id = ProducerId{producer},
                                                       .producer_epoch = ProducerEpoch{epoch},
                                                       .base_sequence = sequence,
                                                       .transactional = transactional}})
                                  .value();
    if (appended.outcome == AppendOutcome::kAppended) sequence += static_cast<int32_t>(values.size());
    return appended;
  }
  Result<Appended> mark(int64_t producer, record::MarkerType type, int16_t epoch = 0) {
    Bytes marker = record::marker_batch({.producer_id = ProducerId{producer},
                                         .producer_epoch = ProducerEpoch{epoch},
                                         .type = type,
                                         .timestamp_ms = 1000});
    auto appended = log().append(marker);
    if (appended) {
      const Status durable = store->wait_durable(appended->position);
      EXPECT_TRUE(durable);
    }
    return appended;
  }
  Result<Appended> commit(int64_t producer) { return mark(producer, record::MarkerType::kCommit); }
  Result<Appended> abort(int64_t producer) { return mark(producer, record::MarkerType::kAbort); }

  // What a read_committed client would show: up to the last stable offset, without what the aborted list takes away.
  std::vector<std::string> committed() const {
    Bytes bytes;
    Offset from{0};
    while (true) {
      const auto info = log().read(from, 1u << 20, true, bytes, Isolation::kReadCommitted);
      EXPECT_TRUE(info);
      if (!info || info->bytes == 0) break;
      record::BatchReader batches(ByteView(bytes).subspan(bytes.size() - info->bytes));
      while (const auto batch = *batches.next()) from = batch->last_offset() + 1;
    }
    auto aborted = log().aborted_transactions(Offset{0}, from);
    std::vector<std::string> shown;
    record::BatchReader batches(bytes);
    while (const auto batch = *batches.next()) {
      if (batch->is_control()) continue;
      const bool dropped = batch->is_transactional() && std::ranges::any_of(aborted, [&](const auto& one) {
                             return one.producer_id == batch->producer_id() &&
                                    one.first_offset <= batch->base_offset() && batch->last_offset() < one.last_offset;
                           });
      if (dropped) continue;
      const auto records = records_in(batch->bytes()).value();
      shown.insert(shown.end(), records.begin(), records.end());
    }
    return shown;
  }

 private:
  std::map<std::pair<int64_t, int16_t>, int32_t> next_sequence_;
};

using Strings = std::vector<std::string>;

// A batch that adds its partition to its transaction is refused once before the coordinator is asked, and again where
// the coordinator cannot answer; what its producer has sent behind it must not begin the transaction instead.
TEST_F(TransactionsTest, ABatchBehindOneThatWasNotAdmittedYetIsNotTheFirst) {
  const auto send = [&](int32_t sequence) {
    return append("t", {.values = {"v" + std::to_string(sequence)},
                        .options = {.producer_id = ProducerId{7},
                                    .producer_epoch = ProducerEpoch{2},
                                    .base_sequence = sequence,
                                    .transactional = true}})
        ->outcome;
  };
  ASSERT_EQ(send(0), AppendOutcome::kInvalidTxnState);
  admit(7, 2);
  EXPECT_EQ(send(1), AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(send(0), AppendOutcome::kAppended);
  EXPECT_EQ(send(1), AppendOutcome::kAppended);
}

TEST_F(TransactionsTest, WhoIsNotAdmittedMayNotWrite) {
  EXPECT_EQ(write(7, {"a"}).outcome, AppendOutcome::kInvalidTxnState);
  admit(7, 1);
  EXPECT_EQ(write(7, {"a"}, 0).outcome, AppendOutcome::kInvalidTxnState);
  EXPECT_EQ(write(7, {"a"}, 1).outcome, AppendOutcome::kAppended);
  EXPECT_EQ(write(7, {"b"}, 1, false).outcome, AppendOutcome::kInvalidTxnState);
}

TEST_F(TransactionsTest, NothingCanComeAfterTheMarker) {
  admit(7);
  write(7, {"a"});
  ASSERT_TRUE(commit(7));
  EXPECT_EQ(write(7, {"late"}).outcome, AppendOutcome::kInvalidTxnState);
  EXPECT_EQ(log().log_end_offset(), Offset{2});
}

TEST_F(TransactionsTest, AMarkerOfARaisedEpochFencesTheOld) {
  admit(7);
  write(7, {"a"});
  ASSERT_TRUE(mark(7, record::MarkerType::kAbort, 1));
  admit(7);
  EXPECT_EQ(write(7, {"late"}).outcome, AppendOutcome::kInvalidProducerEpoch);
  EXPECT_EQ(mark(7, record::MarkerType::kCommit, 0)->outcome, AppendOutcome::kInvalidProducerEpoch);
}

TEST_F(TransactionsTest, ARetryIsADuplicateEvenAfterTheMarker) {
  admit(7);
  const Appended first = write(7, {"a"});
  ASSERT_TRUE(commit(7));
  const Appended again = append("t", {.values = {"a"},
                                      .options = {.producer_id = ProducerId{7},
                                                  .producer_epoch = ProducerEpoch{0},
                                                  .base_sequence = 0,
                                                  .transactional = true}})
                             .value();
  EXPECT_EQ(again.outcome, AppendOutcome::kDuplicate);
  EXPECT_EQ(again.base_offset, first.base_offset);
}

TEST_F(TransactionsTest, TheLastStableOffsetIsTheOldestOpenTransactions) {
  append("t", {.values = {"plain"}});
  EXPECT_EQ(log().last_stable_offset(), Offset{1});
  admit(7);
  admit(8);
  write(7, {"a"});
  write(8, {"b"});
  append("t", {.values = {"plain"}});
  EXPECT_EQ(log().last_stable_offset(), Offset{1});
  ASSERT_TRUE(commit(8));
  EXPECT_EQ(log().last_stable_offset(), Offset{1});
  ASSERT_TRUE(abort(7));
  EXPECT_EQ(log().last_stable_offset(), Offset{6});
  EXPECT_EQ(log().high_watermark(), Offset{6});
}

TEST_F(TransactionsTest, ReadCommittedShowsWhatIsDecidedAndTheAbortedListTheRest) {
  admit(7);
  admit(8);
  write(7, {"a0"});
  write(8, {"b0"});
  write(7, {"a1"});
  EXPECT_EQ(committed(), Strings{});
  ASSERT_TRUE(abort(7));
  EXPECT_EQ(committed(), Strings{});
  ASSERT_TRUE(commit(8));
  admit(7);
  write(7, {"a2"});
  ASSERT_TRUE(commit(7));
  EXPECT_EQ(committed(), (Strings{"b0@1", "a2@5"}));
}

TEST_F(TransactionsTest, AbortedTransactionsAreThoseThatTouchTheRange) {
  for (const int64_t producer : {1, 2, 3}) {
    admit(producer);
    write(producer, {"x", "y"});
    ASSERT_TRUE(abort(producer));
  }
  const auto ids = [&](int64_t from, int64_t end) {
    std::vector<int64_t> found;
    for (const auto& one : log().aborted_transactions(Offset{from}, Offset{end}))
      found.push_back(one.producer_id.value());
    return found;
  };
  EXPECT_EQ(ids(0, 9), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(ids(2, 3), (std::vector<int64_t>{1}));
  EXPECT_EQ(ids(3, 6), (std::vector<int64_t>{2}));
  EXPECT_EQ(ids(0, 4), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(ids(9, 10), (std::vector<int64_t>{}));
  const auto first = log().aborted_transactions(Offset{0}, Offset{1}).at(0);
  EXPECT_EQ(first, (AbortedTransaction{ProducerId{1}, Offset{0}, Offset{2}, Offset{3}}));
}

TEST_F(TransactionsTest, AMarkerWithoutRecordsLeavesNoTrace) {
  ASSERT_TRUE(abort(9));
  EXPECT_TRUE(log().aborted_transactions(Offset{0}, Offset{10}).empty());
  EXPECT_EQ(log().last_stable_offset(), Offset{1});
}

TEST_F(TransactionsTest, OtherControlBatchesAreRefused) {
  record::BatchBuilder builder({.producer_id = ProducerId{1}, .producer_epoch = ProducerEpoch{0}, .control = true});
  builder.add(1, as_byte_view(std::string_view("\0\0\0\2", 4)), std::nullopt);
  Bytes batch = builder.finish().value();
  const auto appended = log().append(batch);
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code, Errc::kInvalidArgument);
}

TEST_F(TransactionsTest, ProducersShowTheirOpenTransaction) {
  admit(7);
  append("t", {.values = {"plain"}});
  write(7, {"a", "b"});
  auto producers = log().producers();
  ASSERT_EQ(producers.size(), 1u);
  EXPECT_EQ(producers[0].transaction_start, Offset{1});
  EXPECT_EQ(producers[0].last_sequence, 1);
  EXPECT_EQ(producers[0].coordinator_epoch, -1);
  ASSERT_TRUE(commit(7));
  for (const bool with_checkpoint : {false, true}) {
    if (with_checkpoint) ASSERT_EQ(error_of(store->checkpoint()), "");
    crash();
    ASSERT_EQ(error_of(open()), "");
    EXPECT_EQ(log().producers().at(0).transaction_start, std::nullopt);
    EXPECT_EQ(log().producers().at(0).coordinator_epoch, 0);
  }
}

TEST_F(TransactionsTest, AMarkerOfAnOlderCoordinatorIsRefusedButNotTheBrokersOwn) {
  const auto mark_as = [&](int32_t coordinator, bool from_reserve) {
    Bytes marker = record::marker_batch({.producer_id = ProducerId{7},
                                         .producer_epoch = ProducerEpoch{0},
                                         .type = record::MarkerType::kAbort,
                                         .coordinator_epoch = coordinator,
                                         .timestamp_ms = 1000});
    return log().append(marker, {.from_reserve = from_reserve})->outcome;
  };
  admit(7);
  write(7, {"a"});
  ASSERT_EQ(mark_as(3, false), AppendOutcome::kAppended);
  EXPECT_EQ(mark_as(2, false), AppendOutcome::kCoordinatorFenced);
  admit(7);
  write(7, {"b"});
  ASSERT_EQ(log().producers().at(0).transaction_start, Offset{2});
  EXPECT_EQ(mark_as(0, true), AppendOutcome::kAppended);
  EXPECT_EQ(log().producers().at(0).transaction_start, std::nullopt);
}

// Every state, through a crash with nothing but the write-ahead log, and with a checkpoint in the middle.
TEST_F(TransactionsTest, ACrashLosesNothingOfThem) {
  for (const bool with_checkpoint : {false, true}) {
    SCOPED_TRACE(with_checkpoint ? "with a checkpoint" : "without a checkpoint");
    ASSERT_TRUE(store->delete_topic("t"));
    make_topic("t");
    admit(7);
    admit(8);
    write(7, {"gone"}, 0);
    write(8, {"open"}, 0);
    ASSERT_TRUE(abort(7));
    if (with_checkpoint) ASSERT_TRUE(store->checkpoint());
    append("t", {.values = {"plain"}});
    const auto aborted = log().aborted_transactions(Offset{0}, Offset{100});
    ASSERT_EQ(aborted.size(), 1u);
    crash();
    ASSERT_EQ(error_of(open()), "");
    EXPECT_EQ(log().aborted_transactions(Offset{0}, Offset{100}), aborted);
    EXPECT_EQ(log().last_stable_offset(), Offset{1});
    // Admissions are the coordinator's to give again.
    EXPECT_FALSE(log().is_admitted(ProducerId{8}, ProducerEpoch{0}));
    ASSERT_TRUE(commit(8));
    EXPECT_EQ(committed(), (Strings{"open@1", "plain@3"}));
  }
}

TEST_F(TransactionsTest, AnIndexIsInKafkasFormatAndBuiltAnewWhenDamaged) {
  for (int i = 0; i < 3; ++i) {
    admit(7);
    write(7, {std::string(1500, 'x')});
    ASSERT_TRUE(abort(7));
  }
  const auto aborted = log().aborted_transactions(Offset{0}, Offset{100});
  ASSERT_EQ(aborted.size(), 3u);
  ASSERT_TRUE(store->close());
  const std::string path = "/data/topics/t-0/00000000000000000000.txnindex";
  const Bytes index = env::read_file(files, path, 1u << 20).value();
  ASSERT_GE(index.size(), kTransactionIndexEntryBytes);
  EXPECT_EQ(decode_aborted_transactions(index).value().at(0), aborted[0]);
  ASSERT_TRUE(env::write_file_atomically(files, path, as_byte_view("damaged")));
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(log().aborted_transactions(Offset{0}, Offset{100}), aborted);
}

TEST(Checkpoint, OneFromBeforeTransactionsIsStillRead) {
  CheckpointContent content;
  content.topics.push_back(
      {.number = 1, .info = {.name = "t", .id = {}, .partitions = 1, .config = {}}, .partitions = {{}}});
  Bytes bytes = encode_checkpoint(content);
  // Version 1 ends with the producers: neither open transactions, of which there are none, nor what is compacted.
  ASSERT_EQ(bytes.size() >= 9 ? bytes[bytes.size() - 9] : std::byte{1}, std::byte{0});
  bytes.resize(bytes.size() - 9);
  ByteWriter writer(bytes);
  writer.patch(4, uint32_t{1});
  writer.patch(8, crc32c(ByteView(bytes).subspan(12)));
  const auto read = decode_checkpoint(bytes);
  ASSERT_TRUE(read) << error_of(read);
  EXPECT_TRUE(read->topics.at(0).partitions.at(0).open_transactions.empty());
}

}  // namespace
}  // namespace millrace::log
