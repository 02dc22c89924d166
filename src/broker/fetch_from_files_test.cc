#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "broker/internal/test_broker.h"
#include "env/posix_file_system.h"
#include "env/temporary_folder.h"
#include "wire/delete_records.h"
#include "wire/delete_topics.h"

// Answers that come from segment files without having been in memory, over the system's files and over those of the
// other tests.
namespace millrace::broker {
namespace {

using wire::ErrorCode;

// A broker with a topic "t" of 160 batches of 50 kB, in segments of 1 MB, and a last small one that is in memory.
class FetchFromFiles : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      folder_ = env::TemporaryFolder::make("fetch").value();
      files_ = std::make_unique<env::PosixFileSystem>();
      options_.data_dir = folder_->path("data");
    } else {
      auto fake = std::make_unique<env::FaultFileSystem>();
      fake_files_ = fake.get();
      files_ = std::move(fake);
    }
    options_.settings.segment_bytes = 1 << 20;
    auto started = Broker::start(options_, *files_, clock_, Random(7), metrics_);
    ASSERT_TRUE(started) << started.error().message;
    broker_ = std::move(*started);
    client = std::make_unique<TestClient>(port());
    ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
    for (int i = 0; i <= 160; ++i) {
      const std::string value = std::to_string(i) + std::string(i < 160 ? 50'000 : 10, static_cast<char>('a' + i % 26));
      ASSERT_EQ(produce(*client, "t", make_batch({value})).error_code, ErrorCode::kNone);
      values.push_back(value);
    }
  }
  uint16_t port() const { return broker_->address("TEST").port; }

