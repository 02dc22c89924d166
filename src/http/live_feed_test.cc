#include "http/live_feed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "http/console_files.h"
#include "http/internal/raw_client.h"

namespace millrace::http {
namespace {

using internal::RawClient;

TEST(LiveFeed, SendsHistoryThenOverviewsAndSamplesOnlyWhileSomebodyListens) {
  Metrics metrics;
  Server server({.port = 0}, metrics);
  std::atomic<int> samples{0};
  LiveFeed feed(server, [&samples] {
    Overview overview;
    overview.at_ms = ++samples;
    return overview;
  });
  ASSERT_TRUE(server.start());
  EXPECT_EQ(samples, 0);
  const std::string ask = "GET /v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
  {
    RawClient first(server.port());
    first.send(ask);
    EXPECT_NE(first.read_until("\n\n").find("200 OK"), std::string::npos);
    EXPECT_EQ(first.read_until("\n\n"), "event: history\nid: 1\ndata: []\n\n");
    const std::string overview = first.read_until("\n\n");
    EXPECT_EQ(overview.rfind("event: overview\nid: 2\ndata: {\"at_ms\":1,", 0), 0u) << overview;
  }
  RawClient second(server.port());
  second.send(ask);
  second.read_until("\n\n");
  const std::string history = second.read_until("\n\n");
  EXPECT_NE(history.find("event: history"), std::string::npos);
  EXPECT_NE(history.find("data: [{\"at_ms\":1,"), std::string::npos) << history;
  server.stop();
  feed.stop();
}

// What a server with many topics, groups and models has to show, for longer than a stream may hold back.
TEST(LiveFeed, KeepsOfLargeSamplesTheNewestThatANewcomerCanBeSent) {
  Metrics metrics;
  Server server({.port = 0, .stream_bytes_max = 500'000}, metrics);
  std::atomic<int> samples{0};
  LiveFeed feed(server, [&samples] {
    Overview overview;
    overview.at_ms = ++samples;
    overview.topics.resize(500, {.name = std::string(50, 't')});
    return overview;
  });
  ASSERT_TRUE(server.start());
  const std::string ask = "GET /v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
  // Each newcomer is shown a sample at once, which goes into the history: no need to wait for seconds to pass.
  constexpr int kNewcomers = 30;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < kNewcomers; ++i) {
    RawClient& client = *clients.emplace_back(std::make_unique<RawClient>(server.port()));
    client.send(ask);
    EXPECT_NE(client.read_until("retry: 1000\n\n").find("200 OK"), std::string::npos);
    const std::string history = client.read_until("\n\n");
    ASSERT_TRUE(history.starts_with("event: history\n")) << i << ": " << history.substr(0, 100);
    EXPECT_LE(history.size(), 250'100u);
    const std::string overview = client.read_until("\n\n");
    ASSERT_TRUE(overview.starts_with("event: overview\n")) << i << ": " << overview.substr(0, 100);
    if (i + 1 == kNewcomers) EXPECT_GT(history.size(), 200'000u);
  }
  server.stop();
  feed.stop();
}

TEST(Overview, WritesUnknownMetricsAsNullAndOffsetsAsText) {
  Overview overview;
  overview.models.push_back(
      {.name = "fraud", .algorithm = "logistic_regression", .leading = "auc", .learner = {{"auc", NAN}}});
  overview.events.push_back({.topic = "t", .offset = (int64_t{1} << 53) + 1});
  const std::string text = to_json(overview);
  EXPECT_NE(text.find("\"learner\":{\"auc\":null}"), std::string::npos) << text;
  EXPECT_NE(text.find("\"offset\":\"9007199254740993\""), std::string::npos) << text;
}

TEST(ConsoleFiles, AreServedFromTheBinaryCompressedAndRevalidated) {
  Metrics metrics;
  Server server({.port = 0}, metrics);
  add_console_files(server);
  ASSERT_TRUE(server.start());
  const auto get = [&](const std::string& path, const std::string& headers) {
    RawClient client(server.port());
    client.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + "\r\n");
    return client.read_all();
  };
  const std::string page = get("/", "");
  EXPECT_NE(page.find("<title>Millrace</title>"), std::string::npos);
  EXPECT_NE(page.find("Content-Security-Policy: default-src 'self'"), std::string::npos);
  const std::string script = get("/console.js", "");
  const std::string compressed = get("/console.js", "Accept-Encoding: gzip, br\r\n");
  EXPECT_NE(compressed.find("Content-Encoding: gzip"), std::string::npos);
  EXPECT_LT(compressed.size(), script.size() / 2);
  const size_t etag = script.find("ETag: ") + 6;
  const std::string again =
      get("/console.js", "If-None-Match: " + script.substr(etag, script.find('\r', etag) - etag) + "\r\n");
  EXPECT_EQ(again.substr(9, 3), "304");
}

}  // namespace
}  // namespace millrace::http
