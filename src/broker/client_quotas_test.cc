#include "broker/internal/client_quotas.h"

#include <gmock/gmock.h>

#include "base/fake_clock.h"
#include "broker/internal/test_broker.h"
#include "wire/alter_client_quotas.h"
#include "wire/api_versions.h"
#include "wire/describe_client_quotas.h"

namespace millrace::broker {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using wire::ErrorCode;

struct QuotasTest : testing::Test {
  QuotasTest() {
    EXPECT_TRUE(files.make_directories("/data"));
    EXPECT_TRUE(files.sync_directory("/"));
  }

  env::FaultFileSystem files;
  FakeClock clock;
};

TEST_F(QuotasTest, WithoutAQuotaNothingIsHeldBack) {
  ClientQuotas quotas(files, "/data", clock);
  ASSERT_TRUE(quotas.load());
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 1u << 30), 0ms);
  ASSERT_TRUE(quotas.set({{"b", {.produce = 10, .fetch = {}}}}));
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 1u << 30), 0ms);
  EXPECT_EQ(quotas.charge("b", QuotaKind::kFetch, 1u << 30), 0ms);
}

TEST_F(QuotasTest, TenSecondsWorthMayComeAtOnceAndThenTheRateHolds) {
  ClientQuotas quotas(files, "/data", clock);
  ASSERT_TRUE(quotas.set({{"a", {.produce = 1000, .fetch = {}}}}));
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 10'000), 0ms);
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 500), 500ms);
  clock.advance(500ms);
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 2000), 2s);
  clock.advance(5s);
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 3000), 0ms);
  clock.advance(1h);
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 10'001), 1ms) << "a long pause saves no more than the burst";
  EXPECT_EQ(quotas.charge("a", QuotaKind::kProduce, 1'000'000'000), ClientQuotas::kDebtMax);
}

TEST_F(QuotasTest, TheDefaultIsForEachClientIdThatHasNoneOfItsOwn) {
  ClientQuotas quotas(files, "/data", clock);
  ASSERT_TRUE(quotas.set({{std::nullopt, {.produce = 1000, .fetch = 100}}, {"own", {.produce = 2000, .fetch = {}}}}));
  EXPECT_EQ(quotas.charge("own", QuotaKind::kProduce, 22'000), 1s);
  EXPECT_EQ(quotas.charge("own", QuotaKind::kFetch, 1100), 1s);
  EXPECT_EQ(quotas.charge("x", QuotaKind::kProduce, 11'000), 1s);
  EXPECT_EQ(quotas.charge("y", QuotaKind::kProduce, 10'000), 0ms) << "an account for each";
}

TEST_F(QuotasTest, MoreClientIdsThanAccountsShareOne) {
  ClientQuotas quotas(files, "/data", clock);
  ASSERT_TRUE(quotas.set({{std::nullopt, {.produce = 1000, .fetch = {}}}}));
  for (size_t i = 0; i < ClientQuotas::kAccountsMax; ++i)
    ASSERT_EQ(quotas.charge(std::to_string(i), QuotaKind::kProduce, 1), 0ms);
  EXPECT_EQ(quotas.charge("late", QuotaKind::kProduce, 10'000), 0ms);
  EXPECT_EQ(quotas.charge("later", QuotaKind::kProduce, 1000), 1s);
  clock.advance(31s);
  EXPECT_EQ(quotas.charge("last", QuotaKind::kProduce, 10'000), 0ms) << "idle accounts make room";
}

TEST_F(QuotasTest, WhatIsSetSurvivesACrashWhateverTheNamesAre) {
  const QuotaTable table = {{std::nullopt, {.produce = {}, .fetch = 7}},
                            {"", {.produce = 1, .fetch = {}}},
                            {"* %2a\nclient-id ü", {.produce = 5, .fetch = 6}},
                            {"plain.name-1", {.produce = 9'007'199'254'740'992, .fetch = {}}}};
  ASSERT_TRUE(ClientQuotas(files, "/data", clock).set(table));
  Random random(1);
  files.crash(env::FaultFileSystem::Unsynced::kDropped, random);
  ClientQuotas again(files, "/data", clock);
  ASSERT_TRUE(again.load());
  EXPECT_EQ(again.table(), table);
}

TEST_F(QuotasTest, ADamagedFileIsRefusedWithItsLine) {
  for (const char* line :
       {"client-id a producer_byte_rate", "client-id a producer_byte_rate 0", "user a producer_byte_rate 1",
        "client-id a% producer_byte_rate 1", "client-id a byte_rate 1", "client-id %zz consumer_byte_rate 1"}) {
    ASSERT_TRUE(env::write_file_atomically(files, "/data/client-quotas", as_byte_view(std::string(line) + "\n")));
    const Status loaded = ClientQuotas(files, "/data", clock).load();
    ASSERT_FALSE(loaded) << line;
    EXPECT_EQ(loaded.error().code, Errc::kCorruption);
    EXPECT_THAT(loaded.error().message, HasSubstr(line));
  }
}

struct Change {
  std::string key;
  double value = 0;
  bool remove = false;
};

wire::AlterClientQuotasResponse::EntryData alter(TestClient& client, const std::string& type,
                                                 std::optional<std::string> name, const std::vector<Change>& changes,
                                                 bool validate_only = false) {
  wire::AlterClientQuotasRequest request;
  request.validate_only = validate_only;
  auto& entry = request.entries.emplace_back();
  entry.entity.push_back({type, std::move(name)});
  for (const auto& [key, value, remove] : changes) entry.ops.push_back({key, value, remove});
  return client.call(request).entries.at(0);
}

std::vector<std::string> describe(TestClient& client, const wire::DescribeClientQuotasRequest& request = {}) {
  const auto response = client.call(request);
  EXPECT_EQ(response.error_code, ErrorCode::kNone);
  std::vector<std::string> lines;
  for (const auto& entry : *response.entries)
    for (const auto& value : entry.values)
      lines.push_back(entry.entity.at(0).entity_name.value_or("(default)") + " " + value.key + "=" +
                      std::to_string(static_cast<int64_t>(value.value)));
  return lines;
}

TEST(ClientQuotaApis, QuotasAreSetShownRemovedAndKept) {
  TestBroker broker;
  auto client = broker.connect();
  EXPECT_THAT(describe(*client), IsEmpty());
  EXPECT_EQ(alter(*client, "client-id", "a", {{"producer_byte_rate", 1000}, {"consumer_byte_rate", 2000}}).error_code,
            ErrorCode::kNone);
  EXPECT_EQ(alter(*client, "client-id", std::nullopt, {{"producer_byte_rate", 5}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(alter(*client, "client-id", "b", {{"producer_byte_rate", 5}}, true).error_code, ErrorCode::kNone);
  const auto all = {"(default) producer_byte_rate=5", "a producer_byte_rate=1000", "a consumer_byte_rate=2000"};
  EXPECT_THAT(describe(*client), testing::ElementsAreArray(all));
  client.reset();
  broker.crash_and_restart();
  client = broker.connect();
  EXPECT_THAT(describe(*client), testing::ElementsAreArray(all));

  wire::DescribeClientQuotasRequest only;
  only.components.push_back({.entity_type = "client-id", .match_type = 0, .match = "a"});
  EXPECT_THAT(describe(*client, only), ElementsAre("a producer_byte_rate=1000", "a consumer_byte_rate=2000"));
  only.components[0] = {.entity_type = "client-id", .match_type = 1, .match = std::nullopt};
  EXPECT_THAT(describe(*client, only), ElementsAre("(default) producer_byte_rate=5"));
  only.components[0].entity_type = "user";
  EXPECT_THAT(describe(*client, only), IsEmpty());

  EXPECT_EQ(alter(*client, "client-id", "a", {{"producer_byte_rate", 0, true}}).error_code, ErrorCode::kNone);
  EXPECT_EQ(alter(*client, "client-id", std::nullopt, {{"producer_byte_rate", 0, true}}).error_code, ErrorCode::kNone);
  EXPECT_THAT(describe(*client), ElementsAre("a consumer_byte_rate=2000"));
}

TEST(ClientQuotaApis, WhatIsNotBuiltAndWhatCannotBeIsRefusedByName) {
  TestBroker broker;
  const auto client = broker.connect();
  const auto user = alter(*client, "user", "u", {{"producer_byte_rate", 1}});
  EXPECT_EQ(user.error_code, ErrorCode::kUnsupportedVersion);
  EXPECT_THAT(*user.error_message, HasSubstr("not built yet"));
  const auto percentage = alter(*client, "client-id", "a", {{"request_percentage", 10}});
  EXPECT_EQ(percentage.error_code, ErrorCode::kUnsupportedVersion);
  EXPECT_THAT(*percentage.error_message, HasSubstr("request_percentage is not built yet"));
  EXPECT_EQ(alter(*client, "client-id", "a", {{"byte_rate", 10}}).error_code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(alter(*client, "planet", "a", {{"producer_byte_rate", 10}}).error_code, ErrorCode::kInvalidRequest);
  for (const double value : {0.0, -1.0, 1.5, 1e300, std::nan("")})
    EXPECT_EQ(alter(*client, "client-id", "a", {{"producer_byte_rate", value}}).error_code, ErrorCode::kInvalidRequest)
        << value;
  EXPECT_EQ(alter(*client, "client-id", "", {{"producer_byte_rate", 10}}).error_code, ErrorCode::kInvalidRequest);
  EXPECT_THAT(describe(*client), IsEmpty());
  wire::DescribeClientQuotasRequest request;
  request.components.push_back({.entity_type = "client-id", .match_type = 0, .match = std::nullopt});
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kInvalidRequest) << "exactly whom?";
  request.components[0] = {.entity_type = "client-id", .match_type = 1, .match = "a"};
  EXPECT_EQ(client->call(request).error_code, ErrorCode::kInvalidRequest);
}

// The clock stands still unless it is moved, so what is muted stays muted.
TEST(ClientQuotaApis, WhoIsOverItsQuotaIsAnsweredAndThenNotReadUntilItsTimeIsOver) {
  FakeClock clock;
  TestBroker broker(test_options(), &clock);
  const auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  ASSERT_EQ(alter(*client, "client-id", "test", {{"producer_byte_rate", 100}}).error_code, ErrorCode::kNone);

  const auto response = client->call(produce_request("t", 0, make_batch({std::string(5'000, 'x')})));
  EXPECT_EQ(response.responses.at(0).partition_responses.at(0).error_code, ErrorCode::kNone) << "it is written";
  EXPECT_EQ(response.throttle_time_ms, 20'000);
  const int32_t id = client->send(wire::ApiVersionsRequest{}, 0);
  EXPECT_FALSE(client->readable_within(100));
  // Another connection may ask for what it likes.
  EXPECT_EQ(create_topic(*broker.connect(), "other"), ErrorCode::kNone);
  clock.advance(std::chrono::milliseconds(response.throttle_time_ms));
  broker.broker->clock_moved();
  client->receive<wire::ApiVersionsResponse>(id, 0);
}

TEST(ClientQuotaApis, AFetchIsChargedForWhatItGets) {
  FakeClock clock;
  TestBroker broker(test_options(), &clock);
  const auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  ASSERT_EQ(produce(*client, "t", make_batch({std::string(2'000, 'x')})).error_code, ErrorCode::kNone);
  ASSERT_EQ(alter(*client, "client-id", "test", {{"consumer_byte_rate", 100}}).error_code, ErrorCode::kNone);
  const auto response = client->call(fetch_request("t", 0, 0), kFetchByName);
  EXPECT_EQ(values_of(*response.responses.at(0).partitions.at(0).records).size(), 1u);
  EXPECT_GT(response.throttle_time_ms, 10'000);
  EXPECT_LT(response.throttle_time_ms, 15'000);
}

}  // namespace
}  // namespace millrace::broker
