#include <gmock/gmock.h>

#include "base/fake_clock.h"
#include "broker/internal/test_broker.h"
#include "wire/api_versions.h"
#include "wire/init_producer_id.h"
#include "wire/list_offsets.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using wire::ErrorCode;
using namespace std::chrono_literals;

wire::InitProducerIdRequest idempotent_producer() {
  wire::InitProducerIdRequest request;
  request.transactional_id.reset();
  return request;
}

class ProduceFetch : public testing::Test {
 protected:
  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

TEST_F(ProduceFetch, WhatIsAcknowledgedInAnyVersionIsReadInAnyVersion) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  int64_t offset = 0;
  for (int16_t version = wire::ProduceRequest::kMinVersion; version <= wire::ProduceRequest::kMaxVersion; ++version) {
    const auto answer = client->call(produce_request("t", 0, make_batch({"a", "b"})), version);
    ASSERT_EQ(answer.responses.at(0).partition_responses.at(0).error_code, ErrorCode::kNone) << version;
    EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).base_offset, offset) << version;
    offset += 2;
  }
  wire::MetadataRequest about;
  about.topics.emplace().emplace_back().name = "t";
  const Uuid id = client->call(about).topics.at(0).topic_id;
  for (int16_t version = wire::FetchRequest::kMinVersion; version <= wire::FetchRequest::kMaxVersion; ++version) {
    auto request = fetch_request(version >= 13 ? "" : "t", 0, offset - 2);
    request.topics[0].topic_id = version >= 13 ? id : Uuid{};
    const auto answer = client->call(request, version);
    const auto& partition = answer.responses.at(0).partitions.at(0);
    EXPECT_EQ(partition.error_code, ErrorCode::kNone) << version;
    EXPECT_EQ(partition.high_watermark, offset) << version;
    EXPECT_EQ(partition.last_stable_offset, offset) << version;
    EXPECT_EQ(answer.session_id, 0);
    EXPECT_THAT(values_of(*partition.records), ElementsAre("a", "b")) << version;
  }
}

TEST_F(ProduceFetch, EveryRequestedPartitionAnswersForItself) {
  ASSERT_EQ(create_topic(*client, "t", 2), ErrorCode::kNone);
  const Bytes good = make_batch({"x"});
  Bytes damaged = make_batch({"y"});
  damaged.back() ^= std::byte{1};
  auto request = produce_request("t", 0, good);
  request.topic_data[0].partition_data.push_back({1, ByteView(damaged)});
  request.topic_data[0].partition_data.push_back({2, ByteView(good)});
  const auto answer = client->call(request);
  const auto& parts = answer.responses.at(0).partition_responses;
  EXPECT_EQ(parts.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(parts.at(1).error_code, ErrorCode::kCorruptMessage);
  EXPECT_TRUE(parts.at(1).error_message.has_value());
  EXPECT_EQ(parts.at(2).error_code, ErrorCode::kUnknownTopicOrPartition);
}

TEST_F(ProduceFetch, RefusalsAreNamed) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  EXPECT_EQ(produce(*client, "t", make_batch({std::string(1'100'000, 'x')})).error_code, ErrorCode::kMessageTooLarge);
  EXPECT_EQ(produce(*client, "nowhere", make_batch({"x"})).error_code, ErrorCode::kUnknownTopicOrPartition);
  const Bytes batch = make_batch({"x"});
  auto request = produce_request("t", 0, batch, 2);
  EXPECT_EQ(client->call(request).responses[0].partition_responses[0].error_code, ErrorCode::kInvalidRequiredAcks);
  Bytes placed = make_batch({"x"});
  record::set_base_offset(placed, Offset{7});
  EXPECT_EQ(produce(*client, "t", placed).error_code, ErrorCode::kInvalidRecord);
  EXPECT_THAT(fetch_values(*client, "t", 0), ElementsAre());
}

TEST_F(ProduceFetch, ReadingOutsideTheLogIsOffsetOutOfRange) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  const auto answer = client->call(fetch_request("t", 0, 5), kFetchByName);
  EXPECT_EQ(answer.responses.at(0).partitions.at(0).error_code, ErrorCode::kOffsetOutOfRange);
}

TEST_F(ProduceFetch, AnUnknownTopicIdIsNamedAsSuch) {
  auto request = fetch_request("", 0, 0);
  request.topics[0].topic_id.bytes.fill(9);
  EXPECT_EQ(client->call(request).responses.at(0).partitions.at(0).error_code, ErrorCode::kUnknownTopicId);
}

