#include <gmock/gmock.h>

#include <algorithm>

#include "base/fake_clock.h"
#include "broker/internal/test_broker.h"
#include "record/records.h"
#include "wire/add_offsets_to_txn.h"
#include "wire/add_partitions_to_txn.h"
#include "wire/describe_producers.h"
#include "wire/describe_transactions.h"
#include "wire/end_txn.h"
#include "wire/find_coordinator.h"
#include "wire/init_producer_id.h"
#include "wire/list_transactions.h"
#include "wire/offset_fetch.h"
#include "wire/txn_offset_commit.h"
#include "wire/write_txn_markers.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::SizeIs;
using wire::ErrorCode;

struct ProducerIdAndEpoch {
  int64_t id = -1;
  int16_t epoch = -1;
};

// A topic of two partitions, and a transactional producer that speaks the protocol itself.
class Transactions : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(create_topic(*client, "t", 2), ErrorCode::kNone);
    find(0, "g");
    find(1, "tx");
    who = init();
  }
  void find(int8_t type, const std::string& key) {
    wire::FindCoordinatorRequest request;
    request.key_type = type;
    request.coordinator_keys = {key};
    ASSERT_EQ(client->call(request).coordinators.at(0).error_code, ErrorCode::kNone);
  }
  ProducerIdAndEpoch init() {
    wire::InitProducerIdRequest request;
    request.transactional_id = "tx";
    request.transaction_timeout_ms = 60'000;
    const auto answer = client->call(request);
    EXPECT_EQ(answer.error_code, ErrorCode::kNone);
    return {answer.producer_id, answer.producer_epoch};
  }
  std::vector<ErrorCode> add(const std::vector<int32_t>& partitions, const std::string& topic = "t") {
    wire::AddPartitionsToTxnRequest request;
    request.v3_and_below_transactional_id = "tx";
    request.v3_and_below_producer_id = who.id;
    request.v3_and_below_producer_epoch = who.epoch;
    request.v3_and_below_topics.push_back({topic, partitions});
    const auto answer = client->call(request, 3);
    std::vector<ErrorCode> errors;
    for (const auto& one : answer.results_by_topic_v3_and_below.at(0).results_by_partition)
      errors.push_back(one.partition_error_code);
    return errors;
  }
  Bytes batch_of(const std::string& value, int32_t sequence) const {
    record::BatchBuilder builder({.producer_id = ProducerId{who.id},
                                  .producer_epoch = ProducerEpoch{who.epoch},
                                  .base_sequence = sequence,
                                  .transactional = true});
    builder.add(1000, std::nullopt, as_byte_view(value));
    return builder.finish().value();
  }
  ErrorCode write(int32_t partition, const std::string& value, int16_t version = 11) {
    const Bytes batch = batch_of(value, next_sequence[partition]);
    auto request = produce_request("t", partition, batch);
    request.transactional_id = "tx";
    const auto error = client->call(request, version).responses.at(0).partition_responses.at(0).error_code;
    if (error == ErrorCode::kNone) ++next_sequence[partition];
    return error;
  }
  // As a client does that lets its batches add their partitions: from then on it goes on with the next epoch.
  void end_and_go_on(bool commit) {
    const auto ended = end(commit, 5);
    ASSERT_EQ(ended.error_code, ErrorCode::kNone);
    who = {ended.producer_id, ended.producer_epoch};
    next_sequence.clear();
  }
  std::vector<std::string> committed_values(int32_t partition) {
    auto request = fetch_request("t", partition, 0);
    request.isolation_level = 1;
    const auto answer = client->call(request, kFetchByName);
    const auto& fetched = answer.responses.at(0).partitions.at(0);
    EXPECT_EQ(fetched.last_stable_offset, fetched.high_watermark);
    std::vector<std::string> values;
    record::BatchReader reader(fetched.records.value_or(ByteView{}));
    while (const auto batch = *reader.next()) {
      const bool aborted =
          fetched.aborted_transactions && std::ranges::any_of(*fetched.aborted_transactions, [&](const auto& one) {
            return one.producer_id == batch->producer_id().value() && one.first_offset <= batch->base_offset().value();
          });
      if (batch->is_control() || aborted) continue;
      auto records = record::RecordReader::open(*batch, 1 << 20);
      record::Record record;
      while (records->next(record).value()) values.emplace_back(as_text(record.value.value()));
    }
    return values;
  }
  wire::EndTxnResponse end(bool commit, int16_t version = 4) {
    wire::EndTxnRequest request;
    request.transactional_id = "tx";
    request.producer_id = who.id;
    request.producer_epoch = who.epoch;
    request.committed = commit;
    return client->call(request, version);
  }
  ErrorCode commit_offset(int64_t offset, int16_t version = 4) {
    wire::TxnOffsetCommitRequest request;
    request.transactional_id = "tx";
    request.group_id = "g";
    request.producer_id = who.id;
    request.producer_epoch = who.epoch;
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    auto& partition = topic.partitions.emplace_back();
    partition.committed_offset = offset;
    return client->call(request, version).topics.at(0).partitions.at(0).error_code;
  }
  ErrorCode add_offsets() {
    wire::AddOffsetsToTxnRequest request;
    request.transactional_id = "tx";
    request.producer_id = who.id;
    request.producer_epoch = who.epoch;
    request.group_id = "g";
    return client->call(request).error_code;
  }
  wire::OffsetFetchResponse::OffsetFetchResponsePartitions committed(bool require_stable) {
    wire::OffsetFetchRequest request;
    request.require_stable = require_stable;
    auto& group = request.groups.emplace_back();
    group.group_id = "g";
    group.topics.emplace().push_back({"t", {0}});
    return client->call(request, 8).groups.at(0).topics.at(0).partitions.at(0);
  }
  std::string state() {
    wire::DescribeTransactionsRequest request;
    request.transactional_ids = {"tx"};
    return client->call(request).transaction_states.at(0).transaction_state;
  }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
  ProducerIdAndEpoch who;
  std::map<int32_t, int32_t> next_sequence;
};

