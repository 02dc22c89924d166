#include <gmock/gmock.h>

#include "broker/internal/dynamic_configs.h"
#include "broker/internal/test_broker.h"
#include "broker/internal/topic_config.h"
#include "wire/alter_configs.h"
#include "wire/describe_configs.h"
#include "wire/incremental_alter_configs.h"
#include "wire/list_config_resources.h"

namespace millrace::broker {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using wire::ErrorCode;

constexpr int8_t kTopic = 2;
constexpr int8_t kBroker = 4;
enum Operation : int8_t { kSet, kDelete, kAppend, kSubtract };

using Line = wire::DescribeConfigsResponse::DescribeConfigsResourceResult;
using Change = wire::IncrementalAlterConfigsRequest::AlterableConfig;

class ConfigApis : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone); }

  wire::IncrementalAlterConfigsResponse::AlterConfigsResourceResponse change(int8_t type, const std::string& name,
                                                                             std::vector<Change> changes,
                                                                             bool validate_only = false) {
    wire::IncrementalAlterConfigsRequest request;
    auto& resource = request.resources.emplace_back();
    resource.resource_type = type;
    resource.resource_name = name;
    resource.configs = std::move(changes);
    request.validate_only = validate_only;
    return client->call(request).responses.at(0);
  }
  ErrorCode set(const std::string& name, const std::string& value) {
    return change(kTopic, "t", {{name, kSet, value}}).error_code;
  }
  Line describe(int8_t type, const std::string& resource_name, const std::string& config) {
    wire::DescribeConfigsRequest request;
    auto& resource = request.resources.emplace_back();
    resource.resource_type = type;
    resource.resource_name = resource_name;
    resource.configuration_keys = {config};
    request.include_synonyms = true;
    request.include_documentation = true;
    return client->call(request).results.at(0).configs.at(0);
  }
  std::string value(const std::string& config) { return describe(kTopic, "t", config).value.value_or(""); }
  void restart() {
    client.reset();
    broker.crash_and_restart();
    client = broker.connect();
  }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