TEST_F(ProduceFetch, AFetchSessionThatNeverWasIsNotFound) {
  wire::FetchRequest request;
  request.session_id = 12;
  request.session_epoch = 3;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kFetchSessionIdNotFound);
}

TEST_F(ProduceFetch, BytesBoundTheAnswerButNeverTheFirstBatch) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  const std::string big(5000, 'x');
  for (int i = 0; i < 4; ++i) ASSERT_EQ(produce(*client, "t", make_batch({big})).error_code, ErrorCode::kNone);
  const auto batches_within = [&](int32_t partition_max, int32_t max) {
    auto request = fetch_request("t", 0, 0);
    request.topics[0].partitions[0].partition_max_bytes = partition_max;
    request.max_bytes = max;
    return values_of(*client->call(request, kFetchByName).responses.at(0).partitions.at(0).records).size();
  };
  EXPECT_EQ(batches_within(1 << 20, 1 << 20), 4u);
  EXPECT_EQ(batches_within(11'000, 1 << 20), 2u);
  EXPECT_EQ(batches_within(1 << 20, 11'000), 2u);
  EXPECT_EQ(batches_within(100, 1 << 20), 1u);
  EXPECT_EQ(batches_within(1 << 20, 0), 1u);
}

TEST_F(ProduceFetch, ALongPollWaitsForAllOfMinBytes) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  auto reader = broker.connect();
  auto request = fetch_request("t", 0, 0);
  const Bytes batch = make_batch({"one"});
  request.max_wait_ms = 3'600'000;
  request.min_bytes = static_cast<int32_t>(2 * batch.size());
  const int32_t id = reader->send(request, kFetchByName);
  ASSERT_EQ(produce(*client, "t", batch).error_code, ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", make_batch({"two"})).error_code, ErrorCode::kNone);
  const auto answer = reader->receive<wire::FetchResponse>(id, kFetchByName);
  EXPECT_THAT(values_of(*answer.responses.at(0).partitions.at(0).records), ElementsAre("one", "two"));
}

TEST_F(ProduceFetch, APollThatWaitsForOneByteIsAnsweredByTheFirstRecord) {
  ASSERT_EQ(create_topic(*client, "t", 3), ErrorCode::kNone);
  auto reader = broker.connect();
  auto request = fetch_request("t", 0, 0);
  for (int32_t i = 1; i < 3; ++i) {
    auto another = request.topics[0].partitions[0];
    another.partition = i;
    request.topics[0].partitions.push_back(another);
  }
  request.max_wait_ms = 3'600'000;
  const int32_t id = reader->send(request, kFetchByName);
  ASSERT_EQ(client->call(produce_request("t", 2, make_batch({"x"}))).responses[0].partition_responses[0].error_code,
            ErrorCode::kNone);
  const auto answer = reader->receive<wire::FetchResponse>(id, kFetchByName);
  EXPECT_THAT(values_of(*answer.responses.at(0).partitions.at(2).records), ElementsAre("x"));
}

TEST(LongPoll, EndsWhenMaxWaitIsOverAndNotBefore) {
  FakeClock clock;
  TestBroker broker(test_options(), &clock);
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  auto request = fetch_request("t", 0, 0);
  request.max_wait_ms = 500;
  const auto begun = clock.mono_now();
  const int32_t id = client->send(request, kFetchByName);
  while (!client->readable_within(2)) {
    clock.advance(50ms);
    broker.broker->clock_moved();
  }
  EXPECT_GE(clock.mono_now() - begun, 500ms);
  const auto answer = client->receive<wire::FetchResponse>(id, kFetchByName);
  EXPECT_EQ(answer.responses.at(0).partitions.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.responses.at(0).partitions.at(0).high_watermark, 0);
}

TEST_F(ProduceFetch, WithoutAcksThereIsNoAnswer) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  client->send(produce_request("t", 0, make_batch({"a"}), 0));
  EXPECT_EQ(produce(*client, "t", make_batch({"b"})).base_offset, 1);
  EXPECT_THAT(fetch_values(*client, "t", 0), ElementsAre("a", "b"));
}

TEST_F(ProduceFetch, WithoutAcksAnErrorClosesTheConnection) {
  client->send(produce_request("nowhere", 0, make_batch({"a"}), 0));
  EXPECT_TRUE(client->closed_by_server());
}

TEST_F(ProduceFetch, PipelinedAnswersComeInTheOrderOfTheRequests) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  std::vector<std::pair<int32_t, bool>> sent;
  for (int i = 0; i < 40; ++i) {
    const bool produces = i % 4 != 3;
    sent.emplace_back(produces ? client->send(produce_request("t", 0, make_batch({std::to_string(i)})))
                               : client->send(wire::ApiVersionsRequest{}),
                      produces);
  }
  int64_t offset = 0;
  for (const auto& [id, produces] : sent) {
    if (!produces) {
      client->receive<wire::ApiVersionsResponse>(id, wire::ApiVersionsRequest::kMaxVersion);
      continue;
    }
    const auto answer = client->receive<wire::ProduceResponse>(id, wire::ProduceRequest::kMaxVersion);
    EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).base_offset, offset++);
  }
}

