#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "broker/internal/group_records.h"
#include "broker/internal/test_broker.h"
#include "wire/delete_groups.h"
#include "wire/delete_topics.h"
#include "wire/describe_groups.h"
#include "wire/find_coordinator.h"
#include "wire/heartbeat.h"
#include "wire/join_group.h"
#include "wire/leave_group.h"
#include "wire/list_groups.h"
#include "wire/offset_commit.h"
#include "wire/offset_fetch.h"
#include "wire/sync_group.h"

namespace millrace::broker {
namespace {

using testing::SizeIs;
using wire::ErrorCode;

class Groups : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(create_topic(*client, "t", 4), ErrorCode::kNone); }

  void find_coordinator() {
    wire::FindCoordinatorRequest request;
    request.coordinator_keys = {"g"};
    const auto answer = client->call(request).coordinators.at(0);
    ASSERT_EQ(answer.error_code, ErrorCode::kNone);
    ASSERT_EQ(answer.port, broker.port());
  }

  wire::JoinGroupRequest join_request(const std::string& member_id) {
    wire::JoinGroupRequest request;
    request.group_id = "g";
    request.session_timeout_ms = 30'000;
    request.rebalance_timeout_ms = 30'000;
    request.member_id = member_id;
    request.protocol_type = "consumer";
    auto& protocol = request.protocols.emplace_back();
    protocol.name = "range";
    protocol.metadata = as_byte_view("metadata");
    return request;
  }
  // A member id is given first; with it the member joins.
  std::string new_member_id(TestClient& member) {
    const auto told = member.call(join_request(""));
    EXPECT_EQ(told.error_code, ErrorCode::kMemberIdRequired);
    return told.member_id;
  }
  wire::SyncGroupRequest sync_request(const std::string& member_id, int32_t generation) {
    wire::SyncGroupRequest request;
    request.group_id = "g";
    request.member_id = member_id;
    request.generation_id = generation;
    request.protocol_type = "consumer";
    request.protocol_name = "range";
    return request;
  }

  static wire::OffsetCommitRequest commit_request(int64_t offset, const std::string& member = "",
                                                  int32_t generation = -1) {
    wire::OffsetCommitRequest request;
    request.group_id = "g";
    request.member_id = member;
    request.generation_id_or_member_epoch = generation;
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    auto& partition = topic.partitions.emplace_back();
    partition.partition_index = 1;
    partition.committed_offset = offset;
    partition.committed_metadata = "note";
    return request;
  }
  ErrorCode commit(TestClient& from, int64_t offset, const std::string& member = "", int32_t generation = -1,
                   int16_t version = wire::OffsetCommitRequest::kMaxVersion) {
    const auto answer = from.call(commit_request(offset, member, generation), version);
    return answer.topics.at(0).partitions.at(0).error_code;
  }
  int64_t committed(TestClient& by) {
    wire::OffsetFetchRequest request;
    auto& group = request.groups.emplace_back();
    group.group_id = "g";
    group.topics.emplace().push_back({"t", {1}});
    return by.call(request).groups.at(0).topics.at(0).partitions.at(0).committed_offset;
  }

  TestBroker broker;
  std::unique_ptr<TestClient> client = broker.connect();
};

TEST_F(Groups, AreNotServedBeforeSomebodyLooksForTheirCoordinator) {
  EXPECT_EQ(client->call(join_request("")).error_code, ErrorCode::kNotCoordinator);
  EXPECT_EQ(commit(*client, 1), ErrorCode::kNotCoordinator);
  EXPECT_EQ(committed(*client), -1);
  EXPECT_THAT(client->call(wire::ListGroupsRequest{}).groups, SizeIs(0));
  find_coordinator();
  EXPECT_EQ(commit(*client, 1), ErrorCode::kNone);
}

TEST_F(Groups, TheCoordinatorIsFoundInEveryVersion) {
  for (int16_t version = 0; version <= wire::FindCoordinatorRequest::kMaxVersion; ++version) {
    wire::FindCoordinatorRequest request;
    if (version < 4)
      request.key = "g";
    else
      request.coordinator_keys = {"g", ""};
    const auto answer = client->call(request, version);
    if (version < 4) {
      EXPECT_EQ(answer.error_code, ErrorCode::kNone) << version;
      EXPECT_EQ(answer.port, broker.port());
    } else {
      EXPECT_EQ(answer.coordinators.at(0).port, broker.port());
      EXPECT_EQ(answer.coordinators.at(1).error_code, ErrorCode::kInvalidGroupId);
    }
  }
  wire::FindCoordinatorRequest share_group;
  share_group.key_type = 2;
  share_group.coordinator_keys = {"s"};
  EXPECT_EQ(client->call(share_group).coordinators.at(0).error_code, ErrorCode::kInvalidRequest);
}

