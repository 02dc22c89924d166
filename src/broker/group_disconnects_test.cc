#include <gmock/gmock.h>

#include <future>

#include "base/fake_clock.h"
#include "broker/internal/test_broker.h"
#include "wire/api_versions.h"
#include "wire/consumer_protocol.h"
#include "wire/describe_groups.h"
#include "wire/find_coordinator.h"
#include "wire/heartbeat.h"
#include "wire/join_group.h"
#include "wire/list_groups.h"
#include "wire/sync_group.h"

namespace millrace::broker {
namespace {

using std::chrono::milliseconds;
using testing::SizeIs;
using wire::ErrorCode;

// Groups whose members go away without a word: time passes as the test says.
class Disconnect : public testing::Test {
 protected:
  static BrokerOptions options(int64_t grace_ms) {
    BrokerOptions options = test_options();
    options.settings.group_disconnect_grace_ms = grace_ms;
    options.settings.group_initial_rebalance_delay_ms = 0;  // the clock stands still
    return options;
  }
  void start(int64_t grace_ms) {
    broker.emplace(options(grace_ms), &clock);
    client = broker->connect();
    ASSERT_EQ(create_topic(*client, "t", 4), ErrorCode::kNone);
    wire::FindCoordinatorRequest request;
    request.coordinator_keys = {"g"};
    ASSERT_EQ(client->call(request).coordinators.at(0).error_code, ErrorCode::kNone);
  }
  // The only member of the group, with all its partitions.
  std::string join(TestClient& member) {
    wire::JoinGroupRequest request;
    request.group_id = "g";
    request.session_timeout_ms = 30'000;
    request.rebalance_timeout_ms = 30'000;
    request.protocol_type = "consumer";
    auto& protocol = request.protocols.emplace_back();
    protocol.name = "range";
    protocol.metadata = as_byte_view("metadata");
    request.member_id = member.call(request).member_id;
    const auto joined = member.call(request);
    EXPECT_EQ(joined.error_code, ErrorCode::kNone);
    wire::ConsumerProtocolAssignment assignment;
    assignment.assigned_partitions.push_back({"t", {0, 1}});
    Bytes bytes;
    ByteWriter out(bytes);
    out.fixed<int16_t>(0);
    EXPECT_TRUE(assignment.encode(out, 0));
    wire::SyncGroupRequest sync;
    sync.group_id = "g";
    sync.member_id = joined.member_id;
    sync.generation_id = joined.generation_id;
    sync.protocol_type = "consumer";
    sync.protocol_name = "range";
    sync.assignments.push_back({joined.member_id, bytes});
    EXPECT_EQ(member.call(sync).error_code, ErrorCode::kNone);
    return joined.member_id;
  }
  std::string state() {
    wire::DescribeGroupsRequest request;
    request.groups = {"g"};
    return client->call(request).groups.at(0).group_state;
  }
  // Lets time pass until the group is in that state; how much that took, at most `limit`.
  milliseconds until(const std::string& wanted, milliseconds limit) {
    milliseconds passed{0};
    while (state() != wanted && passed < limit) {
      clock.advance(milliseconds{100});
      passed += milliseconds{100};
      broker->broker->clock_moved();
    }
    return passed;
  }
  std::vector<std::string> history() {
    std::promise<Result<std::vector<std::string>>> told;
    broker->broker->rebalances("g", 10, [&](auto rebalances) { told.set_value(std::move(rebalances)); });
    return told.get_future().get().value();
  }

