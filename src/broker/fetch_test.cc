#include <gmock/gmock.h>

#include "base/fake_clock.h"
#include "broker/internal/test_broker.h"
#include "log/store.h"
#include "record/marker.h"
#include "wire/delete_topics.h"
#include "wire/list_offsets.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::ErrorCode;
using namespace std::chrono_literals;

constexpr int8_t kReadCommitted = 1;

void restart_after_power_cut(TestBroker& broker) {
  Random random(5);
  broker.files.power_off_after(0);
  broker.broker.reset();
  broker.files.crash(env::FaultFileSystem::Unsynced::kDropped, random);
  broker.start();
}

// --- Isolation

// A topic "t" whose log was written by transactions, without a coordinator.
class Isolation : public testing::Test {
 protected:
  static constexpr ProducerEpoch kEpoch{0};

  // Write to the log while no broker runs.
  template <typename Write>
  void offline(Write write) {
    broker.broker.reset();
    env::SystemClock clock;
    log::StoreOptions options;
    options.dir = "/data";
    Random random(3);
    auto store = log::Store::open(options, broker.files, clock, random).value();
    write(*store->find_topic("t")->partitions.at(0));
    ASSERT_TRUE(store->close());
    store.reset();
    broker.start();
    client = broker.connect();
  }
  static void append(log::Partition& partition, Bytes batch) {
    EXPECT_EQ(partition.append(batch).value().outcome, log::AppendOutcome::kAppended);
  }
  static void transactional(log::Partition& partition, int64_t producer, int32_t sequence, const std::string& value) {
    partition.admit(ProducerId{producer}, kEpoch);
    append(partition, make_batch({value}, {.producer_id = ProducerId{producer},
                                           .producer_epoch = kEpoch,
                                           .base_sequence = sequence,
                                           .transactional = true}));
  }
  static void end(log::Partition& partition, int64_t producer, record::MarkerType type) {
    append(partition,
           record::marker_batch(
               {.producer_id = ProducerId{producer}, .producer_epoch = kEpoch, .type = type, .timestamp_ms = 1}));
  }
  wire::FetchResponse::PartitionData fetch(int8_t isolation, int64_t offset = 0) {
    auto request = fetch_request("t", 0, offset);
    request.isolation_level = isolation;
    return client->call(request, kFetchByName).responses.at(0).partitions.at(0);
  }
  wire::ListOffsetsResponse::ListOffsetsPartitionResponse offset_of(int64_t timestamp, int8_t isolation = 0) {
    wire::ListOffsetsRequest request;
    request.replica_id = -1;
    request.isolation_level = isolation;
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    topic.partitions.emplace_back().timestamp = timestamp;
    return client->call(request).topics.at(0).partitions.at(0);
  }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

TEST_F(Isolation, ReadCommittedEndsWhereTheFirstOpenTransactionBegins) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  offline([](log::Partition& t) {
    transactional(t, 1, 0, "done");
    end(t, 1, record::MarkerType::kCommit);
    transactional(t, 2, 0, "open");
    append(t, make_batch({"plain"}));
  });
  const auto all = fetch(0);
  EXPECT_EQ(all.high_watermark, 4);
  EXPECT_EQ(all.last_stable_offset, 2);
  EXPECT_FALSE(all.aborted_transactions);
  const auto committed = fetch(kReadCommitted);
  EXPECT_EQ(committed.error_code, ErrorCode::kNone);
  EXPECT_EQ(committed.high_watermark, 4);
  EXPECT_EQ(committed.last_stable_offset, 2);
  record::BatchReader batches(*committed.records);
  EXPECT_EQ(batches.next().value()->last_offset(), Offset{0});
  EXPECT_EQ(batches.next().value()->last_offset(), Offset{1});
  EXPECT_FALSE(batches.next().value());
  EXPECT_THAT(*committed.aborted_transactions, IsEmpty());
  EXPECT_THAT(*fetch(kReadCommitted, 2).records, IsEmpty());
  EXPECT_EQ(offset_of(-1).offset, 4);
  EXPECT_EQ(offset_of(-1, kReadCommitted).offset, 2);
  EXPECT_EQ(offset_of(0, kReadCommitted).offset, 0);
}