TEST_F(Transactions, RecordsNeedAPartitionThatWasAddedAndAnOpenTransaction) {
  EXPECT_EQ(write(0, "early"), ErrorCode::kTransactionAbortable);
  EXPECT_EQ(write(0, "early", 10), ErrorCode::kInvalidTxnState);
  EXPECT_THAT(add({0}), ElementsAre(ErrorCode::kNone));
  EXPECT_EQ(write(0, "in"), ErrorCode::kNone);
  EXPECT_EQ(write(1, "not added"), ErrorCode::kTransactionAbortable);
  EXPECT_EQ(end(true).error_code, ErrorCode::kNone);
  EXPECT_EQ(write(0, "late"), ErrorCode::kTransactionAbortable);
}

TEST_F(Transactions, FromVersion12OnABatchAddsItsPartition) {
  EXPECT_EQ(write(0, "a", 12), ErrorCode::kNone);
  EXPECT_EQ(state(), "Ongoing");
  EXPECT_EQ(write(0, "b", 12), ErrorCode::kNone);
  EXPECT_EQ(write(1, "c", 12), ErrorCode::kNone);
  end_and_go_on(true);
  EXPECT_THAT(committed_values(0), ElementsAre("a", "b"));
  EXPECT_THAT(committed_values(1), ElementsAre("c"));
  EXPECT_EQ(write(0, "aborted", 12), ErrorCode::kNone);
  end_and_go_on(false);
  EXPECT_EQ(write(1, "d", 12), ErrorCode::kNone);
  end_and_go_on(true);
  EXPECT_THAT(committed_values(0), ElementsAre("a", "b"));
  EXPECT_THAT(committed_values(1), ElementsAre("c", "d"));
}