TEST_F(ConfigApis, ChangesHoldAtOnceAndAfterACrash) {
  ASSERT_EQ(produce(*client, "t", make_batch({std::string(500, 'x')})).error_code, ErrorCode::kNone);
  EXPECT_EQ(set("max.message.bytes", "300"), ErrorCode::kNone);
  EXPECT_EQ(produce(*client, "t", make_batch({std::string(500, 'x')})).error_code, ErrorCode::kMessageTooLarge);
  restart();
  EXPECT_EQ(value("max.message.bytes"), "300");
  EXPECT_EQ(produce(*client, "t", make_batch({std::string(500, 'x')})).error_code, ErrorCode::kMessageTooLarge);
  EXPECT_EQ(change(kTopic, "t", {{"max.message.bytes", kDelete, {}}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(value("max.message.bytes"), "1048588");
  EXPECT_EQ(produce(*client, "t", make_batch({std::string(500, 'x')})).error_code, ErrorCode::kNone);
}

TEST_F(ConfigApis, ListsAreAppendedToAndSubtractedFrom) {
  EXPECT_EQ(change(kTopic, "t", {{"cleanup.policy", kAppend, "compact"}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(value("cleanup.policy"), "delete,compact");
  EXPECT_EQ(change(kTopic, "t", {{"cleanup.policy", kSubtract, "delete"}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(value("cleanup.policy"), "compact");
  EXPECT_EQ(change(kTopic, "t", {{"retention.ms", kAppend, "1"}}).error_code, ErrorCode::kInvalidConfig);
}

TEST_F(ConfigApis, WhatCannotBeIsRefusedAndChangesNothing) {
  const auto unknown = change(kTopic, "t", {{"retention.mss", kSet, "1"}});
  EXPECT_EQ(unknown.error_code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(unknown.error_message.value_or(""), HasSubstr("retention.ms"));
  EXPECT_EQ(change(kTopic, "t", {{"retention.ms", kSet, "5"}, {"segment.ms", kSet, "0"}}).error_code,
            ErrorCode::kInvalidConfig);
  EXPECT_EQ(value("retention.ms"), "604800000") << "all of a resource's changes, or none";
  EXPECT_EQ(set("cleanup.policy", "delete,forget"), ErrorCode::kInvalidConfig);
  EXPECT_EQ(set("min.cleanable.dirty.ratio", "1.5"), ErrorCode::kInvalidConfig);
  EXPECT_EQ(
      change(kTopic, "t", {{"min.compaction.lag.ms", kSet, "10"}, {"max.compaction.lag.ms", kSet, "5"}}).error_code,
      ErrorCode::kInvalidConfig);
  EXPECT_EQ(change(kTopic, "t", {{"retention.ms", kSet, {}}}).error_code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(change(kTopic, "t", {{"retention.ms", kSet, "1"}, {"retention.ms", kSet, "2"}}).error_code,
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(change(kTopic, "t", {{"retention.ms", 9, "1"}}).error_code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(change(kTopic, "nowhere", {}).error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(change(8, "1", {}).error_code, ErrorCode::kInvalidRequest);
}

TEST_F(ConfigApis, ValuesAreShownInOneSpellingHoweverTheyWereWritten) {
  const auto becomes = [&](const std::string& config, const std::string& given, const std::string& shown) {
    EXPECT_EQ(set(config, given), ErrorCode::kNone) << config << "=" << given;
    EXPECT_EQ(value(config), shown) << config << "=" << given;
  };
  becomes("retention.ms", " 1000 ", "1000");
  becomes("retention.ms", "+2000", "2000");
  becomes("preallocate", "TRUE", "true");
  becomes("cleanup.policy", " compact , delete ", "compact,delete");
  becomes("cleanup.policy", "", "");
  becomes("compression.gzip.level", "9", "9");
  becomes("leader.replication.throttled.replicas", "0:1, 1:1", "0:1,1:1");
  becomes("leader.replication.throttled.replicas", "*", "*");
  EXPECT_EQ(set("compression.gzip.level", "0"), ErrorCode::kInvalidConfig);
  EXPECT_EQ(set("leader.replication.throttled.replicas", "0:1,x"), ErrorCode::kInvalidConfig);
  EXPECT_EQ(set("retention.ms", "+-1"), ErrorCode::kInvalidConfig);
  EXPECT_EQ(set("preallocate", "yes"), ErrorCode::kInvalidConfig);
}

TEST_F(ConfigApis, ToDeleteWhatCannotBeSetChangesNothing) {
  EXPECT_EQ(change(kTopic, "t", {{"no.such.config", kDelete, {}}}).error_code, ErrorCode::kNone);
}

TEST_F(ConfigApis, WhoNamesNoneIsToldOfAll) {
  wire::DescribeConfigsRequest request;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = kTopic;
  resource.resource_name = "t";
  resource.configuration_keys.emplace();
  EXPECT_EQ(client->call(request).results.at(0).configs.size(), topic_config_infos().size());
}

TEST_F(ConfigApis, ValidatingChangesNothing) {
  EXPECT_EQ(change(kTopic, "t", {{"retention.ms", kSet, "5"}}, true).error_code, ErrorCode::kNone);
  EXPECT_EQ(change(kTopic, "t", {{"retention.ms", kSet, "soon"}}, true).error_code, ErrorCode::kInvalidConfig);
  EXPECT_EQ(value("retention.ms"), "604800000");
}

TEST_F(ConfigApis, AlterConfigsReplacesAll) {
  ASSERT_EQ(set("retention.ms", "5"), ErrorCode::kNone);
  wire::AlterConfigsRequest request;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = kTopic;
  resource.resource_name = "t";
  resource.configs = {{"segment.ms", "1000"}};
  for (int16_t version = 0; version <= wire::AlterConfigsRequest::kMaxVersion; ++version) {
    EXPECT_EQ(client->call(request, version).responses.at(0).error_code, ErrorCode::kNone);
    EXPECT_EQ(value("segment.ms"), "1000");
    EXPECT_EQ(value("retention.ms"), "604800000");
  }
  request.resources.push_back(request.resources.front());
  EXPECT_EQ(client->call(request).responses.at(0).error_code, ErrorCode::kInvalidRequest) << "named twice";
}

TEST_F(ConfigApis, TheBrokersDefaultsForTopicsChangeWhileItRuns) {
  EXPECT_EQ(change(kBroker, "1", {{"log.retention.ms", kSet, "7000"}, {"message.max.bytes", kSet, "300"}}).error_code,
            ErrorCode::kNone);
  const Line shown = describe(kTopic, "t", "retention.ms");
  EXPECT_EQ(shown.value, "7000");
  EXPECT_EQ(shown.config_source, 2);
  ASSERT_EQ(shown.synonyms.size(), 2u);
  EXPECT_EQ(shown.synonyms[0].name, "log.retention.ms");
  EXPECT_EQ(shown.synonyms[1].value, "604800000");
  EXPECT_EQ(produce(*client, "t", make_batch({std::string(500, 'x')})).error_code, ErrorCode::kMessageTooLarge);
  restart();
  EXPECT_EQ(value("retention.ms"), "7000");
  EXPECT_EQ(set("retention.ms", "8000"), ErrorCode::kNone);
  EXPECT_EQ(describe(kTopic, "t", "retention.ms").synonyms.size(), 3u);
  EXPECT_EQ(change(kBroker, "1", {{"log.retention.ms", kDelete, {}}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(describe(kBroker, "1", "log.retention.ms").value, "604800000");
}

TEST_F(ConfigApis, TheBrokersOwnSettingsGoBeforeTheClusters) {
  EXPECT_EQ(change(kBroker, "", {{"log.retention.ms", kSet, "7000"}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(describe(kBroker, "1", "log.retention.ms").config_source, 3);
  EXPECT_EQ(value("retention.ms"), "7000");
  EXPECT_EQ(change(kBroker, "1", {{"log.retention.ms", kSet, "8000"}}).error_code, ErrorCode::kNone);
  restart();
  EXPECT_EQ(value("retention.ms"), "8000");
  const Line shown = describe(kBroker, "1", "log.retention.ms");
  ASSERT_EQ(shown.synonyms.size(), 3u);
  EXPECT_EQ(shown.synonyms[0].source, 2);
  EXPECT_EQ(shown.synonyms[1].source, 3);
  EXPECT_EQ(shown.synonyms[1].value, "7000");
  EXPECT_EQ(change(kBroker, "", {{"log.retention.ms", kDelete, {}}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(value("retention.ms"), "8000") << "the broker's own is another";
}

TEST_F(ConfigApis, TheClustersSettingsAreShownAloneAndOnlyWhatIsSet) {
  const auto names = [&] {
    wire::DescribeConfigsRequest request;
    auto& resource = request.resources.emplace_back();
    resource.resource_type = kBroker;
    resource.configuration_keys.reset();
    std::vector<std::string> found;
    const auto response = client->call(request);
    for (const Line& line : response.results.at(0).configs) found.push_back(line.name);
    return found;
  };
  EXPECT_EQ(change(kBroker, "1", {{"log.retention.ms", kSet, "8000"}}).error_code, ErrorCode::kNone);
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_EQ(change(kBroker, "", {{"log.roll.ms", kSet, "7000"}}).error_code, ErrorCode::kNone);
  EXPECT_THAT(names(), ElementsAre("log.roll.ms"));
  EXPECT_EQ(describe(kBroker, "", "log.roll.ms").synonyms.size(), 1u);
}

// Kafka's tool for reassignments fails where it cannot set and unset them.
TEST_F(ConfigApis, TheThrottlesOfAReassignmentAreTakenAndShown) {
  for (const char* name : {"leader.replication.throttled.rate", "follower.replication.throttled.rate",
                           "replica.alter.log.dirs.io.max.bytes.per.second"}) {
    EXPECT_EQ(change(kBroker, "1", {{name, kDelete, {}}}).error_code, ErrorCode::kNone);
    EXPECT_EQ(change(kBroker, "1", {{name, kSet, "-1"}}).error_code, ErrorCode::kInvalidConfig);
    EXPECT_EQ(change(kBroker, "1", {{name, kSet, "1000000"}}).error_code, ErrorCode::kNone);
    EXPECT_EQ(describe(kBroker, "1", name).value, "1000000");
    EXPECT_THAT(describe(kBroker, "1", name).documentation.value_or(""), HasSubstr("without an effect"));
  }
  restart();
  EXPECT_EQ(describe(kBroker, "1", "leader.replication.throttled.rate").value, "1000000");
  EXPECT_EQ(change(kTopic, "t", {{"leader.replication.throttled.rate", kSet, "1"}}).error_code,
            ErrorCode::kInvalidConfig);
}

TEST_F(ConfigApis, ValuesAreKeptInTheirPlainestForm) {
  EXPECT_EQ(set("preallocate", "TRUE"), ErrorCode::kNone);
  EXPECT_EQ(value("preallocate"), "true");
  EXPECT_EQ(set("preallocate", "yes"), ErrorCode::kInvalidConfig);
  EXPECT_EQ(set("cleanup.policy", "compact, delete,compact"), ErrorCode::kNone);
  EXPECT_EQ(value("cleanup.policy"), "compact,delete");
}

TEST_F(ConfigApis, ATopicWithoutACleanupPolicyKeepsEverything) {
  EXPECT_EQ(set("cleanup.policy", ""), ErrorCode::kNone);
  EXPECT_EQ(value("cleanup.policy"), "");
  const Settings settings;
  const DynamicSettings none;
  const auto policy = parse_topic_policy({{"cleanup.policy", ""}}, {settings, none});
  EXPECT_FALSE(policy.deletes);
  EXPECT_FALSE(policy.compacts);
  EXPECT_EQ(change(kTopic, "t", {{"cleanup.policy", kAppend, "delete"}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(value("cleanup.policy"), "delete");
  EXPECT_EQ(set("cleanup.policy", "delete,"), ErrorCode::kInvalidConfig);
}

// What the broker is told to keep, its next start must be able to read.
TEST_F(ConfigApis, AValueIsOneLine) {
  for (const char* broken : {"delete,\ncompact", "delete\n", "delete,\rcompact"}) {
    EXPECT_EQ(change(kBroker, "1", {{"log.cleanup.policy", kSet, broken}}).error_code, ErrorCode::kInvalidConfig);
    EXPECT_EQ(set("cleanup.policy", broken), ErrorCode::kInvalidConfig);
  }
  wire::AlterConfigsRequest request;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = kBroker;
  resource.resource_name = "1";
  resource.configs = {{"log.cleanup.policy", "delete,\ncompact"}};
  EXPECT_EQ(client->call(request).responses.at(0).error_code, ErrorCode::kInvalidConfig);
  restart();
  EXPECT_EQ(value("cleanup.policy"), "delete");
}

TEST_F(ConfigApis, ABrokenFileOfTheBrokersOwnIsRefusedByName) {
  env::FaultFileSystem files;
  const DynamicConfigs configs(files, "/data");
  ASSERT_TRUE(files.make_directories("/data"));
  ASSERT_TRUE(env::write_file_atomically(files, "/data/dynamic-configs", as_byte_view("log.retention.ms=soon\n")));
  const auto read = configs.read();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kCorruption);
  EXPECT_THAT(read.error().message, HasSubstr("/data/dynamic-configs"));
}

TEST_F(ConfigApis, InternalTopicsAreWhatTheyMustBeWhoeverAsksForThemFirst) {
  const auto partitions = [&](const char* name) {
    wire::MetadataRequest request;
    request.allow_auto_topic_creation = true;
    request.topics.emplace().emplace_back().name = name;
    return client->call(request).topics.at(0).partitions.size();
  };
  EXPECT_EQ(partitions("__millrace_rebalances"), 1u);
  EXPECT_EQ(describe(kTopic, "__millrace_rebalances", "cleanup.policy").value, "delete");
  EXPECT_EQ(describe(kTopic, "__millrace_rebalances", "retention.bytes").value, "67108864");
  EXPECT_EQ(partitions("__consumer_offsets"), 4u);
  EXPECT_EQ(describe(kTopic, "__consumer_offsets", "cleanup.policy").value, "compact");
}

TEST_F(ConfigApis, WhatCannotChangeWhileTheBrokerRunsSaysSo) {
  const auto fixed = change(kBroker, "1", {{"num.network.threads", kSet, "3"}});
  EXPECT_EQ(fixed.error_code, ErrorCode::kInvalidRequest);
  EXPECT_TRUE(describe(kBroker, "1", "num.network.threads").read_only);
  EXPECT_FALSE(describe(kBroker, "1", "log.retention.ms").read_only);
  EXPECT_EQ(change(kBroker, "1", {{"no.such.setting", kSet, "3"}}).error_code, ErrorCode::kInvalidConfig);
  EXPECT_EQ(change(kBroker, "9", {}).error_code, ErrorCode::kInvalidRequest);
}

TEST_F(ConfigApis, ResourcesWithConfigurationsAreListed) {
  wire::ListConfigResourcesRequest request;
  std::vector<std::pair<std::string, int>> found;
  for (const auto& resource : client->call(request).config_resources)
    found.emplace_back(resource.resource_name, resource.resource_type);
  EXPECT_THAT(found, ElementsAre(Pair("t", kTopic), Pair("1", kBroker)));
  request.resource_types = {kBroker};
  EXPECT_EQ(client->call(request).config_resources.size(), 1u);
  request.resource_types = {kBroker, 99};
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kUnsupportedVersion);
  request.resource_types.clear();
  EXPECT_THAT(client->call(request, 0).config_resources, IsEmpty());
}

TEST_F(ConfigApis, EveryConfigurationIsDocumentedAndItsDefaultIsValid) {
  for (const TopicConfigInfo& info : topic_config_infos()) {
    EXPECT_FALSE(info.documentation.empty()) << info.name;
    EXPECT_TRUE(check_config_value(info, info.name, info.default_value)) << info.name;
    EXPECT_EQ(find_topic_config(info.name), &info);
  }
  EXPECT_THAT(describe(kTopic, "t", "flush.ms").documentation.value_or(""), HasSubstr("without an effect"));
}

TEST_F(ConfigApis, TimestampsAreHeldToTheTopicsBounds) {
  const int64_t now_ms = to_unix_ms(env::SystemClock().wall_now());
  const auto stamped = [](int64_t first_ms, int64_t second_ms) {
    record::BatchBuilder builder(record::BatchOptions{});
    builder.add(first_ms, as_byte_view("k"), as_byte_view("v"));
    builder.add(second_ms, as_byte_view("k"), as_byte_view("v"));
    return builder.finish().value();
  };
  constexpr int64_t kHour = 3'600'000;
  const auto refused = produce(*client, "t", stamped(now_ms, now_ms + 2 * kHour));
  EXPECT_EQ(refused.error_code, ErrorCode::kInvalidTimestamp);
  ASSERT_EQ(refused.record_errors.size(), 1u);
  EXPECT_EQ(refused.record_errors[0].batch_index, 1);
  EXPECT_EQ(produce(*client, "t", stamped(0, now_ms)).error_code, ErrorCode::kNone);
  ASSERT_EQ(set("message.timestamp.before.max.ms", "60000"), ErrorCode::kNone);
  EXPECT_EQ(produce(*client, "t", stamped(now_ms, now_ms - kHour)).error_code, ErrorCode::kInvalidTimestamp);
  EXPECT_EQ(produce(*client, "t", stamped(now_ms, record::kNoTimestamp)).error_code, ErrorCode::kNone);
  ASSERT_EQ(set("message.timestamp.type", "LogAppendTime"), ErrorCode::kNone);
  EXPECT_EQ(produce(*client, "t", stamped(0, now_ms + 2 * kHour)).error_code, ErrorCode::kNone);
}

TEST_F(ConfigApis, ACompactedTopicTakesNoRecordWithoutAKey) {
  ASSERT_EQ(set("cleanup.policy", "compact"), ErrorCode::kNone);
  EXPECT_EQ(produce(*client, "t", make_batch({"x"})).error_code, ErrorCode::kInvalidRecord);
}

TEST_F(ConfigApis, ARefusedBatchNamesTheRecordsToBlame) {
  ASSERT_EQ(set("cleanup.policy", "compact"), ErrorCode::kNone);
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  record::BatchBuilder builder({});
  builder.add(1, bytes("k"), bytes("x"));
  builder.add(2, std::nullopt, bytes("x"));
  builder.add(3, bytes("k"), bytes("x"));
  builder.add(4, std::nullopt, bytes("x"));
  const auto answer = produce(*client, "t", *builder.finish());
  EXPECT_EQ(answer.error_code, ErrorCode::kInvalidRecord);
  ASSERT_EQ(answer.record_errors.size(), 2u);
  EXPECT_EQ(answer.record_errors[0].batch_index, 1);
  EXPECT_EQ(answer.record_errors[1].batch_index, 3);
}

TEST_F(ConfigApis, APartitionsPartOfARequestIsOneBatch) {
  Bytes two = make_batch({"a"});
  const Bytes second = make_batch({"b"});
  two.insert(two.end(), second.begin(), second.end());
  EXPECT_EQ(produce(*client, "t", two).error_code, ErrorCode::kInvalidRecord);
}

TEST_F(ConfigApis, BatchesAreCompressedAsTheTopicSays) {
  for (const char* type : {"zstd", "gzip", "lz4", "snappy", "uncompressed"}) {
    SCOPED_TRACE(type);
    ASSERT_EQ(set("compression.type", type), ErrorCode::kNone);
    const std::string text(1000, 'x');
    const auto made = produce(*client, "t", make_batch({text, type}, {.codec = record::Codec::kLz4}));
    ASSERT_EQ(made.error_code, ErrorCode::kNone);
    const auto response = client->call(fetch_request("t", 0, made.base_offset), kFetchByName);
    const ByteView batches = response.responses.at(0).partitions.at(0).records.value_or(ByteView{});
    const auto batch = record::BatchView::first_of(batches);
    ASSERT_TRUE(batch);
    EXPECT_TRUE(batch->checksum_matches());
    EXPECT_STREQ(record::codec_name(batch->codec()), std::string_view(type) == "uncompressed" ? "none" : type);
    EXPECT_THAT(values_of(batches), ElementsAre(text, type));
  }
}

}  // namespace
}  // namespace millrace::broker
