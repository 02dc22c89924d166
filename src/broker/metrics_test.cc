#include <gmock/gmock.h>

#include <map>
#include <string>
#include <string_view>

#include "base/text.h"
#include "broker/internal/test_broker.h"
#include "wire/add_partitions_to_txn.h"
#include "wire/api_versions.h"
#include "wire/delete_topics.h"
#include "wire/end_txn.h"
#include "wire/find_coordinator.h"
#include "wire/init_producer_id.h"
#include "wire/offset_commit.h"

namespace millrace::broker {
namespace {

// Samples as they stand in the text, without looking into their labels: base/metrics_test.cc has the format's grammar.
class Samples {
 public:
  explicit Samples(const std::string& text) {
    for (const std::string_view line : split(text, '\n')) {
      if (line.empty() || line.starts_with('#')) continue;
      const size_t space = line.rfind(' ');
      values_.emplace(std::string(line.substr(0, space)), std::stod(std::string(line.substr(space + 1))));
    }
  }
  double operator[](const std::string& series) const {
    const auto found = values_.find(series);
    if (found == values_.end()) ADD_FAILURE() << "there is no " << series;
    return found == values_.end() ? -1 : found->second;
  }
  bool has(const std::string& series) const { return values_.contains(series); }

 private:
  std::map<std::string, double> values_;
};

wire::ErrorCode commit(TestClient& client, const std::string& group, const std::string& topic, int64_t offset) {
  wire::OffsetCommitRequest request;
  request.group_id = group;
  request.generation_id_or_member_epoch = -1;
  auto& named = request.topics.emplace_back();
  named.name = topic;
  named.partitions.push_back({.partition_index = 0, .committed_offset = offset});
  constexpr int16_t kByName = 9;
  return client.call(request, kByName).topics.at(0).partitions.at(0).error_code;
}

void make_offsets_topic(TestClient& client, int8_t key_type, const std::string& key) {
  wire::FindCoordinatorRequest request;
  request.key_type = key_type;
  request.coordinator_keys = {key};
  for (int tries = 0; tries < 1000; ++tries)
    if (client.call(request).coordinators.at(0).error_code == wire::ErrorCode::kNone) return;
  ADD_FAILURE() << "no coordinator";
}

TEST(BrokerMetrics, TrafficOffsetsAndSizesAreThoseOfTheRecords) {
  TestBroker broker;
  const auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t", 2), wire::ErrorCode::kNone);
  const Bytes batch = make_batch({"a", "b", "c"});
  ASSERT_EQ(produce(*client, "t", batch).error_code, wire::ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", batch).error_code, wire::ErrorCode::kNone);
  ASSERT_EQ(fetch_values(*client, "t", 3).size(), 3u);

  const Samples samples(broker.metrics_text());
  const auto bytes = static_cast<double>(batch.size());
  for (const std::string series : {"millrace_broker_X", "millrace_topic_X{topic=\"t\"}"}) {
    const auto named = [&](const std::string& name) { return std::string(series).replace(series.find('X'), 1, name); };
    EXPECT_EQ(samples[named("produced_records_total")], 6);
    EXPECT_EQ(samples[named("produced_bytes_total")], 2 * bytes);
    EXPECT_EQ(samples[named("fetched_records_total")], 3);
    EXPECT_EQ(samples[named("fetched_bytes_total")], bytes);
  }
  EXPECT_EQ(samples["millrace_topic_partitions{topic=\"t\"}"], 2);
  EXPECT_EQ(samples["millrace_topic_size_bytes{topic=\"t\"}"], 2 * bytes);
  EXPECT_EQ(samples["millrace_partition_high_watermark{topic=\"t\",partition=\"0\"}"], 6);
  EXPECT_EQ(samples["millrace_partition_high_watermark{topic=\"t\",partition=\"1\"}"], 0);
  EXPECT_EQ(samples["millrace_partition_log_start_offset{topic=\"t\",partition=\"0\"}"], 0);
  EXPECT_EQ(samples["millrace_partition_size_bytes{topic=\"t\",partition=\"0\"}"], 2 * bytes);
  EXPECT_GE(samples["millrace_wal_written_bytes_total"], 2 * bytes);
  EXPECT_GE(samples["millrace_wal_sync_seconds_count"], 2);
  EXPECT_GE(samples["millrace_wal_replayable_bytes"], bytes) << "of the last sync it is told a little later";
  EXPECT_GE(samples["millrace_log_checkpoint_age_seconds"], 0);
  EXPECT_GT(samples["millrace_disk_free_bytes"], 0);
}

TEST(BrokerMetrics, EveryRequestIsInItsApisCountAndHistogramsAndErrorsHaveTheirNames) {
  TestBroker broker;
  const auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), wire::ErrorCode::kNone);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(produce(*client, "t", make_batch({"x"})).error_code, wire::ErrorCode::kNone);
  for (int i = 0; i < 2; ++i)
    ASSERT_EQ(produce(*client, "gone", make_batch({"x"})).error_code, wire::ErrorCode::kUnknownTopicOrPartition);
  ASSERT_EQ(create_topic(*client, "t"), wire::ErrorCode::kTopicAlreadyExists);
  // What was answered is counted before the connection's next request is begun.
  client->call(wire::ApiVersionsRequest{}, 0);

