#include <gmock/gmock.h>

#include "broker/internal/test_broker.h"
#include "log/topic_name.h"
#include "wire/delete_topics.h"
#include "wire/describe_configs.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::ErrorCode;

class TopicApis : public testing::Test {
 protected:
  wire::MetadataResponse metadata(std::vector<std::string> names, bool create = false) {
    wire::MetadataRequest request;
    request.allow_auto_topic_creation = create;
    request.topics.emplace();
    for (auto& name : names) request.topics->emplace_back().name = std::move(name);
    return client->call(request);
  }
  wire::CreateTopicsResponse::CreatableTopicResult create(wire::CreateTopicsRequest::CreatableTopic topic,
                                                          bool validate_only = false) {
    wire::CreateTopicsRequest request;
    request.topics.push_back(std::move(topic));
    request.validate_only = validate_only;
    return client->call(request).topics.at(0);
  }
  static wire::CreateTopicsRequest::CreatableTopic topic(std::string name, int32_t partitions = -1,
                                                         int16_t replicas = -1) {
    wire::CreateTopicsRequest::CreatableTopic topic;
    topic.name = std::move(name);
    topic.num_partitions = partitions;
    topic.replication_factor = replicas;
    return topic;
  }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

TEST_F(TopicApis, MetadataMakesTopicsOnlyWhereItMay) {
  EXPECT_EQ(metadata({"t"}).topics.at(0).error_code, ErrorCode::kUnknownTopicOrPartition);
  const auto made = metadata({"t"}, true).topics.at(0);
  EXPECT_EQ(made.error_code, ErrorCode::kNone);
  EXPECT_EQ(made.partitions.size(), 1u);
  EXPECT_FALSE(made.topic_id.is_zero());
  EXPECT_EQ(metadata({"t"}).topics.at(0).topic_id, made.topic_id);
  EXPECT_EQ(metadata({"not/a/name"}, true).topics.at(0).error_code, ErrorCode::kInvalidTopicException);
}

TEST_F(TopicApis, MetadataOfNullIsAllAndOfNothingIsNone) {
  ASSERT_EQ(create(topic("a")).error_code, ErrorCode::kNone);
  ASSERT_EQ(create(topic("b", 3)).error_code, ErrorCode::kNone);
  for (int16_t version = 1; version <= wire::MetadataRequest::kMaxVersion; ++version) {
    wire::MetadataRequest all;
    all.topics.reset();
    EXPECT_EQ(client->call(all, version).topics.size(), 2u) << version;
    wire::MetadataRequest none;
    none.topics.emplace();
    const auto answer = client->call(none, version);
    EXPECT_THAT(answer.topics, IsEmpty()) << version;
    EXPECT_EQ(answer.brokers.size(), 1u);
  }
  wire::MetadataRequest oldest;
  oldest.topics.emplace();
  EXPECT_EQ(client->call(oldest, 0).topics.size(), 2u);
}

TEST_F(TopicApis, MetadataFindsTopicsByTheirIds) {
  const Uuid id = create(topic("a")).topic_id;
  wire::MetadataRequest request;
  request.topics.emplace().emplace_back().topic_id = id;
  request.topics->emplace_back().topic_id.bytes.fill(3);
  const auto answer = client->call(request);
  EXPECT_EQ(answer.topics.at(0).name, "a");
  EXPECT_EQ(answer.topics.at(1).error_code, ErrorCode::kUnknownTopicId);
}

TEST_F(TopicApis, MetadataHasNoIdsBeforeVersion12) {
  wire::MetadataRequest request;
  request.topics.emplace().emplace_back().topic_id = create(topic("a")).topic_id;
  request.topics->emplace_back().name = "a";
  for (const int16_t version : {int16_t{10}, int16_t{11}}) {
    const auto answer = client->call(request, version);
    ASSERT_EQ(answer.topics.size(), 2u);
    for (const auto& told : answer.topics) EXPECT_EQ(told.error_code, ErrorCode::kInvalidRequest) << version;
  }
}

TEST_F(TopicApis, NamesThatKafkaTakesForTheSameAreNotBothThere) {
  ASSERT_EQ(create(topic("a.b_c")).error_code, ErrorCode::kNone);
  for (const std::string name : {"a_b_c", "a.b.c", "a_b.c"}) {
    EXPECT_EQ(create(topic(name)).error_code, ErrorCode::kInvalidTopicException) << name;
    EXPECT_EQ(metadata({name}, true).topics.at(0).error_code, ErrorCode::kUnknownTopicOrPartition) << name;
  }
  EXPECT_EQ(create(topic("a.b_c")).error_code, ErrorCode::kTopicAlreadyExists);
  for (const std::string name : {"a.b_d", "a-b-c", "a.b_c.", "b.b_c"})
    EXPECT_EQ(create(topic(name)).error_code, ErrorCode::kNone) << name;
}

TEST_F(TopicApis, CreatingSaysWhatWasMade) {
  const auto made = create(topic("t", 3, 3));
  EXPECT_EQ(made.error_code, ErrorCode::kNone);
  EXPECT_EQ(made.num_partitions, 3);
  EXPECT_EQ(made.replication_factor, 1) << "clamped";
  EXPECT_EQ(metadata({"t"}).topics.at(0).topic_id, made.topic_id);
  EXPECT_EQ(create(topic("t")).error_code, ErrorCode::kTopicAlreadyExists);
}

TEST_F(TopicApis, CreatingRefusesWhatCannotBe) {
  EXPECT_EQ(create(topic("..")).error_code, ErrorCode::kInvalidTopicException);
  EXPECT_EQ(create(topic("t", 0)).error_code, ErrorCode::kInvalidPartitions);
  EXPECT_EQ(create(topic("t", 1, 0)).error_code, ErrorCode::kInvalidReplicationFactor);
  auto assigned = topic("t");
  assigned.assignments.push_back({0, {99}});
  EXPECT_EQ(create(assigned).error_code, ErrorCode::kInvalidReplicaAssignment);
  assigned.assignments = {{0, {1}}, {2, {1}}};
  EXPECT_EQ(create(assigned).error_code, ErrorCode::kInvalidReplicaAssignment);
  auto configured = topic("t");
  configured.configs.push_back({"retention.mss", "1"});
  const auto refused = create(configured);
  EXPECT_EQ(refused.error_code, ErrorCode::kInvalidConfig);
  EXPECT_NE(refused.error_message.value_or("").find("retention.ms"), std::string::npos);
  configured.configs = {{"retention.ms", "soon"}};
  EXPECT_EQ(create(configured).error_code, ErrorCode::kInvalidConfig);
  EXPECT_EQ(metadata({"t"}).topics.at(0).error_code, ErrorCode::kUnknownTopicOrPartition);
}

TEST_F(TopicApis, ValidatingMakesNothing) {
  const auto answer = create(topic("t", 2), true);
  EXPECT_EQ(answer.error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.num_partitions, 2);
  EXPECT_EQ(metadata({"t"}).topics.at(0).error_code, ErrorCode::kUnknownTopicOrPartition);
}

TEST_F(TopicApis, ATopicThatIsNamedTwiceIsRefused) {
  wire::CreateTopicsRequest request;
  request.topics = {topic("t"), topic("t"), topic("u")};
  const auto answer = client->call(request);
  ASSERT_EQ(answer.topics.size(), 2u);
  EXPECT_EQ(answer.topics[0].error_code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(answer.topics[1].error_code, ErrorCode::kNone);
}

TEST_F(TopicApis, ATopicThatIsNamedTwiceIsNotDeleted) {
  const Uuid id = create(topic("t")).topic_id;
  wire::DeleteTopicsRequest by_name;
  by_name.topic_names = {"t", "t", "nowhere", "nowhere"};
  const auto named = client->call(by_name, 5);
  ASSERT_EQ(named.responses.size(), 2u);
  for (const auto& one : named.responses) EXPECT_EQ(one.error_code, ErrorCode::kInvalidRequest);
  wire::DeleteTopicsRequest by_both;
  by_both.topics.resize(3);
  by_both.topics[0].name = "t";
  by_both.topics[1].topic_id = id;  // and the third has neither
  const auto both = client->call(by_both, 6);
  ASSERT_EQ(both.responses.size(), 2u);
  for (const auto& one : both.responses) EXPECT_EQ(one.error_code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(metadata({"t"}).topics.at(0).topic_id, id);
}

TEST_F(TopicApis, DeletedTopicsAreGoneAndComeBackAsOthers) {
  const Uuid first = create(topic("t")).topic_id;
  ASSERT_EQ(produce(*client, "t", make_batch({"old"})).error_code, ErrorCode::kNone);
  wire::DeleteTopicsRequest by_name;
  by_name.topic_names = {"t", "nowhere"};
  const auto answer = client->call(by_name, 5);
  EXPECT_EQ(answer.responses.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.responses.at(1).error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(produce(*client, "t", make_batch({"x"})).error_code, ErrorCode::kUnknownTopicOrPartition);
  const Uuid second = create(topic("t")).topic_id;
  EXPECT_NE(second, first);
  EXPECT_THAT(fetch_values(*client, "t", 0), IsEmpty());
  wire::DeleteTopicsRequest by_id;
  by_id.topics.emplace_back().topic_id = first;
  EXPECT_EQ(client->call(by_id).responses.at(0).error_code, ErrorCode::kUnknownTopicId);
  by_id.topics.at(0).topic_id = second;
  EXPECT_EQ(client->call(by_id).responses.at(0).error_code, ErrorCode::kNone);
}

TEST_F(TopicApis, ConfigurationsShowTheirValuesAndWhereTheyComeFrom) {
  auto asked = topic("t");
  asked.configs.push_back({"max.message.bytes", "2000"});
  ASSERT_EQ(create(asked).error_code, ErrorCode::kNone);
  wire::DescribeConfigsRequest request;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = 2;
  resource.resource_name = "t";
  resource.configuration_keys = {"max.message.bytes", "retention.ms"};
  request.include_synonyms = true;
  const auto answer = client->call(request).results.at(0);
  ASSERT_EQ(answer.configs.size(), 2u);
  EXPECT_EQ(answer.configs[0].value, "2000");
  EXPECT_EQ(answer.configs[0].config_source, 1);
  EXPECT_EQ(answer.configs[0].synonyms.size(), 2u);
  EXPECT_EQ(answer.configs[1].value, "604800000");
  EXPECT_EQ(answer.configs[1].config_source, 5);
  EXPECT_EQ(produce(*client, "t", make_batch({std::string(3000, 'x')})).error_code, ErrorCode::kMessageTooLarge);
}

TEST_F(TopicApis, TheBrokersSettingsAreShown) {
  wire::DescribeConfigsRequest request;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = 4;
  resource.resource_name = "1";
  resource.configuration_keys.reset();
  const auto answer = client->call(request).results.at(0);
  EXPECT_EQ(answer.error_code, ErrorCode::kNone);
  ASSERT_EQ(answer.configs.size(), setting_infos().size() + 1);
  EXPECT_EQ(answer.configs.back().name, "advertised.listeners");
  EXPECT_TRUE(answer.configs.back().value.value_or("").starts_with("PLAINTEXT://127.0.0.1:"));
  EXPECT_TRUE(answer.configs.back().read_only);
}

TEST(NodeId, IsAsConfigured) {
  BrokerOptions options = test_options();
  options.settings.node_id = 7;
  const TestBroker broker(options);
  const auto client = broker.connect();
  const auto answer = client->call(wire::MetadataRequest{});
  EXPECT_EQ(answer.controller_id, 7);
  EXPECT_EQ(answer.brokers.at(0).node_id, 7);
}

TEST_F(TopicApis, ALogAppendTimeTopicIsStampedByTheBroker) {
  auto asked = topic("t");
  asked.configs.push_back({"message.timestamp.type", "LogAppendTime"});
  ASSERT_EQ(create(asked).error_code, ErrorCode::kNone);
  const auto answer = produce(*client, "t", make_batch({"x"}));
  EXPECT_GT(answer.log_append_time_ms, 1'767'225'600'000);
}

TEST(TopicNames, FollowKafkasRule) {
  for (const char* good : {"a", "A.b_c-9", "__consumer_offsets", "..."})
    EXPECT_TRUE(log::check_topic_name(good)) << good;
  for (const char* bad : {"", ".", "..", "a b", "a/b", "ä"}) EXPECT_FALSE(log::check_topic_name(bad)) << bad;
  EXPECT_TRUE(log::check_topic_name(std::string(249, 'a')));
  EXPECT_FALSE(log::check_topic_name(std::string(250, 'a')));
}

}  // namespace
}  // namespace millrace::broker