// Where the first batch failed, those that were sent behind it must not take its place.
TEST_F(Transactions, ABatchThatAddsItsPartitionIsTheFirstOfItsTransactionThere) {
  next_sequence[0] = 3;
  EXPECT_EQ(write(0, "behind", 12), ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(state(), "Empty");
  next_sequence[0] = 0;
  EXPECT_EQ(write(0, "first", 12), ErrorCode::kNone);
  EXPECT_EQ(write(0, "second", 12), ErrorCode::kNone);
  next_sequence[1] = 7;
  EXPECT_EQ(write(1, "behind", 12), ErrorCode::kOutOfOrderSequenceNumber);
  end_and_go_on(true);
  EXPECT_THAT(committed_values(0), ElementsAre("first", "second"));
  EXPECT_THAT(committed_values(1), ElementsAre());
}

TEST_F(Transactions, ARequestAddsAllItsPartitionsAndRefusesThoseThatCannotBe) {
  const Bytes batch = batch_of("a", 0);
  auto request = produce_request("t", 1, batch);
  request.transactional_id = "tx";
  auto& parts = request.topic_data.at(0).partition_data;
  for (const int32_t index : {7, 0}) {
    parts.push_back(parts.front());
    parts.back().index = index;
  }
  request.topic_data.push_back(request.topic_data.front());
  request.topic_data.back().name = "__transaction_state";
  const auto answer = client->call(request);
  const auto& answers = answer.responses.at(0).partition_responses;
  EXPECT_EQ(answers.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(answers.at(1).error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(answers.at(2).error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.responses.at(1).partition_responses.at(0).error_code, ErrorCode::kInvalidTopicException);
  wire::DescribeTransactionsRequest describe;
  describe.transactional_ids = {"tx"};
  const auto described = client->call(describe).transaction_states.at(0);
  ASSERT_THAT(described.topics, SizeIs(1));
  EXPECT_THAT(described.topics.at(0).partitions, ElementsAre(0, 1));
}

TEST_F(Transactions, ProducesThatFollowWaitForTheAdditionInTheirOrder) {
  std::vector<int32_t> ids;
  for (int32_t sequence = 0; sequence < 5; ++sequence) {
    const Bytes batch = batch_of(std::to_string(sequence), sequence);
    auto request = produce_request("t", 0, batch);
    request.transactional_id = "tx";
    ids.push_back(client->send(request));
  }
  int64_t next = 0;
  for (const int32_t id : ids) {
    const auto answer = client->receive<wire::ProduceResponse>(id, wire::ProduceRequest::kMaxVersion);
    EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).error_code, ErrorCode::kNone);
    EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).base_offset, next++);
  }
}