  const Samples samples(broker.metrics_text());
  EXPECT_EQ(samples["millrace_broker_requests_total{api=\"Produce\"}"], 7);
  EXPECT_EQ(samples["millrace_broker_request_seconds_count{api=\"Produce\"}"], 7);
  EXPECT_EQ(samples["millrace_broker_request_seconds_bucket{api=\"Produce\",le=\"+Inf\"}"], 7);
  EXPECT_EQ(samples["millrace_broker_request_handler_seconds_count{api=\"Produce\"}"], 7);
  EXPECT_LE(samples["millrace_broker_request_handler_seconds_sum{api=\"CreateTopics\"}"],
            samples["millrace_broker_request_seconds_sum{api=\"CreateTopics\"}"]);
  EXPECT_EQ(samples["millrace_broker_request_errors_total{api=\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}"], 2);
  EXPECT_EQ(samples["millrace_broker_request_errors_total{api=\"CreateTopics\",error=\"TOPIC_ALREADY_EXISTS\"}"], 1);
  EXPECT_FALSE(samples.has("millrace_broker_requests_total{api=\"Fetch\"}"));
}

TEST(BrokerMetrics, ConnectionsAreCountedAsTheyComeAndGo) {
  BrokerOptions options = test_options();
  options.settings.max_connections = 1;
  TestBroker broker(options);
  const auto client = broker.connect();
  client->call(wire::ApiVersionsRequest{}, 0);
  EXPECT_TRUE(broker.connect()->closed_by_server());
  client->send_bytes(Bytes(4, std::byte{0}));  // a frame of no bytes
  EXPECT_TRUE(client->closed_by_server());

  const Samples samples(broker.metrics_text());
  EXPECT_EQ(samples["millrace_broker_connections_opened_total"], 1);
  EXPECT_EQ(samples["millrace_broker_connections_refused_total"], 1);
  EXPECT_EQ(samples["millrace_broker_requests_rejected_total"], 1);
}

TEST(BrokerMetrics, LagIsWhatAGroupHasNotCommittedAndGoesWithTheTopic) {
  TestBroker broker;
  const auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), wire::ErrorCode::kNone);
  for (int i = 0; i < 4; ++i)
    ASSERT_EQ(produce(*client, "t", make_batch({"x", "y"})).error_code, wire::ErrorCode::kNone);
  make_offsets_topic(*client, 0, "g");
  EXPECT_EQ(Samples(broker.metrics_text())["millrace_broker_groups{state=\"Empty\"}"], 0);
  ASSERT_EQ(commit(*client, "g", "t", 3), wire::ErrorCode::kNone);

  const Samples samples(broker.metrics_text());
  EXPECT_EQ(samples["millrace_broker_groups{state=\"Empty\"}"], 1);
  EXPECT_EQ(samples["millrace_group_members{group=\"g\"}"], 0);
  EXPECT_EQ(samples["millrace_group_lag_records{group=\"g\"}"], 5);
  EXPECT_EQ(samples["millrace_group_partition_lag_records{group=\"g\",topic=\"t\",partition=\"0\"}"], 5);
  EXPECT_EQ(samples["millrace_broker_coordinator_up{coordinator=\"group\"}"], 1);

  wire::DeleteTopicsRequest removal;
  removal.topics.push_back({.name = "t"});
  ASSERT_EQ(client->call(removal).responses.at(0).error_code, wire::ErrorCode::kNone);
  const Samples after(broker.metrics_text());
  EXPECT_FALSE(after.has("millrace_group_partition_lag_records{group=\"g\",topic=\"t\",partition=\"0\"}"));
  EXPECT_FALSE(after.has("millrace_topic_size_bytes{topic=\"t\"}"));
  EXPECT_EQ(after["millrace_broker_produced_records_total"], 8) << "totals do not go back";
}

