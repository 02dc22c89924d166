#include "registry/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h>  // needs the one above before it

#include <array>

#include "client/producer.h"

namespace millrace::registry {
namespace {

class SystemClock final : public Clock {
 public:
  WallTime wall_now() const override {
    return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  }
  MonoTime mono_now() const override { return std::chrono::steady_clock::now(); }
};

// Against librdkafka's mock of a cluster: a broker that none of our code wrote.
class RegistryTest : public testing::Test {
 protected:
  RegistryTest() {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "2", nullptr, 0);
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
    cluster_ = rd_kafka_mock_cluster_new(host_, 1);
    rd_kafka_mock_topic_create(cluster_, "__millrace_models", 1, 1);
  }
  ~RegistryTest() override {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(host_);
  }
  client::Options client() const { return {.bootstrap = rd_kafka_mock_cluster_bootstraps(cluster_)}; }
  std::unique_ptr<Registry> open() {
    // The mock makes no topics by request.
    auto registry = Registry::open(client(), clock_, {.create_topic = false});
    EXPECT_TRUE(registry) << registry.error().message;
    return std::move(registry).value();
  }
  static VersionInfo info() {
    VersionInfo info;
    info.model = "fraud";
    info.pipeline = "p";
    info.learned = {{"tx", 0, 0, 10}};
    return info;
  }

  SystemClock clock_;
  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

TEST_F(RegistryTest, AVersionPublishedByOneIsSeenByAllAndByThoseThatComeLater) {
  const auto trainer = open();
  const auto predictor = open();
  ASSERT_TRUE(trainer->claim("fraud", "p"));
  const Bytes blob(kChunkBytes + 10, std::byte{7});
  const auto version = trainer->publish(info(), blob);
  ASSERT_TRUE(version) << version.error().message;
  EXPECT_EQ((*version)->info.version, 1);
  EXPECT_GT((*version)->info.created_at_us, 0);
  ASSERT_TRUE(trainer->set_alias("fraud", "champion", 1, "p", "the first one"));

  const uint64_t before = predictor->revision();
  ASSERT_TRUE(predictor->refresh());
  EXPECT_GE(predictor->revision(), before);
  ASSERT_TRUE(predictor->resolve("fraud", "champion"));
  EXPECT_EQ(predictor->resolve("fraud", "champion")->blob, blob);

  const auto later = open();
  EXPECT_EQ(later->resolve("fraud", "champion")->info, (*version)->info);
  EXPECT_EQ(later->aliases("fraud").at("champion").why, "the first one");
}

TEST_F(RegistryTest, PublishingAgainWhatIsNewestAddsNoVersion) {
  const auto registry = open();
  ASSERT_TRUE(registry->claim("fraud", "p"));
  const Bytes blob(10, std::byte{1});
  ASSERT_EQ(registry->publish(info(), blob).value()->info.version, 1);
  EXPECT_EQ(registry->publish(info(), blob).value()->info.version, 1);
  VersionInfo more = info();
  more.learned[0].until = 20;
  EXPECT_EQ(registry->publish(more, blob).value()->info.version, 2);
}

TEST_F(RegistryTest, ASecondPipelineCannotTrainTheSameModel) {
  const auto first = open();
  const auto second = open();
  ASSERT_TRUE(first->claim("fraud", "p"));
  ASSERT_TRUE(first->claim("fraud", "p"));
  const Status claimed = second->claim("fraud", "q");
  ASSERT_FALSE(claimed);
  EXPECT_EQ(claimed.error().code, Errc::kConflict);
  EXPECT_EQ(claimed.error().message, "model fraud is trained by pipeline p, not by q");
  VersionInfo foreign = info();
  foreign.pipeline = "q";
  EXPECT_EQ(second->publish(foreign, Bytes(1)).error().code, Errc::kConflict);
  ASSERT_TRUE(first->release("fraud", "p"));
  EXPECT_TRUE(second->claim("fraud", "q"));
}

TEST_F(RegistryTest, AnAliasOfAVersionThatIsNotThereIsRefused) {
  const auto registry = open();
  EXPECT_EQ(registry->set_alias("fraud", "champion", 3, "me", "").error().code, Errc::kNotFound);
  EXPECT_EQ(registry->resolve("fraud", "champion"), nullptr);
}

TEST_F(RegistryTest, ForeignRecordsInTheTopicDoNotStopIt) {
  const auto producer = client::Producer::create(client()).value();
  const auto topic = producer->topic("__millrace_models").value();
  ASSERT_TRUE(producer->produce(topic, {.value = as_byte_view("no key")}));
  ASSERT_TRUE(producer->produce(topic, {.key = as_byte_view("fraud/1"), .value = as_byte_view("garbage")}));
  ASSERT_TRUE(producer->flush(client::Millis(20'000)));
  const auto registry = open();
  EXPECT_TRUE(registry->models().empty());
  ASSERT_TRUE(registry->claim("fraud", "p"));
  EXPECT_EQ(registry->publish(info(), Bytes(1)).value()->info.version, 1);
}

}  // namespace
}  // namespace millrace::registry
