#include <gmock/gmock.h>

#include "broker/internal/test_broker.h"
#include "wire/alter_configs.h"
#include "wire/describe_configs.h"
#include "wire/describe_log_dirs.h"
#include "wire/find_coordinator.h"
#include "wire/list_offsets.h"
#include "wire/offset_commit.h"
#include "wire/offset_fetch.h"

// Requests that are well formed, and made to cost far more than they are.
namespace millrace::broker {
namespace {

using testing::SizeIs;
using wire::ErrorCode;

class HostileRequests : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(create_topic(*client, "t", 3), ErrorCode::kNone); }

  ErrorCode commit(int offsets, const std::string& metadata) {
    wire::OffsetCommitRequest request;
    request.group_id = "g";
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    topic.partitions.resize(static_cast<size_t>(offsets));
    for (auto& partition : topic.partitions) partition.committed_metadata = metadata;
    return client->call(request).topics.at(0).partitions.at(0).error_code;
  }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

TEST_F(HostileRequests, WhatIsNamedOftenIsToldOnce) {
  wire::MetadataRequest metadata;
  metadata.topics.emplace().resize(1000);
  for (auto& topic : *metadata.topics) topic.name = "t";
  EXPECT_THAT(client->call(metadata).topics, SizeIs(1));

  wire::DescribeConfigsRequest configs;
  configs.resources.resize(1000);
  for (auto& resource : configs.resources) resource.resource_type = 4;
  EXPECT_THAT(client->call(configs).results, SizeIs(1));

  wire::DescribeLogDirsRequest directories;
  directories.topics.emplace() = {{"t", {0, 0}}, {"t", {0, 1}}, {"t", {1}}};
  const auto directory = client->call(directories).results.at(0);
  ASSERT_THAT(directory.topics, SizeIs(1));
  EXPECT_THAT(directory.topics[0].partitions, SizeIs(2));

  auto fetch = fetch_request("t", 0, 0);
  fetch.topics[0].partitions.resize(1000, fetch.topics[0].partitions[0]);
  const auto records = client->call(fetch, kFetchByName);
  ASSERT_THAT(records.responses, SizeIs(1));
  EXPECT_THAT(records.responses[0].partitions, SizeIs(1));
}

TEST_F(HostileRequests, OffsetsThatAreAskedForOftenAreToldOnceAndNoneIsLost) {
  wire::OffsetFetchRequest request;
  request.groups.resize(2);
  for (auto& group : request.groups) {
    group.group_id = "g";
    group.topics.emplace() = {{"t", {2, 0, 0}}, {"u", {0}}, {"t", {1, 2}}};
  }
  const auto fetched = client->call(request);
  ASSERT_THAT(fetched.groups, SizeIs(1));
  ASSERT_THAT(fetched.groups[0].topics, SizeIs(2));
  EXPECT_THAT(fetched.groups[0].topics[0].partitions, SizeIs(3));
  EXPECT_THAT(fetched.groups[0].topics[1].partitions, SizeIs(1));
}

TEST_F(HostileRequests, APartitionWhoseOffsetIsLookedUpTwiceIsRefusedAsInKafka) {
  wire::ListOffsetsRequest request;
  auto& topic = request.topics.emplace_back();
  topic.name = "t";
  for (const int32_t partition : {0, 1, 0}) {
    auto& asked = topic.partitions.emplace_back();
    asked.partition_index = partition;
    asked.timestamp = 0;
  }
  const auto found = client->call(request).topics.at(0).partitions;
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].error_code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(found[1].error_code, ErrorCode::kNone);
  EXPECT_EQ(found[2].error_code, ErrorCode::kInvalidRequest);
}

TEST_F(HostileRequests, OneRequestMakesNoMorePartitionsThanATopicMayHave) {
  wire::CreateTopicsRequest request;
  request.validate_only = true;
  for (const char* name : {"a", "b", "c"}) {
    auto& topic = request.topics.emplace_back();
    topic.name = name;
    topic.num_partitions = 4000;
    topic.replication_factor = 1;
  }
  const auto made = client->call(request).topics;
  EXPECT_EQ(made.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(made.at(1).error_code, ErrorCode::kNone);
  EXPECT_EQ(made.at(2).error_code, ErrorCode::kPolicyViolation);
}

TEST_F(HostileRequests, ACommitOfMoreThanOneWriteMayHaveIsRefused) {
  wire::FindCoordinatorRequest find;
  find.coordinator_keys = {"g"};
  ASSERT_EQ(client->call(find).coordinators.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(commit(400, std::string(4096, 'x')), ErrorCode::kInvalidCommitOffsetSize);
  EXPECT_EQ(commit(100, std::string(4096, 'x')), ErrorCode::kNone);
}

TEST_F(HostileRequests, WhatIsQuotedInAnErrorIsCutShort) {
  wire::AlterConfigsRequest request;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = 2;
  resource.resource_name = "t";
  resource.configs.push_back({std::string(32'767, 'x'), "1"});
  for (int16_t version = 0; version <= wire::AlterConfigsRequest::kMaxVersion; ++version) {
    const auto answer = client->call(request, version).responses.at(0);
    EXPECT_EQ(answer.error_code, ErrorCode::kInvalidConfig);
    EXPECT_LT(answer.error_message.value_or("").size(), 400u);
  }
}

TEST_F(HostileRequests, OnlyAProduceMayHaveManyMegabytes) {
  EXPECT_EQ(produce(*client, "t", make_batch({std::string(9 << 20, 'x')})).error_code, ErrorCode::kMessageTooLarge);
  Bytes frame;
  ByteWriter out(frame);
  out.fixed(int32_t{9 << 20});
  out.fixed(int16_t{3});   // Metadata
  out.fixed(int16_t{1});   // version
  out.fixed(int32_t{1});   // correlation id
  out.fixed(int16_t{-1});  // client id
  frame.resize(4 + (9 << 20));
  client->send_bytes(frame);
  EXPECT_TRUE(client->closed_by_server());
}

}  // namespace
}  // namespace millrace::broker
