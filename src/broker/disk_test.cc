#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "broker/internal/test_broker.h"
#include "wire/delete_topics.h"
#include "wire/list_offsets.h"

namespace millrace::broker {
namespace {

using testing::HasSubstr;
using wire::ErrorCode;

// What clients see of files that are damaged and of a disk that fails.
class Disk : public testing::Test {
 protected:
  static BrokerOptions small_segments() {
    BrokerOptions options = test_options();
    options.settings.segment_bytes = 4096;
    return options;
  }
  void SetUp() override {
    client = broker.connect();
    for (const char* topic : {"t", "other"}) {
      ASSERT_EQ(create_topic(*client, topic), ErrorCode::kNone);
      for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(produce(*client, topic, make_batch({std::string(3000, 'x')})).error_code, ErrorCode::kNone);
      }
    }
  }
  // Stop, have `damage` done, start.
  void restart_after(const std::function<void()>& damage) {
    client.reset();
    broker.broker.reset();
    damage();
    broker.start();
    client = broker.connect();
  }
  ErrorCode fetch_error(const std::string& topic, int64_t offset) {
    return client->call(fetch_request(topic, 0, offset), kFetchByName).responses.at(0).partitions.at(0).error_code;
  }
  ErrorCode produce_error(const std::string& topic) { return produce(*client, topic, make_batch({"more"})).error_code; }
  // -1: the log's end; -3: of the record with the greatest timestamp.
  ErrorCode offset_error(const std::string& topic, int64_t timestamp) {
    wire::ListOffsetsRequest request;
    request.replica_id = -1;
    auto& asked = request.topics.emplace_back();
    asked.name = topic;
    asked.partitions.emplace_back().timestamp = timestamp;
    return client->call(request).topics.at(0).partitions.at(0).error_code;
  }

  TestBroker broker{small_segments()};
  std::unique_ptr<TestClient> client;
};

constexpr const char* kSecondSegment = "/data/topics/t-0/00000000000000000001.log";

TEST_F(Disk, ADamagedPartitionAnswersStorageErrorsAndTheOthersServe) {
  const Bytes good = broker.files.content(kSecondSegment);
  restart_after([&] { broker.files.set_content(kSecondSegment, {}); });
  EXPECT_EQ(produce_error("t"), ErrorCode::kKafkaStorageError);
  EXPECT_EQ(fetch_error("t", 0), ErrorCode::kNone);
  EXPECT_EQ(fetch_error("t", 1), ErrorCode::kKafkaStorageError);
  for (const int64_t timestamp : {-1, -3}) EXPECT_EQ(offset_error("t", timestamp), ErrorCode::kKafkaStorageError);
  EXPECT_EQ(offset_error("t", -2), ErrorCode::kNone);
  EXPECT_THAT(broker.metrics_text(), HasSubstr("millrace_log_quarantined_partitions 1"));
  EXPECT_EQ(produce_error("other"), ErrorCode::kNone);
  EXPECT_EQ(fetch_error("other", 1), ErrorCode::kNone);

  restart_after([&] { broker.files.set_content(kSecondSegment, good); });
  EXPECT_EQ(produce_error("t"), ErrorCode::kNone);
  EXPECT_EQ(fetch_error("t", 1), ErrorCode::kNone);
  EXPECT_THAT(broker.metrics_text(), HasSubstr("millrace_log_quarantined_partitions 0"));
}

TEST_F(Disk, ATopicWithADamagedPartitionCanBeDeleted) {
  restart_after([&] { broker.files.set_content(kSecondSegment, {}); });
  wire::DeleteTopicsRequest request;
  request.topic_names = {"t"};
  request.timeout_ms = 10'000;
  EXPECT_EQ(client->call(request, 5).responses.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  EXPECT_EQ(produce_error("t"), ErrorCode::kNone);
}

TEST_F(Disk, AReadThatFailsIsAStorageErrorAndPasses) {
  restart_after([] {});
  broker.files.fail_reads("/data/topics/t-0/");
  EXPECT_EQ(fetch_error("t", 0), ErrorCode::kKafkaStorageError);
  EXPECT_EQ(fetch_error("other", 0), ErrorCode::kNone);
  EXPECT_EQ(produce_error("t"), ErrorCode::kNone);
  broker.files.fail_reads("");
  EXPECT_EQ(fetch_error("t", 0), ErrorCode::kNone);
}

}  // namespace
}  // namespace millrace::broker