TEST_F(Transactions, ABatchOfAnEndedTransactionComesIntoNoPartition) {
  ASSERT_EQ(write(0, "in time", 12), ErrorCode::kNone);
  const ProducerIdAndEpoch ended = who;
  end_and_go_on(true);
  who = ended;
  next_sequence[0] = 1;
  EXPECT_EQ(write(0, "late", 12), ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(write(1, "late, and its first there", 12), ErrorCode::kInvalidProducerEpoch);
  EXPECT_THAT(committed_values(0), ElementsAre("in time"));
  EXPECT_THAT(committed_values(1), testing::IsEmpty());
}

TEST_F(Transactions, AnotherIdsProducerAddsNothing) {
  const Bytes batch = batch_of("stranger", 0);
  auto request = produce_request("t", 0, batch);
  request.transactional_id = "unknown";
  EXPECT_EQ(client->call(request).responses.at(0).partition_responses.at(0).error_code,
            ErrorCode::kInvalidProducerIdMapping);
  request.transactional_id.reset();
  EXPECT_EQ(client->call(request).responses.at(0).partition_responses.at(0).error_code,
            ErrorCode::kTransactionalIdAuthorizationFailed);
}

TEST_F(Transactions, ABatchOfAnEpochToComeIsRefusedForItsEpoch) {
  ASSERT_THAT(add({0}), ElementsAre(ErrorCode::kNone));
  ASSERT_EQ(write(0, "now"), ErrorCode::kNone);
  ++who.epoch;
  EXPECT_EQ(write(0, "too soon", 9), ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(write(0, "too soon", 11), ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(write(0, "too soon", 12), ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(write(1, "too soon", 9), ErrorCode::kInvalidProducerEpoch);
  --who.epoch;
  EXPECT_EQ(write(0, "in its turn"), ErrorCode::kNone);
}

TEST_F(Transactions, WhoOnlyAsksIsToldOfEachPartition) {
  ASSERT_THAT(add({0}), ElementsAre(ErrorCode::kNone));
  wire::AddPartitionsToTxnRequest request;
  auto& asked = request.transactions.emplace_back();
  asked.transactional_id = "tx";
  asked.producer_id = who.id;
  asked.producer_epoch = who.epoch;
  asked.verify_only = true;
  asked.topics.push_back({"t", {0, 1}});
  const auto told = client->call(request).results_by_transaction.at(0).topic_results.at(0).results_by_partition;
  EXPECT_EQ(told.at(0).partition_error_code, ErrorCode::kNone);
  EXPECT_EQ(told.at(1).partition_error_code, ErrorCode::kTransactionAbortable);
}

// The addition is decided, but not durable, when the next incarnation ends the transaction.
TEST(TransactionRaces, ABatchIsRefusedWhoseTransactionIsAbortedBeforeItIsAppended) {
  BrokerOptions options = test_options();
  options.settings.num_network_threads = 1;
  TestBroker broker(std::move(options));
  auto client = broker.connect();
  auto other = broker.connect();
  auto bystander = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  wire::FindCoordinatorRequest find;
  find.key_type = 1;
  find.coordinator_keys = {"tx"};
  ASSERT_EQ(client->call(find).coordinators.at(0).error_code, ErrorCode::kNone);
  wire::InitProducerIdRequest init;
  init.transactional_id = "tx";
  init.transaction_timeout_ms = 60'000;
  const auto who = client->call(init);
  ASSERT_EQ(who.error_code, ErrorCode::kNone);
  const Bytes batch = make_batch({"too late"}, {.producer_id = ProducerId{who.producer_id},
                                                .producer_epoch = ProducerEpoch{who.producer_epoch},
                                                .base_sequence = 0,
                                                .transactional = true});
  auto request = produce_request("t", 0, batch);
  request.transactional_id = "tx";
  broker.files.hold_syncs();
  const int32_t produced = client->send(request);
  broker.files.await_held_sync();
  const int32_t taken_over = other->send(init);
  // Whatever the one thread had to read before is in work when it answers the second.
  for (int i = 0; i < 2; ++i) EXPECT_EQ(bystander->call(wire::MetadataRequest{}).brokers.size(), 1u);
  broker.files.release_syncs();
  const auto answer = client->receive<wire::ProduceResponse>(produced, wire::ProduceRequest::kMaxVersion);
  EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).error_code, ErrorCode::kInvalidProducerEpoch);
  const auto next = other->receive<wire::InitProducerIdResponse>(taken_over, wire::InitProducerIdRequest::kMaxVersion);
  EXPECT_EQ(next.error_code, ErrorCode::kNone);
  // The marker, and nothing else.
  const auto fetched = bystander->call(fetch_request("t", 0, 0), kFetchByName);
  EXPECT_EQ(fetched.responses.at(0).partitions.at(0).high_watermark, 1);
}

TEST_F(Transactions, AnUnknownPartitionLeavesTheOthersOut) {
  EXPECT_THAT(add({0, 7}), ElementsAre(ErrorCode::kOperationNotAttempted, ErrorCode::kUnknownTopicOrPartition));
  EXPECT_EQ(state(), "Empty");
}

TEST_F(Transactions, TopicsThatTheBrokerWritesAreNotAdded) {
  EXPECT_THAT(add({0}, "__transaction_state"), ElementsAre(ErrorCode::kTopicAuthorizationFailed));
  EXPECT_EQ(state(), "Empty");
}

TEST_F(Transactions, OneRequestMayNameVeryManyThatDoNotExist) {
  wire::AddPartitionsToTxnRequest request;
  for (int i = 0; i < 50'000; ++i) {
    auto& transaction = request.transactions.emplace_back();
    transaction.transactional_id = "t";
    transaction.topics.push_back({"", {0}});
  }
  EXPECT_THAT(client->call(request, 5).results_by_transaction, SizeIs(50'000));
}

TEST_F(Transactions, APatternThatWouldTakeForEverIsRefused) {
  wire::InitProducerIdRequest init;
  init.transactional_id = std::string(30'000, 'a');
  init.transaction_timeout_ms = 60'000;
  ASSERT_EQ(client->call(init).error_code, ErrorCode::kNone);
  wire::ListTransactionsRequest list;
  list.transactional_id_pattern = "t.";
  EXPECT_THAT(client->call(list).transaction_states, SizeIs(1));
  for (const char* pattern : {"(a*)*b", "(a|b|ab)*c", "("}) {
    list.transactional_id_pattern = pattern;
    const auto answer = client->call(list);
    EXPECT_TRUE(answer.error_code == ErrorCode::kInvalidRegularExpression || answer.transaction_states.empty())
        << pattern;
  }
}

TEST_F(Transactions, AFencedProducerIsToldInItsVersionsWords) {
  ASSERT_THAT(add({0}), ElementsAre(ErrorCode::kNone));
  const ProducerIdAndEpoch next = init();
  EXPECT_EQ(next.id, who.id);
  EXPECT_EQ(next.epoch, who.epoch + 2);
  EXPECT_EQ(end(true, 1).error_code, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(end(true, 2).error_code, ErrorCode::kProducerFenced);
  EXPECT_EQ(write(0, "fenced"), ErrorCode::kInvalidProducerEpoch);
}

TEST_F(Transactions, OffsetsCountWithTheirTransaction) {
  EXPECT_EQ(commit_offset(5), ErrorCode::kTransactionAbortable);
  EXPECT_EQ(commit_offset(5, 3), ErrorCode::kInvalidTxnState);
  ASSERT_EQ(add_offsets(), ErrorCode::kNone);
  ASSERT_EQ(commit_offset(5), ErrorCode::kNone);
  EXPECT_EQ(committed(false).committed_offset, -1);
  EXPECT_EQ(committed(true).error_code, ErrorCode::kUnstableOffsetCommit);
  EXPECT_EQ(end(true).error_code, ErrorCode::kNone);
  EXPECT_EQ(committed(true).committed_offset, 5);
  ASSERT_EQ(add_offsets(), ErrorCode::kNone);
  ASSERT_EQ(commit_offset(9), ErrorCode::kNone);
  EXPECT_EQ(end(false).error_code, ErrorCode::kNone);
  EXPECT_EQ(committed(true).committed_offset, 5);
}

TEST_F(Transactions, AnEndedTransactionsOffsetsAreRefusedAndTheGroupsGoOn) {
  ASSERT_EQ(add_offsets(), ErrorCode::kNone);
  const ProducerIdAndEpoch zombie = who;
  who = init();
  const ProducerIdAndEpoch next = who;
  who = zombie;
  EXPECT_EQ(commit_offset(5), ErrorCode::kInvalidProducerEpoch);
  who = next;
  ASSERT_EQ(add_offsets(), ErrorCode::kNone);
  EXPECT_EQ(commit_offset(6), ErrorCode::kNone);
  EXPECT_EQ(end(true).error_code, ErrorCode::kNone);
  EXPECT_EQ(committed(true).committed_offset, 6);
}

TEST_F(Transactions, FromVersion5OnAnEndRaisesTheEpochAndOffsetsAddThemselves) {
  ASSERT_EQ(commit_offset(5, 5), ErrorCode::kNone);
  const auto ended = end(true, 5);
  EXPECT_EQ(ended.error_code, ErrorCode::kNone);
  EXPECT_EQ(ended.producer_epoch, who.epoch + 1);
  EXPECT_EQ(end(true, 5).producer_epoch, who.epoch + 1);
  EXPECT_EQ(committed(true).committed_offset, 5);
}

TEST_F(Transactions, AdministratorsSeeThemAndEndOneThatHangs) {
  ASSERT_THAT(add({0}), ElementsAre(ErrorCode::kNone));
  ASSERT_EQ(write(0, "open"), ErrorCode::kNone);
  EXPECT_EQ(state(), "Ongoing");
  wire::ListTransactionsRequest list;
  list.state_filters = {"Ongoing", "Nowhere"};
  const auto listed = client->call(list);
  EXPECT_THAT(listed.transaction_states, SizeIs(1));
  EXPECT_THAT(listed.unknown_state_filters, ElementsAre("Nowhere"));
  wire::DescribeProducersRequest describe;
  describe.topics.push_back({"t", {0, 9}});
  const auto producers = client->call(describe).topics.at(0).partitions;
  EXPECT_EQ(producers.at(0).active_producers.at(0).current_txn_start_offset, 0);
  EXPECT_EQ(producers.at(0).active_producers.at(0).coordinator_epoch, -1) << "no marker so far";
  EXPECT_EQ(producers.at(1).error_code, ErrorCode::kUnknownTopicOrPartition);
  wire::WriteTxnMarkersRequest abort;
  auto& marker = abort.markers.emplace_back();
  marker.producer_id = who.id;
  marker.producer_epoch = who.epoch;
  marker.topics = {{"t", {0, 0}}, {"t", {0}}};
  marker.coordinator_epoch = 3;
  abort.markers.push_back(wire::WriteTxnMarkersRequest::WritableTxnMarker(marker));
  const auto aborted = client->call(abort).markers;
  ASSERT_THAT(aborted, SizeIs(1)) << "each once, however often it is named";
  ASSERT_THAT(aborted[0].topics, SizeIs(1));
  ASSERT_THAT(aborted[0].topics[0].partitions, SizeIs(1));
  EXPECT_EQ(aborted[0].topics[0].partitions[0].error_code, ErrorCode::kNone);
  const auto after = client->call(describe).topics.at(0).partitions.at(0).active_producers.at(0);
  EXPECT_EQ(after.current_txn_start_offset, -1);
  EXPECT_EQ(after.coordinator_epoch, 3);
  abort.markers.resize(1);
  abort.markers[0].coordinator_epoch = 2;
  EXPECT_EQ(client->call(abort).markers.at(0).topics.at(0).partitions.at(0).error_code,
            ErrorCode::kTransactionCoordinatorFenced);
}

TEST_F(Transactions, ACrashKeepsWhatWasDecidedAndWhatIsOpen) {
  ASSERT_THAT(add({0, 1}), ElementsAre(ErrorCode::kNone, ErrorCode::kNone));
  ASSERT_EQ(add_offsets(), ErrorCode::kNone);
  ASSERT_EQ(commit_offset(5), ErrorCode::kNone);
  ASSERT_EQ(write(0, "a"), ErrorCode::kNone);
  ASSERT_EQ(end(true).error_code, ErrorCode::kNone);
  ASSERT_THAT(add({1}), ElementsAre(ErrorCode::kNone));
  ASSERT_EQ(write(1, "b"), ErrorCode::kNone);
  broker.crash_and_restart();
  client = broker.connect();
  EXPECT_EQ(committed(true).committed_offset, 5);
  EXPECT_EQ(state(), "Ongoing");
  // The partition takes the producer's records as before.
  EXPECT_EQ(write(1, "c"), ErrorCode::kNone);
  EXPECT_EQ(write(0, "not in this one"), ErrorCode::kTransactionAbortable);
  EXPECT_EQ(end(true).error_code, ErrorCode::kNone);
  EXPECT_EQ(state(), "CompleteCommit");
}

TEST_F(Transactions, ACrashKeepsWhatBatchesHaveAdded) {
  ASSERT_EQ(write(0, "a", 12), ErrorCode::kNone);
  broker.crash_and_restart();
  client = broker.connect();
  EXPECT_EQ(state(), "Ongoing");
  EXPECT_EQ(write(0, "b", 12), ErrorCode::kNone);
  EXPECT_EQ(write(1, "c", 12), ErrorCode::kNone);
  end_and_go_on(true);
  EXPECT_THAT(committed_values(0), ElementsAre("a", "b"));
  EXPECT_THAT(committed_values(1), ElementsAre("c"));
}

}  // namespace
}  // namespace millrace::broker
