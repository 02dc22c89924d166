#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/internal/test_client.h"
#include "env/fault_file_system.h"
#include "env/system_clock.h"
#include "record/records.h"
#include "wire/create_topics.h"
#include "wire/fetch.h"
#include "wire/metadata.h"
#include "wire/produce.h"

namespace millrace::broker {

inline BrokerOptions test_options() {
  BrokerOptions options;
  options.data_dir = "/data";
  options.listeners = {{.name = "TEST", .host = "127.0.0.1", .port = 0, .advertised_host = {}, .advertised_port = 0}};
  options.settings.num_network_threads = 2;
  options.settings.offsets_topic_partitions = 4;
  return options;
}

// A broker on a free port over files in memory.
class TestBroker {
 public:
  explicit TestBroker(BrokerOptions options = test_options(), Clock* clock = nullptr)
      : options_(std::move(options)), clock_(clock == nullptr ? &system_clock_ : clock) {
    start();
  }

  void start() {
    auto started = Broker::start(options_, files, *clock_, Random(7), metrics_);
    ASSERT_TRUE(started) << started.error().message;
    broker = std::move(*started);
  }
  // As after a power cut: what was not synced is gone.
  void crash_and_restart() {
    Random random(11);
    files.crash(env::FaultFileSystem::Unsynced::kDropped, random);
    broker.reset();
    start();
  }

  uint16_t port() const { return broker->address("TEST").port; }
  std::string metrics_text() { return metrics_.to_prometheus_text(); }
  std::unique_ptr<TestClient> connect() const { return std::make_unique<TestClient>(port()); }

  env::FaultFileSystem files;

 private:
  BrokerOptions options_;
  env::SystemClock system_clock_;
  Clock* clock_;
  Metrics metrics_;

 public:
  std::unique_ptr<Broker> broker;  // last: it uses the others
};

// A batch with one record for each value.
inline Bytes make_batch(const std::vector<std::string>& values, const record::BatchOptions& options = {}) {
  record::BatchBuilder builder(options);
  for (const auto& value : values) builder.add(1'767'225'600'000, std::nullopt, as_byte_view(value));
  return builder.finish().value();
}

inline wire::ProduceRequest produce_request(const std::string& topic, int32_t partition, ByteView batches,
                                            int16_t acks = -1) {
  wire::ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = 10'000;
  auto& data = request.topic_data.emplace_back();
  data.name = topic;
  auto& part = data.partition_data.emplace_back();
  part.index = partition;
  part.records = batches;
  return request;
}

inline wire::FetchRequest fetch_request(const std::string& topic, int32_t partition, int64_t offset) {
  wire::FetchRequest request;
  request.max_wait_ms = 0;
  request.min_bytes = 1;
  request.max_bytes = 10 << 20;
  auto& data = request.topics.emplace_back();
  data.topic = topic;
  auto& part = data.partitions.emplace_back();
  part.partition = partition;
  part.fetch_offset = offset;
  part.partition_max_bytes = 1 << 20;
  return request;
}
// The version that names topics.
inline constexpr int16_t kFetchByName = 12;

inline wire::ErrorCode create_topic(TestClient& client, const std::string& name, int32_t partitions = 1) {
  wire::CreateTopicsRequest request;
  auto& topic = request.topics.emplace_back();
  topic.name = name;
  topic.num_partitions = partitions;
  topic.replication_factor = 1;
  return client.call(request).topics.at(0).error_code;
}

inline wire::ProduceResponse::PartitionProduceResponse produce(TestClient& client, const std::string& topic,
                                                               ByteView batches) {
  return client.call(produce_request(topic, 0, batches)).responses.at(0).partition_responses.at(0);
}

// The values of all records of fetched batches.
inline std::vector<std::string> values_of(ByteView batches) {
  std::vector<std::string> values;
  record::BatchReader reader(batches);
  while (true) {
    const auto batch = reader.next();
    if (!batch || !*batch) return values;
    auto records = record::RecordReader::open(**batch, 1 << 20);
    record::Record record;
    while (records->next(record).value()) values.emplace_back(as_text(record.value.value()));
  }
}

inline std::vector<std::string> fetch_values(TestClient& client, const std::string& topic, int64_t offset) {
  const auto response = client.call(fetch_request(topic, 0, offset), kFetchByName);
  return values_of(response.responses.at(0).partitions.at(0).records.value_or(ByteView{}));
}

}  // namespace millrace::broker
