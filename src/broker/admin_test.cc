#include <gmock/gmock.h>

#include "broker/internal/test_broker.h"
#include "wire/alter_partition_reassignments.h"
#include "wire/alter_replica_log_dirs.h"
#include "wire/consumer_protocol.h"
#include "wire/create_partitions.h"
#include "wire/delete_groups.h"
#include "wire/delete_records.h"
#include "wire/delete_topics.h"
#include "wire/describe_cluster.h"
#include "wire/describe_log_dirs.h"
#include "wire/describe_quorum.h"
#include "wire/describe_topic_partitions.h"
#include "wire/elect_leaders.h"
#include "wire/find_coordinator.h"
#include "wire/join_group.h"
#include "wire/list_offsets.h"
#include "wire/list_partition_reassignments.h"
#include "wire/offset_commit.h"
#include "wire/offset_delete.h"
#include "wire/offset_fetch.h"
#include "wire/sync_group.h"
#include "wire/update_features.h"
#include "wire/versioned.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using wire::ErrorCode;

// "t" has three partitions, and ten records in the first.
class Admin : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(create_topic(*client, "t", 3), ErrorCode::kNone);
    for (int i = 0; i < 10; ++i) ASSERT_EQ(produce(*client, "t", batch_of(i)).error_code, ErrorCode::kNone);
  }
  static Bytes batch_of(int i) { return make_batch({std::to_string(i)}); }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

class CreatePartitions : public Admin {
 protected:
  using Growth = wire::CreatePartitionsRequest::CreatePartitionsTopic;
  ErrorCode grow(const std::vector<Growth>& topics, bool validate_only = false, size_t answer = 0) {
    wire::CreatePartitionsRequest request;
    request.topics = topics;
    request.validate_only = validate_only;
    return client->call(request).results.at(answer).error_code;
  }
  static Growth growth(const std::string& name, int32_t count) {
    Growth growth;
    growth.name = name;
    growth.count = count;
    growth.assignments.reset();
    return growth;
  }
  size_t partitions() {
    wire::MetadataRequest request;
    request.topics.emplace().emplace_back().name = "t";
    return client->call(request).topics.at(0).partitions.size();
  }
};

TEST_F(CreatePartitions, TheNewOnesTakeRecordsAtOnceAndSurviveACrash) {
  EXPECT_EQ(grow({growth("t", 5)}), ErrorCode::kNone);
  EXPECT_EQ(partitions(), 5u);
  const Bytes batch = make_batch({"new"});
  const auto answer = client->call(produce_request("t", 4, batch));
  EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).error_code, ErrorCode::kNone);
  broker.crash_and_restart();
  client = broker.connect();
  EXPECT_EQ(partitions(), 5u);
  const auto fetched = client->call(fetch_request("t", 4, 0), kFetchByName);
  EXPECT_THAT(values_of(fetched.responses.at(0).partitions.at(0).records.value()), ElementsAre("new"));
  EXPECT_THAT(fetch_values(*client, "t", 0), SizeIs(10));
}