  static wire::FetchRequest whole_topic() {
    auto request = fetch_request("t", 0, 0);
    request.max_bytes = 50 << 20;
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    return request;
  }
  static std::vector<std::string> values_in(const wire::FetchResponse& answer) {
    const auto& part = answer.responses.at(0).partitions.at(0);
    EXPECT_EQ(part.error_code, ErrorCode::kNone);
    record::BatchReader batches(*part.records);
    while (const auto batch = batches.next().value()) EXPECT_TRUE(batch->checksum_matches());
    return values_of(*part.records);
  }
  // A client that has asked for the whole topic and got the first bytes: far more than the system takes for it are
  // still to be sent.
  std::unique_ptr<TestClient> begin_slow_fetch() {
    auto slow = std::make_unique<TestClient>(port(), 4096);
    EXPECT_EQ(slow->send(whole_topic(), kFetchByName), 1);
    EXPECT_TRUE(slow->readable_within(20'000));
    return slow;
  }
  std::string first_segment() const { return options_.data_dir + "/topics/t-0/00000000000000000000.log"; }
  std::string last_segment() const {
    std::string last;
    const auto entries = files_->list(options_.data_dir + "/topics/t-0").value();
    for (const auto& entry : entries)
      if (entry.name.ends_with(".log")) last = std::max(last, entry.name);
    return options_.data_dir + "/topics/t-0/" + last;
  }
  void truncate(const std::string& path, uint64_t bytes) {
    if (fake_files_ == nullptr) return std::filesystem::resize_file(path, bytes);
    Bytes content = fake_files_->content(path);
    content.resize(bytes);
    fake_files_->set_content(path, content);
  }
  void wait_until_gone(const std::string& path) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (files_->exists(path).value()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << path;
      std::this_thread::yield();
    }
  }

  std::unique_ptr<TestClient> client;
  std::vector<std::string> values;

 private:
  env::SystemClock clock_;
  Metrics metrics_;
  BrokerOptions options_ = test_options();
  std::unique_ptr<env::TemporaryFolder> folder_;
  env::FaultFileSystem* fake_files_ = nullptr;
  std::unique_ptr<env::FileSystem> files_;
  std::unique_ptr<Broker> broker_;
};

INSTANTIATE_TEST_SUITE_P(RealAndFake, FetchFromFiles, testing::Bool(),
                         [](const auto& info) { return info.param ? "Real" : "Fake"; });

TEST_P(FetchFromFiles, OneAnswerSpansSegmentsAndWhatIsInMemory) {
  EXPECT_EQ(values_in(client->call(whole_topic(), kFetchByName)), values);
}

TEST_P(FetchFromFiles, AClientThatReadsSlowlyGetsEverything) {
  auto slow = begin_slow_fetch();
  // The next request waits its turn meanwhile.
  auto rest = whole_topic();
  rest.topics[0].partitions[0].fetch_offset = 150;
  const int32_t second = slow->send(rest, kFetchByName);
  EXPECT_EQ(values_in(slow->receive<wire::FetchResponse>(1, kFetchByName)), values);
  EXPECT_EQ(values_in(slow->receive<wire::FetchResponse>(second, kFetchByName)),
            std::vector(values.begin() + 150, values.end()));
}

TEST_P(FetchFromFiles, LimitsHoldAsForWhatIsRead) {
  auto request = whole_topic();
  request.topics[0].partitions[0].partition_max_bytes = 130'000;
  EXPECT_EQ(values_in(client->call(request, kFetchByName)).size(), 2u);
  request.topics[0].partitions[0].partition_max_bytes = 40'000;
  EXPECT_EQ(values_in(client->call(request, kFetchByName)).size(), 1u);
  request.max_bytes = 160'000;
  request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
  EXPECT_EQ(values_in(client->call(request, kFetchByName)).size(), 3u);
}

TEST_P(FetchFromFiles, ATopicDeletedMeanwhileIsSentWhole) {
  auto slow = begin_slow_fetch();
  wire::DeleteTopicsRequest deletion;
  deletion.topics.emplace_back().name = "t";
  ASSERT_EQ(client->call(deletion).responses.at(0).error_code, ErrorCode::kNone);
  wait_until_gone(first_segment());
  EXPECT_EQ(values_in(slow->receive<wire::FetchResponse>(1, kFetchByName)), values);
}

TEST_P(FetchFromFiles, RecordsDeletedMeanwhileAreSentWhole) {
  auto slow = begin_slow_fetch();
  wire::DeleteRecordsRequest deletion;
  deletion.timeout_ms = 10'000;
  auto& topic = deletion.topics.emplace_back();
  topic.name = "t";
  topic.partitions.push_back({.partition_index = 0, .offset = -1});
  ASSERT_EQ(client->call(deletion).topics.at(0).partitions.at(0).error_code, ErrorCode::kNone);
  wait_until_gone(first_segment());
  EXPECT_EQ(values_in(slow->receive<wire::FetchResponse>(1, kFetchByName)), values);
}

TEST_P(FetchFromFiles, AFileThatEndsTooEarlyClosesTheConnectionAfterGoodBytesOnly) {
  TestClient reader(port());
  const Bytes frame = reader.send(whole_topic(), kFetchByName) == 1 ? *reader.receive_frame() : Bytes{};
  auto slow = begin_slow_fetch();
  // Of a segment that is to be sent late.
  const std::string damaged = last_segment();
  truncate(damaged, 70'000);
  const Bytes got = slow->receive_until_closed();
  ASSERT_LT(got.size(), frame.size());
  ASSERT_GT(got.size(), frame.size() / 2);
  // Behind the length, what a whole answer has; the same bytes as long as there are any.
  EXPECT_TRUE(std::equal(got.begin() + 4, got.end(), frame.begin()));
  // Others go on.
  auto head = whole_topic();
  head.topics[0].partitions[0].partition_max_bytes = 130'000;
  EXPECT_EQ(values_in(client->call(head, kFetchByName)).size(), 2u);
}

TEST_P(FetchFromFiles, AClientThatLeavesMeanwhileDisturbsNobody) {
  auto slow = begin_slow_fetch();
  slow->close();
  EXPECT_EQ(values_in(client->call(whole_topic(), kFetchByName)), values);
}

}  // namespace
}  // namespace millrace::broker
