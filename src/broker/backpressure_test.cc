#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "broker/internal/test_broker.h"
#include "wire/find_coordinator.h"
#include "wire/init_producer_id.h"
#include "wire/offset_commit.h"

// What the broker does while its disk is slower than those who produce.
namespace millrace::broker {
namespace {

using wire::ErrorCode;

constexpr size_t kBatchBytes = 900'000;
// More than the write-ahead log's buffer holds, which is 16 MB.
constexpr int kProduces = 30;

class SlowDisk : public testing::Test {
 protected:
  static BrokerOptions one_thread() {
    BrokerOptions options = test_options();
    options.settings.num_network_threads = 1;
    return options;
  }
  void SetUp() override {
    ASSERT_EQ(create_topic(*bystander, "t"), ErrorCode::kNone);
    ASSERT_EQ(create_topic(*bystander, "other"), ErrorCode::kNone);
    ASSERT_EQ(produce(*bystander, "other", make_batch({"there"})).error_code, ErrorCode::kNone);
  }
  void TearDown() override { broker.files.release_syncs(); }

  // A sync that does not end: what is appended from now on stays in the buffer.
  void hold_a_sync(TestBroker& in) {
    in.files.hold_syncs();
    first_ = in.connect();
    const Bytes first = make_batch({"first"});
    first_->send(produce_request("other", 0, first));
    in.files.await_held_sync();
  }
  void send_produces(TestBroker& to) {
    for (int i = 0; i < kProduces; ++i) {
      producers.push_back(to.connect());
      producers.back()->send(produce_request("t", 0, batch));
    }
  }
  // Produce until at least `waiting` of them wait for room; the bystander is answered meanwhile.
  void produce_until_full(size_t waiting) {
    hold_a_sync(broker);
    send_produces(broker);
    while (broker.broker->stats().queued_request_bytes < waiting * kBatchBytes && !HasFailure()) expect_served();
  }
  void expect_served() {
    EXPECT_THAT(fetch_values(*bystander, "other", 0), testing::ElementsAre("there"));
    EXPECT_EQ(bystander->call(wire::MetadataRequest{}).brokers.size(), 1u);
  }
  wire::ProduceResponse::PartitionProduceResponse answer(TestClient& client, int32_t id) {
    const auto response = client.receive<wire::ProduceResponse>(id, wire::ProduceRequest::kMaxVersion);
    return response.responses.at(0).partition_responses.at(0);
  }

  TestBroker broker{one_thread()};
  std::unique_ptr<TestClient> bystander = broker.connect();
  std::vector<std::unique_ptr<TestClient>> producers;
  const Bytes batch = make_batch({std::string(kBatchBytes, 'v')});

 private:
  std::unique_ptr<TestClient> first_;
};

TEST_F(SlowDisk, OthersAreServedWhileProducesWaitForRoom) {
  produce_until_full(5);
  expect_served();
  EXPECT_FALSE(producers.front()->readable_within(0));
  broker.files.release_syncs();
  std::vector<int64_t> offsets;
  for (const auto& producer : producers) {
    const auto answered = answer(*producer, 1);
    EXPECT_EQ(answered.error_code, ErrorCode::kNone);
    offsets.push_back(answered.base_offset);
  }
  std::ranges::sort(offsets);
  for (int i = 0; i < kProduces; ++i) EXPECT_EQ(offsets[static_cast<size_t>(i)], i);
}

TEST_F(SlowDisk, CommittedOffsetsGoPastThoseWhoWait) {
  wire::OffsetCommitRequest commit;
  commit.group_id = "g";
  auto& topic = commit.topics.emplace_back();
  topic.name = "t";
  topic.partitions.emplace_back().committed_offset = 7;
  // The first makes the topic of the offsets.
  auto committer = broker.connect();
  wire::FindCoordinatorRequest find;
  find.coordinator_keys = {"g"};
  ASSERT_EQ(committer->call(find).coordinators.at(0).error_code, ErrorCode::kNone);
  ASSERT_EQ(committer->call(commit, 8).topics.at(0).partitions.at(0).error_code, ErrorCode::kNone);
  produce_until_full(5);
  topic.partitions.at(0).committed_offset = 8;
  const int32_t id = committer->send(commit, 8);
  expect_served();
  EXPECT_FALSE(committer->readable_within(0));
  broker.files.release_syncs();
  const auto committed = committer->receive<wire::OffsetCommitResponse>(id, 8);
  EXPECT_EQ(committed.topics.at(0).partitions.at(0).error_code, ErrorCode::kNone);
}

TEST_F(SlowDisk, WhatAConnectionSendsIsAppendedInItsOrder) {
  auto client = broker.connect();
  wire::InitProducerIdRequest init;
  init.transactional_id.reset();
  const auto who = client->call(init);
  ASSERT_EQ(who.error_code, ErrorCode::kNone);
  hold_a_sync(broker);
  // It stops taking more when one waits for room.
  std::thread sender([&] {
    for (int i = 0; i < kProduces; ++i) {
      const Bytes next = make_batch(
          {std::string(kBatchBytes, 'v')},
          {.producer_id = ProducerId{who.producer_id}, .producer_epoch = ProducerEpoch{0}, .base_sequence = i});
      client->send(produce_request("t", 0, next));
    }
  });
  while (broker.broker->stats().queued_request_bytes < 2 * kBatchBytes) expect_served();
  broker.files.release_syncs();
  for (int i = 0; i < kProduces; ++i) {
    const auto answered = answer(*client, 2 + i);
    EXPECT_EQ(answered.error_code, ErrorCode::kNone);
    EXPECT_EQ(answered.base_offset, i);
  }
  sender.join();
}

TEST_F(SlowDisk, AFailedDiskAnswersThoseWhoWait) {
  produce_until_full(5);
  broker.files.fail_sync(1);
  broker.files.release_syncs();
  for (const auto& producer : producers) EXPECT_EQ(answer(*producer, 1).error_code, ErrorCode::kKafkaStorageError);
}

TEST_F(SlowDisk, TheBrokerStopsWhileProducesWait) {
  produce_until_full(5);
  std::thread release([&] { broker.files.release_syncs(); });
  broker.broker->stop();
  release.join();
}

class LittleMemory : public SlowDisk {
 protected:
  LittleMemory() {
    BrokerOptions options = one_thread();
    options.settings.queued_request_bytes_max = 2'000'000;
    small.emplace(std::move(options));
  }
  void TearDown() override {
    small->files.release_syncs();
    SlowDisk::TearDown();
  }
  std::optional<TestBroker> small;
};

TEST_F(LittleMemory, SmallRequestsAreReadWhileLargeOnesHaveTheMemory) {
  auto client = small->connect();
  for (const char* topic : {"t", "other"}) ASSERT_EQ(create_topic(*client, topic), ErrorCode::kNone);
  hold_a_sync(*small);
  send_produces(*small);
  while (small->broker->stats().queued_request_bytes < 2'000'000 && !HasFailure())
    EXPECT_EQ(client->call(wire::MetadataRequest{}).brokers.size(), 1u);
  EXPECT_EQ(client->call(wire::MetadataRequest{}).brokers.size(), 1u);
  small->files.release_syncs();
  for (const auto& producer : producers) EXPECT_EQ(answer(*producer, 1).error_code, ErrorCode::kNone);
}

}  // namespace
}  // namespace millrace::broker
