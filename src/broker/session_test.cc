#include <gmock/gmock.h>

#include <algorithm>
#include <iterator>

#include "base/fake_clock.h"
#include "broker/internal/handler.h"
#include "broker/internal/test_broker.h"
#include "wire/api_versions.h"
#include "wire/messages.h"

// What connections do whatever is in their frames.
namespace millrace::broker {
namespace {

using wire::ErrorCode;
using namespace std::chrono_literals;

Bytes frame_of(int32_t claimed_size, ByteView content) {
  Bytes frame;
  ByteWriter out(frame);
  out.fixed(claimed_size);
  out.bytes(content);
  return frame;
}

Bytes header(int16_t api, int16_t version, ByteView rest = {}) {
  Bytes content;
  ByteWriter out(content);
  out.fixed(api);
  out.fixed(version);
  out.fixed(int32_t{1});
  out.fixed(int16_t{-1});
  out.bytes(rest);
  return content;
}

wire::ApiVersionsRequest api_versions_request(std::string name = "a-client", std::string version = "1.0") {
  wire::ApiVersionsRequest request;
  request.client_software_name = std::move(name);
  request.client_software_version = std::move(version);
  return request;
}

void expect_alive(TestClient& client) { EXPECT_EQ(client.call(api_versions_request()).error_code, ErrorCode::kNone); }

TEST(Session, ApiVersionsSaysWhatIsServedInEveryVersion) {
  TestBroker broker;
  auto client = broker.connect();
  for (int16_t version = 0; version <= wire::ApiVersionsRequest::kMaxVersion; ++version) {
    const auto answer = client->call(api_versions_request(), version);
    EXPECT_EQ(answer.error_code, ErrorCode::kNone);
    const auto served = std::ranges::count_if(wire::supported_apis(), is_served, &wire::ApiRange::key);
    EXPECT_EQ(std::ssize(answer.api_keys), served);
    EXPECT_TRUE(std::ranges::all_of(answer.api_keys, [](const auto& api) {
      return api.api_key == 18 || find_handler(static_cast<wire::ApiKey>(api.api_key)) != nullptr;
    }));
  }
}

TEST(Session, ApiVersionsRefusesNamesThatNoSoftwareHas) {
  TestBroker broker;
  auto client = broker.connect();
  for (const auto& [name, version] : std::vector<std::pair<std::string, std::string>>{
           {"", "1"}, {"a", ""}, {"-a", "1"}, {"a.", "1"}, {"two words", "1"}, {"a", "1_2"}, {"ä", "1"}}) {
    const auto answer = client->call(api_versions_request(name, version), 3);
    EXPECT_EQ(answer.error_code, ErrorCode::kInvalidRequest) << name << " " << version;
    EXPECT_TRUE(answer.api_keys.empty());
  }
  EXPECT_EQ(client->call(api_versions_request("a.b-c", "4.3.1-SNAPSHOT"), 3).error_code, ErrorCode::kNone);
  EXPECT_EQ(client->call(wire::ApiVersionsRequest{}, 2).error_code, ErrorCode::kNone) << "older versions have no names";
}

TEST(Session, ApiVersionsTellsProducersOfTransactionVersion2) {
  TestBroker broker;
  auto client = broker.connect();
  for (const int16_t version : {int16_t{3}, int16_t{4}}) {
    const auto answer = client->call(api_versions_request(), version);
    EXPECT_EQ(answer.finalized_features_epoch, 0);
    ASSERT_EQ(answer.finalized_features.size(), 1u);
    EXPECT_EQ(answer.finalized_features[0].name, "transaction.version");
    EXPECT_EQ(answer.finalized_features[0].max_version_level, 2);
    ASSERT_EQ(answer.supported_features.size(), 1u);
    EXPECT_EQ(answer.supported_features[0].min_version, version == 3 ? 1 : 0);
    EXPECT_EQ(answer.supported_features[0].max_version, 2);
  }
}

TEST(Session, AnUnknownApiVersionsVersionIsAnsweredInVersionZeroWithTheRange) {
  TestBroker broker;
  auto client = broker.connect();
  const Bytes content = header(18, 99, as_byte_view("whatever it may hold"));
  client->send_bytes(frame_of(static_cast<int32_t>(content.size()), content));
  const auto answer = client->receive<wire::ApiVersionsResponse>(1, 0);
  EXPECT_EQ(answer.error_code, ErrorCode::kUnsupportedVersion);
  ASSERT_EQ(answer.api_keys.size(), 1u);
  EXPECT_EQ(answer.api_keys[0].max_version, wire::ApiVersionsRequest::kMaxVersion);
  expect_alive(*client);
}

TEST(Session, MalformedBytesCloseTheirConnectionAndNoOther) {
  TestBroker broker;
  auto bystander = broker.connect();
  expect_alive(*bystander);
  const Bytes unknown_api = header(9999, 0);
  const Bytes unknown_version = header(3, 99);
  const Bytes refused_produce = header(0, 2);
  const Bytes garbage = header(3, 12, as_byte_view("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
  const Bytes cut = header(3, 9, as_byte_view("\x00"));
  const std::vector<Bytes> attacks = {
      frame_of(-1, unknown_api),
      frame_of(0, {}),
      frame_of(3, as_byte_view("abc")),
      frame_of(INT32_MAX, unknown_api),
      frame_of(static_cast<int32_t>(unknown_api.size()), unknown_api),
      frame_of(static_cast<int32_t>(unknown_version.size()), unknown_version),
      frame_of(static_cast<int32_t>(refused_produce.size()), refused_produce),
      frame_of(static_cast<int32_t>(garbage.size()), garbage),
      frame_of(static_cast<int32_t>(cut.size()), cut),
  };
  for (size_t i = 0; i < attacks.size(); ++i) {
    auto client = broker.connect();
    client->send_bytes(attacks[i]);
    EXPECT_TRUE(client->closed_by_server()) << "attack " << i;
    expect_alive(*bystander);
  }
}

TEST(Session, RandomBytesNeverHarmTheBroker) {
  TestBroker broker;
  constexpr uint64_t kSeed = 20260101;
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  for (int round = 0; round < 300; ++round) {
    auto client = broker.connect();
    Bytes content = header(static_cast<int16_t>(random.below(30)), static_cast<int16_t>(random.below(14)));
    for (uint64_t left = random.below(60); left > 0; --left) content.push_back(static_cast<std::byte>(random.next()));
    client->send_bytes(frame_of(static_cast<int32_t>(content.size()), content));
    client->close();
  }
  expect_alive(*broker.connect());
}

TEST(Session, FramesMayComeInAnyPieces) {
  TestBroker broker;
  auto client = broker.connect();
  const auto frame = wire::encode_request(api_versions_request(), 1, "pieces", 3).value().flatten();
  for (const std::byte byte : frame) client->send_bytes({&byte, 1});
  EXPECT_EQ(client->receive<wire::ApiVersionsResponse>(1, 3).error_code, ErrorCode::kNone);
}

TEST(Session, AFrameOverTheLimitClosesItsConnection) {
  auto options = test_options();
  options.settings.socket_request_bytes_max = 2000;
  TestBroker broker(options);
  auto client = broker.connect();
  expect_alive(*client);
  const Bytes content = header(18, 99, Bytes(3000));
  client->send_bytes(frame_of(static_cast<int32_t>(content.size()), content));
  EXPECT_TRUE(client->closed_by_server());
}

TEST(Session, ConnectionsOverTheLimitAreClosedUntilOneGoes) {
  auto options = test_options();
  options.settings.max_connections = 2;
  TestBroker broker(options);
  auto first = broker.connect();
  auto second = broker.connect();
  expect_alive(*first);
  expect_alive(*second);
  EXPECT_TRUE(broker.connect()->closed_by_server());
  first->close();
  while (broker.broker->stats().connections > 1) std::this_thread::yield();
  auto third = broker.connect();
  expect_alive(*third);
}

TEST(Session, AnIdleConnectionIsClosedAfterItsTime) {
  FakeClock clock;
  auto options = test_options();
  options.settings.connections_max_idle_ms = 60'000;
  TestBroker broker(options, &clock);
  auto client = broker.connect();
  expect_alive(*client);
  while (!client->readable_within(2)) {
    clock.advance(5s);
    broker.broker->clock_moved();
  }
  EXPECT_GE(clock.mono_now().time_since_epoch(), 60s);
  EXPECT_TRUE(client->closed_by_server());
}

TEST(Session, AClientThatDoesNotReadHoldsUpNobody) {
  auto options = test_options();
  options.settings.num_network_threads = 1;
  TestBroker broker(options);
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(produce(*client, "t", make_batch({std::string(1'000'000, 'x')})).error_code, ErrorCode::kNone);
  auto lazy = broker.connect();
  auto request = fetch_request("t", 0, 0);
  request.max_bytes = 30 << 20;
  request.topics[0].partitions[0].partition_max_bytes = 30 << 20;
  std::vector<int32_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(lazy->send(request, kFetchByName));
  for (int i = 0; i < 10; ++i) expect_alive(*client);
  for (const int32_t id : ids) {
    const auto answer = lazy->receive<wire::FetchResponse>(id, kFetchByName);
    EXPECT_EQ(values_of(*answer.responses.at(0).partitions.at(0).records).size(), 20u);
  }
}

TEST(Session, RequestsWaitWhileTheirMemoryIsUsedUpAndGoOnAfterwards) {
  auto options = test_options();
  options.settings.queued_request_bytes_max = 65'536;
  TestBroker broker(options);
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  // One client takes all of the memory with a frame that it does not finish.
  auto greedy = broker.connect();
  const Bytes frame =
      wire::encode_request(produce_request("t", 0, make_batch({std::string(100'000, 'x')})), 1, "greedy", 9)
          .value()
          .flatten();
  greedy->send_bytes(ByteView(frame).first(50'000));
  const auto held = [&] { return broker.broker->stats().queued_request_bytes; };
  while (held() < 100'000) std::this_thread::yield();
  const Bytes batch = make_batch({std::string(10'000, 'y')});
  const int32_t id = client->send(produce_request("t", 0, batch), 9);
  // Small ones do not wait.
  expect_alive(*broker.connect());
  greedy->send_bytes(ByteView(frame).subspan(50'000));
  EXPECT_EQ(greedy->receive<wire::ProduceResponse>(1, 9).responses.at(0).partition_responses.at(0).error_code,
            ErrorCode::kNone);
  EXPECT_EQ(client->receive<wire::ProduceResponse>(id, 9).responses.at(0).partition_responses.at(0).error_code,
            ErrorCode::kNone);
}

TEST(Session, AFrameThatIsNeverFinishedIsGivenUp) {
  FakeClock clock;
  TestBroker broker(test_options(), &clock);
  auto client = broker.connect();
  client->send_bytes(frame_of(1000, as_byte_view("only a few bytes")));
  while (!client->readable_within(2)) {
    clock.advance(5s);
    broker.broker->clock_moved();
  }
  EXPECT_GE(clock.mono_now().time_since_epoch(), 30s);
  EXPECT_TRUE(client->closed_by_server());
}

TEST(Session, AFrameThatComesByteByByteIsGivenUp) {
  FakeClock clock;
  TestBroker broker(test_options(), &clock);
  auto client = broker.connect();
  const Bytes frame = frame_of(1'000'000, as_byte_view(std::string(100, 'x')));
  size_t sent = 90;
  client->send_bytes(ByteView(frame).first(sent));
  while (broker.broker->stats().queued_request_bytes < 1'000'000) std::this_thread::yield();
  while (!client->readable_within(2)) {
    ASSERT_LT(sent, 100u);
    client->send_bytes(ByteView(frame).subspan(sent++, 1));
    clock.advance(29s);
    broker.broker->clock_moved();
  }
  EXPECT_LE(clock.mono_now().time_since_epoch(), 120s);
  EXPECT_TRUE(client->closed_by_server());
}

TEST(Session, AHalfSentFrameBehindALongRequestWaitsWithItAndHoldsUpNobody) {
  FakeClock clock;
  auto options = test_options();
  options.settings.num_network_threads = 1;
  TestBroker broker(options, &clock);
  auto bystander = broker.connect();
  ASSERT_EQ(create_topic(*bystander, "t"), ErrorCode::kNone);
  auto client = broker.connect();
  auto fetch = fetch_request("t", 0, 0);
  fetch.max_wait_ms = 3'600'000;
  Bytes sent = wire::encode_request(fetch, 1, "client", kFetchByName).value().flatten();
  const auto append = [&](ByteView frame) { sent.insert(sent.end(), frame.begin(), frame.end()); };
  append(wire::encode_request(api_versions_request(), 2, "client", 3).value().flatten());
  const Bytes last = wire::encode_request(wire::ApiVersionsRequest{}, 3, std::string(1000, 'x'), 0).value().flatten();
  append(ByteView(last).first(500));
  client->send_bytes(sent);
  while (broker.broker->stats().queued_request_bytes < 1000) std::this_thread::yield();

  for (int i = 0; i < 3; ++i) {
    clock.advance(31s);
    broker.broker->clock_moved();
    expect_alive(*bystander);
  }
  ASSERT_EQ(produce(*bystander, "t", make_batch({"a"})).error_code, ErrorCode::kNone);
  EXPECT_EQ(client->receive<wire::FetchResponse>(1, kFetchByName).error_code, ErrorCode::kNone);
  EXPECT_EQ(client->receive<wire::ApiVersionsResponse>(2, 3).error_code, ErrorCode::kNone);
  client->send_bytes(ByteView(last).subspan(500));
  EXPECT_EQ(client->receive<wire::ApiVersionsResponse>(3, 0).error_code, ErrorCode::kNone);
}

TEST(Broker, APortInUseIsSaidBeforeAnythingIsMade) {
  TestBroker first;
  env::FaultFileSystem files;
  env::SystemClock clock;
  Metrics metrics;
  auto options = test_options();
  options.listeners[0].port = first.port();
  const auto second = Broker::start(options, files, clock, Random(1), metrics);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kConflict);
  EXPECT_NE(second.error().message.find(std::to_string(first.port())), std::string::npos) << second.error().message;
  EXPECT_FALSE(files.exists("/data").value());
}

TEST(Broker, AListenerIsAdvertisedAsConfigured) {
  auto options = test_options();
  options.listeners.push_back({.name = "PUBLIC",
                               .host = "127.0.0.1",
                               .port = 0,
                               .advertised_host = "broker.example",
                               .advertised_port = 19092});
  TestBroker broker(options);
  wire::MetadataRequest request;
  TestClient inside(broker.port());
  EXPECT_EQ(inside.call(request).brokers.at(0).port, broker.port());
  TestClient outside(broker.broker->address("PUBLIC").port);
  const auto seen = outside.call(request).brokers.at(0);
  EXPECT_EQ(seen.host, "broker.example");
  EXPECT_EQ(seen.port, 19092);
}

TEST(Broker, StopsWhileClientsWait) {
  TestBroker broker;
  auto client = broker.connect();
  ASSERT_EQ(create_topic(*client, "t"), ErrorCode::kNone);
  auto request = fetch_request("t", 0, 0);
  request.max_wait_ms = 3'600'000;
  client->send(request, kFetchByName);
  broker.broker->stop();
  broker.broker.reset();
  EXPECT_TRUE(client->closed_by_server());
}

}  // namespace
}  // namespace millrace::broker