  FakeClock clock;
  std::optional<TestBroker> broker;
  std::unique_ptr<TestClient> client;
};

TEST_F(Disconnect, ADeadMemberIsOutAfterTheGrace) {
  start(1'000);
  auto member = broker->connect();
  join(*member);
  ASSERT_EQ(state(), "Stable");
  member->close();
  const auto passed = until("Empty", milliseconds{20'000});
  EXPECT_GE(passed, milliseconds{1'000});
  EXPECT_LT(passed, milliseconds{20'000});
}

TEST_F(Disconnect, WithoutAGraceTheSessionCounts) {
  start(0);
  auto member = broker->connect();
  join(*member);
  member->close();
  EXPECT_GE(until("Empty", milliseconds{60'000}), milliseconds{30'000});
}

TEST_F(Disconnect, EveryRebalanceIsInTheHistory) {
  start(1'000);
  EXPECT_THAT(history(), SizeIs(0));
  auto member = broker->connect();
  const std::string id = join(*member);
  member->close();
  until("Empty", milliseconds{20'000});
  // What was written can be read once it is durable.
  auto told = history();
  while (told.size() < 2) told = history();
  ASSERT_THAT(told, SizeIs(2));
  EXPECT_THAT(told[0], testing::HasSubstr("connection closed"));
  EXPECT_THAT(told[0], testing::HasSubstr("\"left\":[\"" + id + "\"]"));
  EXPECT_THAT(told[0], testing::HasSubstr("\"moved_count\":2"));
  EXPECT_THAT(told[1], testing::HasSubstr("\"joined\":[\"" + id + "\"]"));
  EXPECT_THAT(told[1], testing::HasSubstr("{\"topic\":\"t\",\"partition\":1,\"from\":null,\"to\":\"" + id + "\"}"));
}

// Heartbeats whose answers are kept back.
class HeldHeartbeat : public Disconnect {
 protected:
  static constexpr int16_t kVersion = wire::HeartbeatRequest::kMaxVersion;

  void SetUp() override {
    start(1'000);
    member = connect("apache-kafka-java");
    id = join(*member);
  }
  std::unique_ptr<TestClient> connect(std::string software) const {
    auto connected = broker->connect();
    wire::ApiVersionsRequest request;
    request.client_software_name = std::move(software);
    request.client_software_version = "1.0";
    EXPECT_EQ(connected->call(request).error_code, ErrorCode::kNone);
    return connected;
  }
  int32_t beat(TestClient& over) const {
    wire::HeartbeatRequest request;
    request.group_id = "g";
    request.member_id = id;
    request.generation_id = 1;
    return over.send(request);
  }
  ErrorCode answer(TestClient& over, int32_t to) const {
    return over.receive<wire::HeartbeatResponse>(to, kVersion).error_code;
  }

  std::unique_ptr<TestClient> member;
  std::string id;
};

TEST_F(HeldHeartbeat, IsAnsweredWhenItsTimeIsUp) {
  const int32_t held = beat(*member);
  EXPECT_FALSE(member->readable_within(50));
  clock.advance(milliseconds{2'500});
  broker->broker->clock_moved();
  EXPECT_EQ(answer(*member, held), ErrorCode::kNone);
}

TEST_F(HeldHeartbeat, OfAClientWhoseWorkMayWaitForItIsAnsweredAtOnce) {
  for (const char* software : {"sarama", "an-unknown-one"}) {
    const auto other = connect(software);
    EXPECT_EQ(answer(*other, beat(*other)), ErrorCode::kNone) << software;
  }
  const auto nameless = broker->connect();
  EXPECT_EQ(answer(*nameless, beat(*nameless)), ErrorCode::kNone);
}

TEST_F(HeldHeartbeat, TellsOfANewcomerAtOnce) {
  const int32_t held = beat(*member);
  EXPECT_FALSE(member->readable_within(50));
  wire::JoinGroupRequest request;
  request.group_id = "g";
  request.session_timeout_ms = 30'000;
  request.rebalance_timeout_ms = 30'000;
  request.protocol_type = "consumer";
  request.protocols.emplace_back().name = "range";
  request.member_id = client->call(request).member_id;
  client->send(request);
  EXPECT_EQ(answer(*member, held), ErrorCode::kRebalanceInProgress);
}

TEST_F(HeldHeartbeat, DelaysNothingThatComesBehindIt) {
  const int32_t held = beat(*member);
  EXPECT_FALSE(member->readable_within(50));
  const int32_t next = member->send(wire::ListGroupsRequest{});
  EXPECT_EQ(answer(*member, held), ErrorCode::kNone);
  EXPECT_THAT(member->receive<wire::ListGroupsResponse>(next, wire::ListGroupsRequest::kMaxVersion).groups, SizeIs(1));
}

// However many come: a connection has one of them at most.
TEST_F(HeldHeartbeat, AFloodOfThemIsAnsweredButForTheLastOfEachConnection) {
  constexpr int kConnections = 20;
  constexpr int kEach = 50;
  std::vector<std::unique_ptr<TestClient>> flood;
  std::vector<int32_t> last;
  for (int i = 0; i < kConnections; ++i) {
    TestClient& one = *flood.emplace_back(connect("librdkafka"));
    std::vector<int32_t> sent;
    for (int n = 0; n < kEach; ++n) sent.push_back(beat(one));
    last.push_back(sent.back());
    sent.pop_back();
    for (const int32_t each : sent) EXPECT_EQ(answer(one, each), ErrorCode::kNone);
  }
  for (const auto& one : flood) EXPECT_FALSE(one->readable_within(1));
  for (size_t i = 0; i < flood.size() / 2; ++i) flood[i]->close();
  clock.advance(milliseconds{2'500});
  broker->broker->clock_moved();
  for (size_t i = flood.size() / 2; i < flood.size(); ++i) EXPECT_EQ(answer(*flood[i], last[i]), ErrorCode::kNone);
}

TEST_F(HeldHeartbeat, DoesNotHoldUpTheBrokersEnd) {
  beat(*member);
  EXPECT_FALSE(member->readable_within(50));
  broker.reset();
  EXPECT_TRUE(member->closed_by_server());
}

}  // namespace
}  // namespace millrace::broker