TEST_F(Isolation, AbortedTransactionsAreListedToWhoeverReadsTheirRecords) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  offline([](log::Partition& t) {
    append(t, make_batch({"plain"}));
    transactional(t, 7, 0, "not");
    transactional(t, 8, 0, "done");
    end(t, 7, record::MarkerType::kAbort);
    end(t, 8, record::MarkerType::kCommit);
    append(t, make_batch({"later"}));
  });
  const auto committed = fetch(kReadCommitted);
  EXPECT_EQ(committed.last_stable_offset, 6);
  ASSERT_EQ(committed.aborted_transactions->size(), 1u);
  EXPECT_EQ(committed.aborted_transactions->at(0).producer_id, 7);
  EXPECT_EQ(committed.aborted_transactions->at(0).first_offset, 1);
  EXPECT_THAT(*fetch(kReadCommitted, 5).aborted_transactions, IsEmpty());
}

TEST_F(Isolation, TheEarliestOffsetComesWithTheEpochItWasWrittenIn) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", make_batch({"old"})).error_code, ErrorCode::kNone);
  const int32_t first_epoch = offset_of(-2).leader_epoch;
  restart_after_power_cut(broker);
  client = broker.connect();
  EXPECT_EQ(offset_of(-2).leader_epoch, first_epoch);
  EXPECT_GT(offset_of(-1).leader_epoch, first_epoch);
}

// --- Leader epochs