TEST(BrokerMetrics, AnOpenTransactionIsShownUntilItEnds) {
  TestBroker broker;
  const auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), wire::ErrorCode::kNone);
  make_offsets_topic(*client, 1, "x");
  wire::InitProducerIdRequest init;
  init.transactional_id = "x";
  init.transaction_timeout_ms = 60'000;
  const auto producer = client->call(init);
  ASSERT_EQ(producer.error_code, wire::ErrorCode::kNone);
  const std::string ongoing = "millrace_broker_open_transactions{state=\"Ongoing\"}";
  EXPECT_EQ(Samples(broker.metrics_text())[ongoing], 0);

  wire::AddPartitionsToTxnRequest add;
  add.v3_and_below_transactional_id = "x";
  add.v3_and_below_producer_id = producer.producer_id;
  add.v3_and_below_producer_epoch = producer.producer_epoch;
  add.v3_and_below_topics.push_back({.name = "t", .partitions = {0}});
  constexpr int16_t kOfClients = 3;
  client->call(add, kOfClients);
  const Samples open(broker.metrics_text());
  EXPECT_EQ(open[ongoing], 1);
  EXPECT_GE(open["millrace_broker_oldest_transaction_seconds"], 0);
  EXPECT_EQ(open["millrace_broker_transactional_ids"], 1);

  wire::EndTxnRequest end;
  end.transactional_id = "x";
  end.producer_id = producer.producer_id;
  end.producer_epoch = producer.producer_epoch;
  end.committed = true;
  ASSERT_EQ(client->call(end, 4).error_code, wire::ErrorCode::kNone);
  const Samples ended(broker.metrics_text());
  EXPECT_EQ(ended[ongoing], 0);
  EXPECT_EQ(ended["millrace_broker_oldest_transaction_seconds"], 0);
}

TEST(BrokerMetrics, AFetchThatWaitsIsParkedUntilRecordsCome) {
  TestBroker broker;
  const auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), wire::ErrorCode::kNone);
  const auto waiting = broker.connect();
  auto request = fetch_request("t", 0, 0);
  request.max_wait_ms = 20'000;
  const int32_t id = waiting->send(request, kFetchByName);
  for (int tries = 0; tries < 10'000; ++tries)
    if (Samples(broker.metrics_text())["millrace_broker_parked_fetches"] == 1) break;
  const Samples parked(broker.metrics_text());
  EXPECT_EQ(parked["millrace_broker_parked_fetches"], 1);
  EXPECT_GT(parked["millrace_broker_parked_fetch_memory_bytes"], 0);
  ASSERT_EQ(produce(*client, "t", make_batch({"x"})).error_code, wire::ErrorCode::kNone);
  waiting->receive<wire::FetchResponse>(id, kFetchByName);
  const Samples after(broker.metrics_text());
  EXPECT_EQ(after["millrace_broker_parked_fetches"], 0);
  EXPECT_EQ(after["millrace_broker_parked_fetch_memory_bytes"], 0);
}

}  // namespace
}  // namespace millrace::broker