TEST_F(Groups, AMemberJoinsSyncsBeatsCommitsAndLeaves) {
  find_coordinator();
  const std::string id = new_member_id(*client);
  const auto joined = client->call(join_request(id));
  ASSERT_EQ(joined.error_code, ErrorCode::kNone);
  EXPECT_EQ(joined.leader, id);
  ASSERT_THAT(joined.members, SizeIs(1));
  EXPECT_EQ(as_text(joined.members[0].metadata), "metadata");
  auto sync = sync_request(id, joined.generation_id);
  sync.assignments.push_back({id, as_byte_view("mine")});
  const auto synced = client->call(sync);
  ASSERT_EQ(synced.error_code, ErrorCode::kNone);
  EXPECT_EQ(as_text(synced.assignment), "mine");

  wire::HeartbeatRequest beat;
  beat.group_id = "g";
  beat.member_id = id;
  beat.generation_id = joined.generation_id;
  // The next request releases the answer that is kept back.
  constexpr int16_t kVersion = wire::HeartbeatRequest::kMaxVersion;
  const int32_t good = client->send(beat);
  beat.generation_id += 1;
  const int32_t late = client->send(beat);
  EXPECT_EQ(client->receive<wire::HeartbeatResponse>(good, kVersion).error_code, ErrorCode::kNone);
  EXPECT_EQ(client->receive<wire::HeartbeatResponse>(late, kVersion).error_code, ErrorCode::kIllegalGeneration);

  EXPECT_EQ(commit(*client, 17, id, joined.generation_id), ErrorCode::kNone);
  EXPECT_EQ(commit(*client, 18, "stranger", joined.generation_id), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(committed(*client), 17);

  wire::DescribeGroupsRequest about;
  about.groups = {"g", "other"};
  const auto described = client->call(about);
  EXPECT_EQ(described.groups.at(0).group_state, "Stable");
  ASSERT_THAT(described.groups[0].members, SizeIs(1));
  EXPECT_EQ(described.groups[0].members[0].client_id, "test");
  EXPECT_EQ(described.groups[0].members[0].client_host, "/127.0.0.1");
  EXPECT_EQ(as_text(described.groups[0].members[0].member_assignment), "mine");
  EXPECT_EQ(described.groups.at(1).group_state, "Dead");

  wire::LeaveGroupRequest leave;
  leave.group_id = "g";
  leave.members.emplace_back().member_id = id;
  EXPECT_EQ(client->call(leave).members.at(0).error_code, ErrorCode::kNone);
  const auto listed = client->call(wire::ListGroupsRequest{}).groups;
  ASSERT_THAT(listed, SizeIs(1));
  EXPECT_EQ(listed[0].group_state, "Empty");
}

TEST_F(Groups, FromVersion5OnASyncSaysWhatWasAgreedUpon) {
  find_coordinator();
  const std::string id = new_member_id(*client);
  const auto joined = client->call(join_request(id));
  auto sync = sync_request(id, joined.generation_id);
  sync.protocol_name.reset();
  EXPECT_EQ(client->call(sync).error_code, ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(client->call(sync, 4).error_code, ErrorCode::kNone);
}

TEST_F(Groups, ThoseWhoLeaveAGroupThatIsNotAreToldOneByOne) {
  find_coordinator();
  wire::LeaveGroupRequest leave;
  leave.group_id = "nobody's";
  leave.members.emplace_back().member_id = "m";
  const auto answer = client->call(leave);
  EXPECT_EQ(answer.error_code, ErrorCode::kNone);
  ASSERT_THAT(answer.members, SizeIs(1));
  EXPECT_EQ(answer.members[0].member_id, "m");
  EXPECT_EQ(answer.members[0].error_code, ErrorCode::kUnknownMemberId);
  leave.members.clear();
  leave.member_id = "m";
  EXPECT_EQ(client->call(leave, 2).error_code, ErrorCode::kUnknownMemberId);
}

TEST_F(Groups, TwoMembersWaitForEachOther) {
  find_coordinator();
  auto other = broker.connect();
  const std::string first = new_member_id(*client);
  const auto alone = client->call(join_request(first));
  auto sync = sync_request(first, alone.generation_id);
  sync.assignments.push_back({first, as_byte_view("all")});
  ASSERT_EQ(client->call(sync).error_code, ErrorCode::kNone);

  const std::string second = new_member_id(*other);
  const int32_t waiting = other->send(join_request(second));
  wire::HeartbeatRequest beat;
  beat.group_id = "g";
  beat.member_id = first;
  beat.generation_id = alone.generation_id;
  while (client->call(beat).error_code == ErrorCode::kNone) std::this_thread::yield();
  const auto leader = client->call(join_request(first));
  const auto follower = other->receive<wire::JoinGroupResponse>(waiting, wire::JoinGroupRequest::kMaxVersion);
  EXPECT_EQ(leader.generation_id, alone.generation_id + 1);
  EXPECT_EQ(follower.generation_id, leader.generation_id);
  EXPECT_EQ(follower.leader, first);
  EXPECT_THAT(leader.members, SizeIs(2));
  EXPECT_THAT(follower.members, SizeIs(0));

  const int32_t following = other->send(sync_request(second, leader.generation_id));
  sync = sync_request(first, leader.generation_id);
  sync.assignments.push_back({first, as_byte_view("half")});
  sync.assignments.push_back({second, as_byte_view("rest")});
  EXPECT_EQ(as_text(client->call(sync).assignment), "half");
  const auto assigned = other->receive<wire::SyncGroupResponse>(following, wire::SyncGroupRequest::kMaxVersion);
  EXPECT_EQ(as_text(assigned.assignment), "rest");
}

TEST_F(Groups, OffsetsAreCommittedAndFetchedInEveryVersion) {
  find_coordinator();
  for (int16_t version = wire::OffsetCommitRequest::kMinVersion; version <= wire::OffsetCommitRequest::kMaxVersion;
       ++version)
    EXPECT_EQ(commit(*client, 100 + version, "", -1, version), ErrorCode::kNone) << version;
  for (int16_t version = wire::OffsetFetchRequest::kMinVersion; version <= wire::OffsetFetchRequest::kMaxVersion;
       ++version) {
    wire::OffsetFetchRequest request;
    if (version < 8) {
      request.group_id = "g";
      request.topics.emplace().push_back({"t", {0, 1}});
      const auto answer = client->call(request, version);
      const auto& partitions = answer.topics.at(0).partitions;
      EXPECT_EQ(partitions.at(0).committed_offset, -1) << version;
      EXPECT_EQ(partitions.at(1).committed_offset, 109) << version;
      EXPECT_EQ(partitions.at(1).metadata, "note");
    } else {
      auto& group = request.groups.emplace_back();
      group.group_id = "g";
      group.topics.reset();
      const auto answer = client->call(request, version);
      ASSERT_THAT(answer.groups.at(0).topics, SizeIs(1)) << version;
      EXPECT_EQ(answer.groups[0].topics[0].partitions.at(0).committed_offset, 109) << version;
    }
  }
}

TEST_F(Groups, CommitsForPartitionsThatAreNotAreRefusedOneByOne) {
  find_coordinator();
  wire::OffsetCommitRequest request;
  request.group_id = "g";
  auto& topic = request.topics.emplace_back();
  topic.name = "t";
  for (const int32_t index : {0, 77, 2}) topic.partitions.emplace_back().partition_index = index;
  const auto answer = client->call(request).topics.at(0);
  EXPECT_EQ(answer.partitions.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(answer.partitions.at(1).error_code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(answer.partitions.at(2).error_code, ErrorCode::kNone);
}

TEST_F(Groups, CommittedOffsetsSurviveACrash) {
  find_coordinator();
  ASSERT_EQ(commit(*client, 41), ErrorCode::kNone);
  ASSERT_EQ(commit(*client, 42), ErrorCode::kNone);
  broker.crash_and_restart();
  EXPECT_EQ(committed(*broker.connect()), 42);
  EXPECT_EQ(broker.broker->stats().groups, 1u);
}

TEST_F(Groups, OffsetsAreCommittedAlsoWhenTheDiskIsFullForRecords) {
  find_coordinator();
  ASSERT_EQ(commit(*client, 1), ErrorCode::kNone);
  broker.files.set_capacity(0);
  ErrorCode error = ErrorCode::kNone;
  for (int i = 0; i < 200 && error == ErrorCode::kNone; ++i)
    error = produce(*client, "t", make_batch({std::string(900'000, 'x')})).error_code;
  ASSERT_EQ(error, ErrorCode::kKafkaStorageError);
  EXPECT_EQ(commit(*client, 2), ErrorCode::kNone);
  EXPECT_EQ(committed(*client), 2);
}

TEST_F(Groups, AMembershipSurvivesACrash) {
  find_coordinator();
  const std::string id = new_member_id(*client);
  const auto joined = client->call(join_request(id));
  auto sync = sync_request(id, joined.generation_id);
  sync.assignments.push_back({id, as_byte_view("mine")});
  ASSERT_EQ(client->call(sync).error_code, ErrorCode::kNone);
  broker.crash_and_restart();
  auto again = broker.connect();
  wire::HeartbeatRequest beat;
  beat.group_id = "g";
  beat.member_id = id;
  beat.generation_id = joined.generation_id;
  EXPECT_EQ(again->call(beat).error_code, ErrorCode::kNone);
}

TEST_F(Groups, OffsetsOfADeletedTopicAreForgotten) {
  find_coordinator();
  ASSERT_EQ(commit(*client, 5), ErrorCode::kNone);
  wire::DeleteTopicsRequest request;
  request.topics.emplace_back().name = "t";
  ASSERT_EQ(client->call(request).responses.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(committed(*client), -1);
}

// The process ended when the topic was gone, and before its offsets were.
TEST_F(Groups, OffsetsOfATopicThatWasDeletedJustBeforeAStartAreForgotten) {
  find_coordinator();
  ASSERT_EQ(commit(*client, 5), ErrorCode::kNone);
  client.reset();
  broker.broker->stop();
  {
    env::SystemClock clock;
    Random random(3);
    const auto store = log::Store::open({.dir = "/data"}, broker.files, clock, random);
    ASSERT_TRUE(store) << store.error().message;
    ASSERT_TRUE((*store)->delete_topic("t"));
    ASSERT_TRUE((*store)->close());
  }
  broker.start();
  client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t", 4), ErrorCode::kNone);
  EXPECT_EQ(committed(*client), -1);
  EXPECT_EQ(commit(*client, 6), ErrorCode::kNone);
  broker.crash_and_restart();
  EXPECT_EQ(committed(*broker.connect()), 6);
}

// Groups whose committed offsets take more to delete, 67 MB, than the write-ahead log's buffers hold.
class VeryLargeGroups : public Groups {
 protected:
  void SetUp() override {
    Groups::SetUp();
    find_coordinator();
    ASSERT_EQ(create_topic(*client, "wide", kPartitions), ErrorCode::kNone);
    for (int i = 0; i < kGroups; ++i) {
      wire::OffsetCommitRequest request;
      request.group_id = group(i);
      request.generation_id_or_member_epoch = -1;
      auto& topic = request.topics.emplace_back();
      topic.name = "wide";
      for (int32_t p = 0; p < kPartitions; ++p) topic.partitions.emplace_back().partition_index = p;
      const auto answer = client->call(request, 8);
      ASSERT_EQ(answer.topics.at(0).partitions.at(0).error_code, ErrorCode::kNone);
    }
    ASSERT_EQ(commit(*client, 5), ErrorCode::kNone);
  }
  static std::string group(int i) { return std::string(30'000, 'g') + std::to_string(i); }

  static constexpr int kPartitions = 30;
  static constexpr int kGroups = 75;
  // So many bytes take long where the sanitizers count every access.
  static constexpr int kPatienceMs = 120'000;
};

TEST_F(VeryLargeGroups, AreServedWhileATopicThatAllOfThemHaveReadIsForgotten) {
  wire::DeleteTopicsRequest removal;
  removal.topics.emplace_back().name = "wide";
  const int32_t removed = client->send(removal);
  ASSERT_TRUE(client->readable_within(kPatienceMs));
  const auto answer = client->receive<wire::DeleteTopicsResponse>(removed, wire::DeleteTopicsRequest::kMaxVersion);
  ASSERT_EQ(answer.responses.at(0).error_code, ErrorCode::kNone);
  EXPECT_EQ(committed(*client), 5);
  EXPECT_THAT(client->call(wire::ListGroupsRequest{}).groups, SizeIs(1));
}

TEST_F(VeryLargeGroups, AreDeletedWithoutAnErrorOnADiskThatIsSlow) {
  auto first = broker.connect();
  auto last = broker.connect();
  broker.files.hold_syncs();
  const int32_t first_commit = first->send(commit_request(6));
  broker.files.await_held_sync();
  wire::DeleteGroupsRequest deletion;
  for (int i = 0; i < kGroups; ++i) deletion.groups_names.push_back(group(i));
  const int32_t deleting = client->send(deletion);
  // When one of them is gone, and the coordinators answer again, the buffers are full.
  const auto groups = broker.broker->stats().groups;
  while (broker.broker->stats().groups == groups) std::this_thread::yield();
  ASSERT_NE(broker.metrics_text(), "");
  const int32_t last_commit = last->send(commit_request(7));
  broker.files.release_syncs();

  ASSERT_TRUE(client->readable_within(kPatienceMs));
  const auto answer = client->receive<wire::DeleteGroupsResponse>(deleting, wire::DeleteGroupsRequest::kMaxVersion);
  for (const auto& result : answer.results) EXPECT_EQ(result.error_code, ErrorCode::kNone);
  const auto error = [](TestClient& from, int32_t id) {
    const auto committed = from.receive<wire::OffsetCommitResponse>(id, wire::OffsetCommitRequest::kMaxVersion);
    return committed.topics.at(0).partitions.at(0).error_code;
  };
  EXPECT_EQ(error(*first, first_commit), ErrorCode::kNone);
  EXPECT_EQ(error(*last, last_commit), ErrorCode::kNone);
}

TEST_F(Groups, TheOffsetsTopicIsInternalAndClosedToClients) {
  find_coordinator();
  wire::MetadataRequest request;
  request.topics.emplace().emplace_back().name = "__consumer_offsets";
  EXPECT_TRUE(client->call(request).topics.at(0).is_internal);
  EXPECT_EQ(produce(*client, "__consumer_offsets", make_batch({"x"})).error_code, ErrorCode::kInvalidTopicException);
  wire::DeleteTopicsRequest removal;
  removal.topics.emplace_back().name = "__consumer_offsets";
  EXPECT_EQ(client->call(removal).responses.at(0).error_code, ErrorCode::kInvalidRequest);
}

TEST(GroupPartition, IsJavasStringHash) {
  // "abc".hashCode() is 96354; this word's is Integer.MIN_VALUE, for which Kafka takes 0.
  EXPECT_EQ(group_partition("abc", 50), 96354 % 50);
  EXPECT_EQ(group_partition("polygenelubricants", 50), 0);
  EXPECT_EQ(group_partition("", 50), 0);
  // "😀" is the UTF-16 units D83D DE00.
  EXPECT_EQ(group_partition("\xf0\x9f\x98\x80", 1'000'000'007), 0xd83d * 31 + 0xde00);
}

TEST(GroupRecords, AreTheSameAfterEncodingAndDecoding) {
  coord::GroupRecordValue value{.protocol_type = "consumer",
                                .generation = 3,
                                .protocol_name = "range",
                                .leader = "m",
                                .state_since = from_unix_us(1'767'225'600'000'000),
                                .members = {}};
  value.members.push_back({.member_id = "m",
                           .instance_id = "i",
                           .client_id = "c",
                           .client_host = "/h",
                           .session_timeout_ms = std::chrono::milliseconds(10),
                           .rebalance_timeout_ms = std::chrono::milliseconds(20),
                           .subscription = Bytes{std::byte{1}},
                           .assignment = Bytes{std::byte{2}}});
  const coord::OffsetRecord offset{
      .group = "g",
      .topic = "t",
      .partition = PartitionId{3},
      .value = coord::CommittedOffset{.offset = Offset{9},
                                      .leader_epoch = 1,
                                      .metadata = "note",
                                      .committed_at = from_unix_us(1'767'225'600'000'000)}};
  const std::vector<coord::Record> records = {
      coord::GroupRecord{.group = "g", .value = value}, coord::GroupRecord{.group = "g", .value = std::nullopt}, offset,
      coord::OffsetRecord{.group = "g", .topic = "t", .partition = PartitionId{3}, .value = std::nullopt}};
  for (const coord::Record& record : records) {
    const auto encoded = encode_group_record(record);
    ASSERT_TRUE(encoded);
    const auto decoded =
        decode_group_record(encoded->key, encoded->value ? std::optional<ByteView>(*encoded->value) : std::nullopt);
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(decoded->has_value() && **decoded == record);
  }
}

TEST(GroupRecords, OtherTypesAreSkippedAndGarbageIsAnError) {
  Bytes key;
  ByteWriter(key).fixed(int16_t{8});
  EXPECT_FALSE(decode_group_record(key, std::nullopt)->has_value());
  EXPECT_FALSE(decode_group_record({}, std::nullopt));
  key.clear();
  ByteWriter(key).fixed(int16_t{1});
  EXPECT_FALSE(decode_group_record(key, std::nullopt));
}

}  // namespace
}  // namespace millrace::broker