TEST(FetchLeaderEpoch, WhoIsBehindIsToldTheLeaderAndItsEpoch) {
  TestBroker broker;
  auto client = broker.connect();
  wire::CreateTopicsRequest creation;
  auto& topic = creation.topics.emplace_back();
  topic.name = "t";
  topic.num_partitions = 1;
  topic.replication_factor = 1;
  const Uuid id = client->call(creation).topics.at(0).topic_id;
  ASSERT_EQ(produce(*client, "t", make_batch({"x"})).error_code, ErrorCode::kNone);
  auto request = fetch_request("", 0, 0);
  request.topics[0].topic_id = id;
  request.topics[0].partitions[0].current_leader_epoch = 0;
  const auto before = client->call(request);
  EXPECT_EQ(before.responses.at(0).partitions.at(0).error_code, ErrorCode::kNone);
  EXPECT_THAT(before.node_endpoints, IsEmpty());

  restart_after_power_cut(broker);
  client = broker.connect();
  const auto answer = client->call(request);
  const auto& part = answer.responses.at(0).partitions.at(0);
  EXPECT_EQ(part.error_code, ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(part.current_leader.leader_id, 1);
  ASSERT_GT(part.current_leader.leader_epoch, 0);
  ASSERT_EQ(answer.node_endpoints.size(), 1u);
  EXPECT_EQ(answer.node_endpoints[0].node_id, 1);
  EXPECT_EQ(answer.node_endpoints[0].port, broker.port());
  request.topics[0].partitions[0].current_leader_epoch = part.current_leader.leader_epoch;
  EXPECT_EQ(client->call(request).responses.at(0).partitions.at(0).error_code, ErrorCode::kNone);
}

// --- Limits

TEST(FetchLimits, MinBytesCountsWhatAllPartitionsGive) {
  TestBroker broker;
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t", 2), ErrorCode::kNone);
  const Bytes batch = make_batch({"one"});
  auto request = fetch_request("t", 0, 0);
  request.topics[0].partitions.push_back(request.topics[0].partitions[0]);
  request.topics[0].partitions[1].partition = 1;
  request.max_wait_ms = 3'600'000;
  request.min_bytes = static_cast<int32_t>(2 * batch.size());
  auto reader = broker.connect();
  const int32_t id = reader->send(request, kFetchByName);
  for (const int32_t partition : {1, 0}) {
    const auto produced = client->call(produce_request("t", partition, batch));
    ASSERT_EQ(produced.responses.at(0).partition_responses.at(0).error_code, ErrorCode::kNone);
  }
  const auto answer = reader->receive<wire::FetchResponse>(id, kFetchByName);
  for (const auto& part : answer.responses.at(0).partitions) EXPECT_THAT(values_of(*part.records), ElementsAre("one"));
}

TEST(FetchLimits, OnlyTheFirstPartitionWithRecordsMayPassTheBounds) {
  TestBroker broker;
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t", 3), ErrorCode::kNone);
  for (const int32_t partition : {1, 2})
    client->call(produce_request("t", partition, make_batch({std::string(5'000, 'x')})));
  auto request = fetch_request("t", 0, 0);
  for (const int32_t partition : {1, 2}) {
    request.topics[0].partitions.push_back(request.topics[0].partitions[0]);
    request.topics[0].partitions.back().partition = partition;
  }
  for (auto& part : request.topics[0].partitions) part.partition_max_bytes = 100;
  const auto sizes = [&] {
    std::vector<size_t> batches;
    const auto answer = client->call(request, kFetchByName);
    for (const auto& part : answer.responses.at(0).partitions) {
      EXPECT_EQ(part.error_code, ErrorCode::kNone);
      EXPECT_EQ(part.high_watermark, part.partition_index == 0 ? 0 : 1) << "what an answer has no room for is told";
      batches.push_back(values_of(*part.records).size());
    }
    return batches;
  };
  EXPECT_THAT(sizes(), ElementsAre(0, 1, 0));
  request.max_bytes = 100;
  for (auto& part : request.topics[0].partitions) part.partition_max_bytes = 1 << 20;
  EXPECT_THAT(sizes(), ElementsAre(0, 1, 0));
}

TEST(FetchLimits, WhoIsNoReplicaMaySayWhatItLikes) {
  TestBroker broker;
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", make_batch({"x"})).error_code, ErrorCode::kNone);
  auto request = fetch_request("t", 0, 0);
  request.replica_id = 7;
  request.rack_id = "rack-1";
  request.topics[0].partitions[0].last_fetched_epoch = 12;
  request.topics[0].partitions[0].log_start_offset = 99;
  const auto part = client->call(request, kFetchByName).responses.at(0).partitions.at(0);
  EXPECT_EQ(part.error_code, ErrorCode::kNone);
  EXPECT_EQ(part.preferred_read_replica, -1);
  EXPECT_EQ(part.log_start_offset, 0);
  EXPECT_THAT(values_of(*part.records), ElementsAre("x"));
}

// --- Sessions

class FetchSession : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(create_topic(*client, "t", 3), ErrorCode::kNone); }

  wire::FetchRequest full(int32_t partitions) {
    auto request = fetch_request("t", 0, 0);
    for (int32_t i = 1; i < partitions; ++i) {
      auto another = request.topics[0].partitions[0];
      another.partition = i;
      request.topics[0].partitions.push_back(another);
    }
    request.session_epoch = 0;
    return request;
  }
  static wire::FetchRequest incremental(int32_t id, int32_t epoch) {
    wire::FetchRequest request;
    request.max_wait_ms = 0;
    request.min_bytes = 1;
    request.max_bytes = 10 << 20;
    request.session_id = id;
    request.session_epoch = epoch;
    return request;
  }
  void produce_to(int32_t partition, const std::string& value) {
    ASSERT_EQ(client->call(produce_request("t", partition, make_batch({value})))
                  .responses[0]
                  .partition_responses[0]
                  .error_code,
              ErrorCode::kNone);
  }
  static std::vector<int32_t> partitions(const wire::FetchResponse& response) {
    std::vector<int32_t> all;
    for (const auto& topic : response.responses)
      for (const auto& partition : topic.partitions) all.push_back(partition.partition_index);
    return all;
  }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

TEST_F(FetchSession, TellsOnlyWhatIsNewToWhoeverAsksWithItsId) {
  const auto first = client->call(full(3), kFetchByName);
  EXPECT_THAT(partitions(first), ElementsAre(0, 1, 2));
  ASSERT_NE(first.session_id, 0);
  produce_to(1, "x");
  const auto second = client->call(incremental(first.session_id, 1), kFetchByName);
  EXPECT_EQ(second.session_id, first.session_id);
  ASSERT_THAT(partitions(second), ElementsAre(1));
  EXPECT_THAT(values_of(*second.responses[0].partitions[0].records), ElementsAre("x"));

  auto third = incremental(first.session_id, 2);
  third.topics = fetch_request("t", 1, 1).topics;
  EXPECT_THAT(partitions(client->call(third, kFetchByName)), IsEmpty());
  // Any connection may go on with it.
  produce_to(0, "y");
  EXPECT_THAT(partitions(broker.connect()->call(incremental(first.session_id, 3), kFetchByName)), ElementsAre(0));
}

TEST_F(FetchSession, ForgetsWhatItsClientNoLongerReads) {
  const int32_t id = client->call(full(3), kFetchByName).session_id;
  auto request = incremental(id, 1);
  auto& forgotten = request.forgotten_topics_data.emplace_back();
  forgotten.topic = "t";
  forgotten.partitions = {0, 2};
  EXPECT_THAT(partitions(client->call(request, kFetchByName)), IsEmpty());
  for (int32_t i = 0; i < 3; ++i) produce_to(i, "x");
  EXPECT_THAT(partitions(client->call(incremental(id, 2), kFetchByName)), ElementsAre(1));
}

TEST_F(FetchSession, RefusesWhatDoesNotFitByName) {
  EXPECT_EQ(client->call(incremental(12, 3), kFetchByName).error_code, ErrorCode::kFetchSessionIdNotFound);
  const int32_t id = client->call(full(1), kFetchByName).session_id;
  EXPECT_EQ(client->call(incremental(id, 9), kFetchByName).error_code, ErrorCode::kInvalidFetchSessionEpoch);
  EXPECT_EQ(client->call(incremental(id, 1)).error_code, ErrorCode::kFetchSessionTopicIdError);
  auto closing = incremental(id, -1);
  EXPECT_EQ(client->call(closing, kFetchByName).error_code, ErrorCode::kNone);
  EXPECT_EQ(client->call(incremental(id, 1), kFetchByName).error_code, ErrorCode::kFetchSessionIdNotFound);
}

TEST_F(FetchSession, ABusyPartitionDoesNotStarveOthers) {
  for (int32_t i = 0; i < 3; ++i) produce_to(i, std::string(5'000, 'x'));
  auto request = full(3);
  request.max_bytes = 100;  // the first batch only
  auto answer = client->call(request, kFetchByName);
  const int32_t id = answer.session_id;
  std::vector<int32_t> turns;
  for (int32_t epoch = 1; epoch <= 4; ++epoch) {
    auto again = incremental(id, epoch);
    again.max_bytes = 100;
    answer = client->call(again, kFetchByName);
    for (const auto& partition : answer.responses.at(0).partitions)
      if (!partition.records->empty()) turns.push_back(partition.partition_index);
  }
  EXPECT_THAT(turns, ElementsAre(1, 2, 0, 1));
}

TEST_F(FetchSession, APartitionThatIsNotThereDoesNotEndTheWaitForTheOthers) {
  auto request = full(1);
  auto missing = request.topics[0].partitions[0];
  missing.partition = 99;
  request.topics[0].partitions.push_back(missing);
  request.max_wait_ms = 3'600'000;
  auto reader = broker.connect();
  const int32_t id = reader->send(request, kFetchByName);
  produce_to(0, "x");
  const auto answer = reader->receive<wire::FetchResponse>(id, kFetchByName);
  EXPECT_THAT(values_of(*answer.responses.at(0).partitions.at(0).records), ElementsAre("x"));
  EXPECT_EQ(answer.responses.at(0).partitions.at(1).error_code, ErrorCode::kUnknownTopicOrPartition);
}

// --- Waiting

TEST_F(FetchSession, ADeletedTopicEndsTheWaitForIt) {
  auto request = full(1);
  request.max_wait_ms = 3'600'000;
  auto reader = broker.connect();
  const int32_t id = reader->send(request, kFetchByName);
  wire::DeleteTopicsRequest deletion;
  deletion.topics.emplace_back().name = "t";
  ASSERT_EQ(client->call(deletion).responses.at(0).error_code, ErrorCode::kNone);
  const auto answer = reader->receive<wire::FetchResponse>(id, kFetchByName);
  EXPECT_EQ(answer.responses.at(0).partitions.at(0).error_code, ErrorCode::kUnknownTopicOrPartition);
}

TEST(FetchMemory, WhoFindsNoneDoesNotWait) {
  BrokerOptions options = test_options();
  options.settings.parked_fetch_bytes_max = 10'000;
  TestBroker broker(options);
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  auto request = fetch_request("t", 0, 0);
  request.max_wait_ms = 3'600'000;
  request.min_bytes = 1 << 20;
  // It waits until what it holds is too much, and then is answered with that.
  auto reader = broker.connect();
  const int32_t waiting = reader->send(request, kFetchByName);
  ASSERT_EQ(produce(*client, "t", make_batch({"small"})).error_code, ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", make_batch({std::string(20'000, 'x')})).error_code, ErrorCode::kNone);
  const auto answer = reader->receive<wire::FetchResponse>(waiting, kFetchByName);
  EXPECT_EQ(values_of(*answer.responses.at(0).partitions.at(0).records).size(), 2u);
  // What is too much from the start does not wait at all.
  EXPECT_EQ(values_of(*client->call(request, kFetchByName).responses.at(0).partitions.at(0).records).size(), 2u);
}

}  // namespace
}  // namespace millrace::broker
