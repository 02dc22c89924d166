#include "client/topic_follower.h"

#include <gtest/gtest.h>

#include <atomic>

#include "client/internal/mock_cluster.h"
#include "client/producer.h"

namespace millrace::client {
namespace {

constexpr Millis kPatience{60'000};
constexpr int16_t kFetch = 1;

class SteadyClock final : public Clock {
 public:
  WallTime wall_now() const override { return WallTime{}; }
  MonoTime mono_now() const override { return std::chrono::steady_clock::now(); }
};

class TopicFollowerTest : public ::testing::Test {
 protected:
  void produce(const std::string& value) {
    const auto producer = *Producer::create(cluster_.options());
    const auto topic = *producer->topic("state");
    ASSERT_TRUE(producer->produce(topic, {.key = as_byte_view("k"), .value = as_byte_view(value)}));
    ASSERT_TRUE(producer->flush(kPatience));
  }
  // Everything that was applied, one after the other.
  TopicFollower::Callbacks collect() {
    return {.apply =
                [this](const Records& records) {
                  for (const PartitionRecords& part : records.partitions())
                    for (const RecordView& record : part.records) applied_ += as_text(record.value());
                },
            .looked = [this] { ++looks_; },
            .ended = [this](const Error& error) { ended_ = error.message; }};
  }

  SteadyClock clock_;
  MockCluster cluster_;
  // The follower's thread's, until refresh() or the destructor has returned.
  std::string applied_;
  std::string ended_;
  std::atomic<int> looks_{0};
};

TEST_F(TopicFollowerTest, AppliesWhatIsThereBeforeItStartsAndThenWhatComes) {
  cluster_.create_topic("state", 1);
  produce("a");
  produce("b");
  const auto follower = *TopicFollower::create(cluster_.options(), clock_,
                                               {.topic = "state", .create_topic = false, .timeout = kPatience});
  const Status started = follower->start(collect());
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_EQ(applied_, "ab");
  EXPECT_EQ(follower->position(), Offset(2));
  produce("c");
  ASSERT_TRUE(follower->refresh());
  EXPECT_EQ(applied_, "abc");
  const int looks = looks_;
  const auto deadline = clock_.mono_now() + kPatience;
  while (looks_ < looks + 2 && clock_.mono_now() < deadline) std::this_thread::yield();
  EXPECT_GE(looks_, looks + 2) << "it looks also where nothing comes";
}

TEST_F(TopicFollowerTest, SaysAtOnceWhyATopicCannotBeRead) {
  cluster_.create_topic("state", 1);
  produce("a");
  cluster_.fail_next_request(kFetch, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  const auto begin = clock_.mono_now();
  {
    const auto follower = *TopicFollower::create(cluster_.options(), clock_,
                                                 {.topic = "state", .create_topic = false, .timeout = kPatience});
    const Status started = follower->start(collect());
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().code, Errc::kPermissionDenied) << started.error().message;
  }
  EXPECT_NE(ended_, "");
  EXPECT_LT(clock_.mono_now() - begin, kPatience);
}

TEST_F(TopicFollowerTest, AMissingTopicIsNotFoundUnlessItMayBeMade) {
  const auto follower = *TopicFollower::create(cluster_.options(), clock_,
                                               {.topic = "absent", .create_topic = false, .timeout = kPatience});
  EXPECT_FALSE(follower->start(collect()));
}

}  // namespace
}  // namespace millrace::client