TEST_F(ProduceFetch, AnIdempotentBatchSentAgainKeepsItsOffset) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  const auto given = client->call(idempotent_producer());
  ASSERT_EQ(given.error_code, ErrorCode::kNone);
  const auto batch = [&](int32_t sequence) {
    return make_batch({"v" + std::to_string(sequence)}, {.producer_id = ProducerId{given.producer_id},
                                                         .producer_epoch = ProducerEpoch{given.producer_epoch},
                                                         .base_sequence = sequence});
  };
  EXPECT_EQ(produce(*client, "t", batch(0)).base_offset, 0);
  EXPECT_EQ(produce(*client, "t", batch(1)).base_offset, 1);
  const auto again = produce(*client, "t", batch(0));
  EXPECT_EQ(again.error_code, ErrorCode::kNone);
  EXPECT_EQ(again.base_offset, 0);
  EXPECT_EQ(produce(*client, "t", batch(7)).error_code, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_THAT(fetch_values(*client, "t", 0), ElementsAre("v0", "v1"));
}

TEST_F(ProduceFetch, ProducerIdsAreNeverGivenTwiceAlsoAfterACrash) {
  const auto first = client->call(idempotent_producer()).producer_id;
  EXPECT_GT(client->call(idempotent_producer()).producer_id, first);
  broker.crash_and_restart();
  EXPECT_GT(broker.connect()->call(idempotent_producer()).producer_id, first + 1);
}

TEST_F(ProduceFetch, AcknowledgedRecordsSurviveACrash) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", make_batch({"kept"})).error_code, ErrorCode::kNone);
  broker.crash_and_restart();
  EXPECT_THAT(fetch_values(*broker.connect(), "t", 0), ElementsAre("kept"));
}

TEST_F(ProduceFetch, AFullDiskRefusesRecordsAndStillServesThem) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", make_batch({"before"})).error_code, ErrorCode::kNone);
  broker.files.set_capacity(0);
  ErrorCode error = ErrorCode::kNone;
  // What the write-ahead log has allocated ahead may still be used up.
  for (int i = 0; i < 200 && error == ErrorCode::kNone; ++i)
    error = produce(*client, "t", make_batch({std::string(900'000, 'x')})).error_code;
  EXPECT_EQ(error, ErrorCode::kKafkaStorageError);
  EXPECT_EQ(fetch_values(*client, "t", 0).at(0), "before");
}

TEST_F(ProduceFetch, OffsetsAreFoundByPositionAndByTime) {
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  record::BatchBuilder builder({});
  for (const int64_t timestamp_ms : {1000, 3000, 2000}) builder.add(timestamp_ms, std::nullopt, as_byte_view("v"));
  ASSERT_EQ(produce(*client, "t", builder.finish().value()).error_code, ErrorCode::kNone);
  const auto offset_of = [&](int64_t timestamp) {
    wire::ListOffsetsRequest request;
    request.replica_id = -1;
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    auto& partition = topic.partitions.emplace_back();
    partition.timestamp = timestamp;
    return client->call(request).topics.at(0).partitions.at(0).offset;
  };
  EXPECT_EQ(offset_of(-1), 3);
  EXPECT_EQ(offset_of(-2), 0);
  EXPECT_EQ(offset_of(-3), 1);
  EXPECT_EQ(offset_of(-4), 0);
  EXPECT_EQ(offset_of(-5), -1);
  EXPECT_EQ(offset_of(0), 0);
  EXPECT_EQ(offset_of(1001), 1);
  EXPECT_EQ(offset_of(3001), -1);
}

}  // namespace
}  // namespace millrace::broker