TEST_F(CreatePartitions, ValidatingChangesNothing) {
  EXPECT_EQ(grow({growth("t", 5)}, true), ErrorCode::kNone);
  EXPECT_EQ(grow({growth("t", 3)}, true), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(partitions(), 3u);
}

TEST_F(CreatePartitions, RefusesWhatCannotBe) {
  EXPECT_EQ(grow({growth("nowhere", 5)}), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(grow({growth("t", 3)}), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(grow({growth("t", 2)}), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(grow({growth("t", 10'001)}), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(grow({growth("t", 4), growth("t", 5)}), ErrorCode::kInvalidRequest);
  auto assigned = growth("t", 5);
  assigned.assignments.emplace().push_back({{1}});
  EXPECT_EQ(grow({assigned}), ErrorCode::kInvalidReplicaAssignment) << "one for two";
  assigned.assignments->push_back({{2}});
  EXPECT_EQ(grow({assigned}), ErrorCode::kInvalidReplicaAssignment) << "there is no broker 2";
  EXPECT_EQ(partitions(), 3u);
  assigned.assignments->back() = {{1}};
  EXPECT_EQ(grow({assigned}), ErrorCode::kNone);
}

TEST_F(CreatePartitions, WhatARequestMakesIsBoundedNotWhatThereIs) {
  ASSERT_EQ(create_topic(*client, "a", 6000), ErrorCode::kNone);
  ASSERT_EQ(create_topic(*client, "b", 6000), ErrorCode::kNone);
  wire::CreatePartitionsRequest request;
  request.validate_only = true;
  request.topics = {growth("a", 9000), growth("b", 10'000), growth("t", 3004)};
  const auto results = client->call(request).results;
  EXPECT_EQ(results.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(results.at(1).error_code, ErrorCode::kNone);
  EXPECT_EQ(results.at(2).error_code, ErrorCode::kPolicyViolation);
}

class DeleteRecords : public Admin {
 protected:
  wire::DeleteRecordsResponse::DeleteRecordsPartitionResult remove(int64_t offset, const std::string& topic = "t",
                                                                   int32_t partition = 0) {
    wire::DeleteRecordsRequest request;
    auto& asked = request.topics.emplace_back();
    asked.name = topic;
    asked.partitions.push_back({partition, offset});
    return client->call(request).topics.at(0).partitions.at(0);
  }
  ErrorCode fetch_error(int64_t offset) {
    return client->call(fetch_request("t", 0, offset), kFetchByName).responses.at(0).partitions.at(0).error_code;
  }
  int64_t earliest() {
    constexpr int64_t kEarliest = -2;
    wire::ListOffsetsRequest request;
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    auto& partition = topic.partitions.emplace_back();
    partition.timestamp = kEarliest;
    return client->call(request).topics.at(0).partitions.at(0).offset;
  }
};

TEST_F(DeleteRecords, WhatIsBeforeIsOutOfRangeFromThenOn) {
  const auto answer = remove(4);
  EXPECT_EQ(answer.error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.low_watermark, 4);
  EXPECT_EQ(earliest(), 4);
  EXPECT_EQ(fetch_error(3), ErrorCode::kOffsetOutOfRange);
  EXPECT_THAT(fetch_values(*client, "t", 4), ElementsAre("4", "5", "6", "7", "8", "9"));
  broker.crash_and_restart();
  client = broker.connect();
  EXPECT_EQ(earliest(), 4);
  EXPECT_EQ(fetch_error(3), ErrorCode::kOffsetOutOfRange);
}

TEST_F(DeleteRecords, MinusOneIsEverything) {
  EXPECT_EQ(remove(-1).low_watermark, 10);
  EXPECT_EQ(earliest(), 10);
  EXPECT_EQ(produce(*client, "t", batch_of(10)).base_offset, 10);
  EXPECT_THAT(fetch_values(*client, "t", 10), ElementsAre("10"));
}

TEST_F(DeleteRecords, NothingComesBackAndNothingToComeCanBeDeleted) {
  ASSERT_EQ(remove(4).error_code, ErrorCode::kNone);
  EXPECT_EQ(remove(2).low_watermark, 4);
  EXPECT_EQ(remove(11).error_code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(remove(-2).error_code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(remove(11).low_watermark, -1);
  EXPECT_EQ(earliest(), 4);
}

TEST_F(DeleteRecords, RefusesTopicsWhoseRecordsStay) {
  EXPECT_EQ(remove(0, "nowhere").error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(remove(0, "t", 3).error_code, ErrorCode::kUnknownTopicOrPartition);
  wire::CreateTopicsRequest request;
  auto& topic = request.topics.emplace_back();
  topic.name = "compacted";
  topic.num_partitions = 1;
  topic.replication_factor = 1;
  topic.configs.push_back({"cleanup.policy", "compact"});
  ASSERT_EQ(client->call(request).topics.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(remove(0, "compacted").error_code, ErrorCode::kPolicyViolation);
}

class GroupAdmin : public Admin {
 protected:
  void SetUp() override {
    Admin::SetUp();
    ASSERT_EQ(create_topic(*client, "u"), ErrorCode::kNone);
  }
  void make_groups() {
    wire::FindCoordinatorRequest request;
    request.coordinator_keys = {"g"};
    ASSERT_EQ(client->call(request).coordinators.at(0).error_code, ErrorCode::kNone);
  }
  void commit(const std::string& group, const std::string& topic_name, int64_t offset, int32_t index = 0) {
    wire::OffsetCommitRequest request;
    request.group_id = group;
    request.generation_id_or_member_epoch = -1;
    auto& topic = request.topics.emplace_back();
    topic.name = topic_name;
    auto& partition = topic.partitions.emplace_back();
    partition.partition_index = index;
    partition.committed_offset = offset;
    ASSERT_EQ(client->call(request).topics.at(0).partitions.at(0).error_code, ErrorCode::kNone);
  }
  int64_t committed(const std::string& group_id, const std::string& topic_name, int32_t index = 0) {
    wire::OffsetFetchRequest request;
    auto& group = request.groups.emplace_back();
    group.group_id = group_id;
    auto& topic = group.topics.emplace().emplace_back();
    topic.name = topic_name;
    topic.partition_indexes = {index};
    return client->call(request).groups.at(0).topics.at(0).partitions.at(0).committed_offset;
  }
  std::vector<ErrorCode> remove(const std::vector<std::string>& groups) {
    wire::DeleteGroupsRequest request;
    request.groups_names = groups;
    std::vector<ErrorCode> errors;
    for (const auto& result : client->call(request).results) errors.push_back(result.error_code);
    return errors;
  }
  wire::OffsetDeleteResponse remove_offsets(const std::string& group,
                                            const std::vector<std::pair<std::string, int32_t>>& partitions) {
    wire::OffsetDeleteRequest request;
    request.group_id = group;
    for (const auto& [name, index] : partitions) {
      auto& topic = request.topics.emplace_back();
      topic.name = name;
      topic.partitions.push_back({index});
    }
    return client->call(request);
  }
  // A lone member of "g" that reads `topic`; the group is Stable afterwards.
  void join(ByteView metadata, const std::string& protocol_type = "consumer") {
    wire::JoinGroupRequest request;
    request.group_id = "g";
    request.session_timeout_ms = 30'000;
    request.rebalance_timeout_ms = 30'000;
    request.protocol_type = protocol_type;
    auto& protocol = request.protocols.emplace_back();
    protocol.name = "range";
    protocol.metadata = metadata;
    request.member_id = client->call(request).member_id;
    const auto joined = client->call(request);
    ASSERT_EQ(joined.error_code, ErrorCode::kNone);
    wire::SyncGroupRequest sync;
    sync.group_id = "g";
    sync.member_id = request.member_id;
    sync.generation_id = joined.generation_id;
    sync.protocol_type = protocol_type;
    sync.protocol_name = "range";
    sync.assignments.push_back({request.member_id, as_byte_view("mine")});
    ASSERT_EQ(client->call(sync).error_code, ErrorCode::kNone);
  }
  static Bytes subscription(const std::string& topic) {
    wire::ConsumerProtocolSubscription subscription;
    subscription.topics = {topic};
    return wire::encode_versioned(subscription, 1).value();
  }
};

TEST_F(GroupAdmin, WithoutAnyGroupNoneIsFound) {
  EXPECT_THAT(remove({"g", ""}), ElementsAre(ErrorCode::kGroupIdNotFound, ErrorCode::kInvalidGroupId));
  EXPECT_EQ(remove_offsets("g", {{"t", 0}}).error_code, ErrorCode::kGroupIdNotFound);
  EXPECT_THAT(remove({}), IsEmpty());
}

TEST_F(GroupAdmin, GroupsAreDeletedWithTheirOffsetsOneByOne) {
  make_groups();
  commit("a", "t", 3);
  commit("b", "t", 4);
  join(subscription("t"));
  EXPECT_THAT(remove({"a", "nobody", "g", "", "a"}), ElementsAre(ErrorCode::kNone, ErrorCode::kGroupIdNotFound,
                                                                 ErrorCode::kNonEmptyGroup, ErrorCode::kInvalidGroupId))
      << "each once";
  EXPECT_EQ(committed("a", "t"), -1);
  EXPECT_EQ(committed("b", "t"), 4);
  broker.crash_and_restart();
  client = broker.connect();
  EXPECT_EQ(committed("a", "t"), -1);
  EXPECT_EQ(committed("b", "t"), 4);
}

TEST_F(GroupAdmin, SingleOffsetsAreDeleted) {
  make_groups();
  commit("a", "t", 3);
  commit("a", "t", 4, 1);
  const auto answer = remove_offsets("a", {{"t", 1}, {"t", 9}, {"nowhere", 0}});
  EXPECT_EQ(answer.error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.topics.at(0).partitions.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.topics.at(1).partitions.at(0).error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(answer.topics.at(2).partitions.at(0).error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(committed("a", "t"), 3);
  EXPECT_EQ(committed("a", "t", 1), -1);
  EXPECT_EQ(remove_offsets("nobody", {{"t", 0}}).error_code, ErrorCode::kGroupIdNotFound);
}

TEST_F(GroupAdmin, OffsetsOfTopicsThatMembersReadStay) {
  make_groups();
  commit("g", "t", 3);
  commit("g", "u", 4);
  join(subscription("t"));
  const auto answer = remove_offsets("g", {{"t", 0}, {"u", 0}});
  EXPECT_EQ(answer.topics.at(0).partitions.at(0).error_code, ErrorCode::kGroupSubscribedToTopic);
  EXPECT_EQ(answer.topics.at(1).partitions.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(committed("g", "t"), 3);
  EXPECT_EQ(committed("g", "u"), -1);
}

TEST_F(GroupAdmin, AMemberThatNobodyUnderstandsMightReadAnything) {
  make_groups();
  commit("g", "u", 4);
  join(as_byte_view("?"));
  EXPECT_EQ(remove_offsets("g", {{"u", 0}}).topics.at(0).partitions.at(0).error_code,
            ErrorCode::kGroupSubscribedToTopic);
}

TEST_F(GroupAdmin, MembersOfAnotherProtocolKeepAllOffsets) {
  make_groups();
  commit("g", "u", 4);
  join(subscription("t"), "connect");
  const auto answer = remove_offsets("g", {{"u", 0}});
  EXPECT_EQ(answer.error_code, ErrorCode::kNonEmptyGroup);
  EXPECT_THAT(answer.topics, IsEmpty());
}

TEST_F(Admin, LogDirsSayHowLargePartitionsAre) {
  wire::DescribeLogDirsRequest request;
  request.topics.reset();
  for (int16_t version = 1; version <= wire::DescribeLogDirsRequest::kMaxVersion; ++version) {
    const auto directory = client->call(request, version).results.at(0);
    EXPECT_EQ(directory.log_dir, "/data");
    ASSERT_THAT(directory.topics, SizeIs(1));
    ASSERT_THAT(directory.topics[0].partitions, SizeIs(3));
    EXPECT_GT(directory.topics[0].partitions[0].partition_size, 0);
    EXPECT_EQ(directory.topics[0].partitions[1].partition_size, 0);
  }
  request.topics.emplace().push_back({"t", {2, 7}});
  request.topics->push_back({"nowhere", {0}});
  const auto some = client->call(request).results.at(0);
  ASSERT_THAT(some.topics, SizeIs(1));
  EXPECT_THAT(some.topics[0].partitions, SizeIs(1));
}

TEST_F(Admin, ReplicasCanBeMovedToTheOneDirectoryOnly) {
  wire::AlterReplicaLogDirsRequest request;
  request.dirs.push_back({"/data", {{"t", {0, 3}}}});
  request.dirs.push_back({"/elsewhere", {{"t", {0}}}});
  const auto answer = client->call(request);
  EXPECT_EQ(answer.results.at(0).partitions.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.results.at(0).partitions.at(1).error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(answer.results.at(1).partitions.at(0).error_code, ErrorCode::kLogDirNotFound);
}

TEST_F(Admin, TheClusterIsOneNode) {
  for (int16_t version = 0; version <= wire::DescribeClusterRequest::kMaxVersion; ++version) {
    const auto answer = client->call(wire::DescribeClusterRequest{}, version);
    EXPECT_EQ(answer.error_code, ErrorCode::kNone);
    EXPECT_EQ(answer.cluster_id, broker.broker->cluster_id().to_string());
    ASSERT_THAT(answer.brokers, SizeIs(1));
    EXPECT_EQ(answer.brokers[0].broker_id, answer.controller_id);
    EXPECT_EQ(answer.brokers[0].port, broker.port());
    EXPECT_EQ(answer.cluster_authorized_operations, INT32_MIN);
  }
  wire::DescribeClusterRequest request;
  request.include_cluster_authorized_operations = true;
  EXPECT_EQ(client->call(request).cluster_authorized_operations, 8096);
  request.endpoint_type = 2;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kMismatchedEndpointType);
  request.endpoint_type = 3;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kUnsupportedEndpointType);
}

TEST_F(Admin, TopicsAreDescribedPageByPage) {
  ASSERT_EQ(create_topic(*client, "a", 2), ErrorCode::kNone);
  wire::DescribeTopicPartitionsRequest request;
  request.response_partition_limit = 2;
  std::vector<std::string> seen;
  for (int pages = 0; pages < 10; ++pages) {
    const auto page = client->call(request);
    for (const auto& topic : page.topics) {
      EXPECT_EQ(topic.error_code, ErrorCode::kNone);
      for (const auto& partition : topic.partitions)
        seen.push_back(*topic.name + std::to_string(partition.partition_index));
    }
    if (!page.next_cursor) break;
    request.cursor.emplace(page.next_cursor->topic_name, page.next_cursor->partition_index);
  }
  EXPECT_THAT(seen, ElementsAre("a0", "a1", "t0", "t1", "t2"));
}

TEST_F(Admin, NamedTopicsAreDescribedInTheOrderOfTheirNames) {
  wire::DescribeTopicPartitionsRequest request;
  request.topics = {{"t"}, {"nowhere"}, {"no/name"}};
  const auto answer = client->call(request);
  ASSERT_THAT(answer.topics, SizeIs(3));
  EXPECT_EQ(answer.topics[0].error_code, ErrorCode::kInvalidTopicException);
  EXPECT_EQ(answer.topics[1].error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(answer.topics[2].name, "t");
  EXPECT_THAT(answer.topics[2].partitions, SizeIs(3));
  EXPECT_EQ(answer.topics[2].topic_authorized_operations, 3576);
  request.cursor.emplace("other", 0);
  EXPECT_EQ(client->call(request).topics.at(0).error_code, ErrorCode::kInvalidRequest);
  request.cursor.emplace("t", -1);
  EXPECT_EQ(client->call(request).topics.at(0).error_code, ErrorCode::kInvalidRequest);
  request.cursor.reset();
  request.topics = {{"t"}};
  request.response_partition_limit = 0;
  EXPECT_THAT(client->call(request).topics.at(0).partitions, SizeIs(1)) << "one at least, or it would never end";
}

TEST_F(Admin, LeadersAreElectedAlready) {
  wire::ElectLeadersRequest request;
  request.topic_partitions.emplace().push_back({"t", {0, 3}});
  for (int16_t version = 0; version <= wire::ElectLeadersRequest::kMaxVersion; ++version) {
    const auto results = client->call(request, version).replica_election_results.at(0).partition_result;
    EXPECT_EQ(results.at(0).error_code, ErrorCode::kElectionNotNeeded);
    EXPECT_EQ(results.at(1).error_code, ErrorCode::kUnknownTopicOrPartition);
  }
  request.election_type = 2;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kInvalidRequest);
  request.election_type = 0;
  request.topic_partitions.reset();
  EXPECT_THAT(client->call(request).replica_election_results, IsEmpty());
}

TEST_F(Admin, PartitionsAreWhereTheyCanOnlyBe) {
  const auto move = [&](std::optional<std::vector<int32_t>> replicas, int32_t index = 0) {
    wire::AlterPartitionReassignmentsRequest request;
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    topic.partitions.push_back({index, std::move(replicas)});
    return client->call(request).responses.at(0).partitions.at(0).error_code;
  };
  EXPECT_EQ(move({{1}}), ErrorCode::kNone);
  EXPECT_EQ(move({{1}}, 3), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(move({{1, 2}}), ErrorCode::kInvalidReplicaAssignment);
  EXPECT_EQ(move({{1, 1}}), ErrorCode::kInvalidReplicaAssignment);
  EXPECT_EQ(move(std::vector<int32_t>{}), ErrorCode::kInvalidReplicaAssignment);
  EXPECT_EQ(move(std::nullopt), ErrorCode::kNoReassignmentInProgress);
  wire::ListPartitionReassignmentsRequest request;
  request.topics.reset();
  const auto moving = client->call(request);
  EXPECT_EQ(moving.error_code, ErrorCode::kNone);
  EXPECT_THAT(moving.topics, IsEmpty());
}

TEST_F(Admin, TheQuorumIsOneVoter) {
  wire::DescribeQuorumRequest request;
  request.topics.push_back({"__cluster_metadata", {{0}}});
  request.topics.push_back({"t", {{0}}});
  for (int16_t version = 0; version <= wire::DescribeQuorumRequest::kMaxVersion; ++version) {
    const auto answer = client->call(request, version);
    const auto& metadata = answer.topics.at(0).partitions.at(0);
    EXPECT_EQ(metadata.error_code, ErrorCode::kNone);
    EXPECT_EQ(metadata.leader_id, 1);
    ASSERT_THAT(metadata.current_voters, SizeIs(1));
    EXPECT_EQ(metadata.current_voters[0].replica_id, 1);
    EXPECT_EQ(metadata.high_watermark, 0);
    EXPECT_EQ(answer.topics.at(1).partitions.at(0).error_code, ErrorCode::kUnknownTopicOrPartition);
    EXPECT_THAT(answer.nodes, SizeIs(version >= 2 ? 1 : 0));
  }
}

TEST_F(Admin, TheOneFeatureStaysAtItsLevel) {
  wire::UpdateFeaturesRequest request;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kNone);
  auto& update = request.feature_updates.emplace_back();
  update.feature = "metadata.version";
  update.max_version_level = 7;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kInvalidUpdateVersion);
  EXPECT_EQ(client->call(request, 1).error_code, ErrorCode::kInvalidUpdateVersion);
  EXPECT_THAT(client->call(request, 1).results, testing::IsEmpty());
  update.feature = "transaction.version";
  update.max_version_level = 1;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kInvalidUpdateVersion);
  update.max_version_level = 2;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kNone);
  EXPECT_EQ(client->call(request, 1).results.at(0).error_code, ErrorCode::kNone);
  update.upgrade_type = 4;
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kInvalidUpdateVersion);
}

}  // namespace
}  // namespace millrace::broker
