#include "http/server.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <future>
#include <thread>

#include "base/host_port.h"
#include "http/client.h"
#include "http/internal/raw_client.h"

namespace millrace::http {
namespace {

using internal::RawClient;

class ServerTest : public ::testing::Test {
 protected:
  // `add` adds a test's own routes.
  void start(ServerOptions options = {}, const std::function<void(Server&)>& add = {}) {
    options.port = 0;
    server_.emplace(std::move(options), metrics_);
    server_->route("GET", "/hello", [](const Request& request, ResponderPtr responder) {
      const auto name = request.query.find("name");
      responder->send(
          {.content_type = "text/plain", .body = "hello " + (name == request.query.end() ? "" : name->second)});
    });
    server_->route("POST", "/echo", [](const Request& request, ResponderPtr responder) {
      responder->send({.content_type = "text/plain", .body = request.body});
    });
    server_->route("GET", "/dropped", [](const Request&, ResponderPtr) {});
    server_->route("GET", "/stream", [this](const Request&, ResponderPtr responder) { sink_ = responder->stream(); });
    server_->route("GET", "/files/*", [](const Request& request, ResponderPtr responder) {
      responder->send({.content_type = "text/plain", .body = request.path});
    });
    if (add) add(*server_);
    const Status started = server_->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  static std::string get(const std::string& path, const std::string& more = "Connection: close\r\n") {
    return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n";
  }
  std::string exchange(const std::string& text) {
    RawClient client(server_->port());
    client.send(text);
    return client.read_all();
  }

  Metrics metrics_;
  std::shared_ptr<EventSink> sink_;
  std::optional<Server> server_;
};

TEST_F(ServerTest, AnswersByRouteAndDecodesTheQuery) {
  start();
  EXPECT_NE(exchange(get("/hello?name=a+b%21")).find("hello a b!"), std::string::npos);
  EXPECT_NE(exchange(get("/files/x/y.js")).find("/files/x/y.js"), std::string::npos);
}

TEST_F(ServerTest, SaysWhatItDoesNotServe) {
  start();
  EXPECT_EQ(exchange(get("/nothing")).substr(9, 3), "404");
  EXPECT_EQ(exchange(get("/echo")).substr(9, 3), "405");
  EXPECT_EQ(exchange(get("/dropped")).substr(9, 3), "500");
}

TEST_F(ServerTest, KeepsTheConnectionForPipelinedRequests) {
  start();
  RawClient client(server_->port());
  client.send(get("/hello?name=1", "") + get("/hello?name=2", ""));
  EXPECT_NE(client.read_until("hello 1").find("hello 1"), std::string::npos);
  EXPECT_NE(client.read_until("hello 2").find("hello 2"), std::string::npos);
}

TEST_F(ServerTest, RefusesGarbageAndOversizedBodiesAndGoesOn) {
  start({.body_bytes_max = 10});
  EXPECT_EQ(exchange("\x16\x03\x01 not http at all\r\n\r\n").substr(9, 3), "400");
  EXPECT_EQ(exchange("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n01234567890").substr(9, 3),
            "413");
  EXPECT_EQ(exchange(get("/hello")).substr(9, 3), "200");
}

TEST_F(ServerTest, ChecksTheGuardBeforeAnyHandler) {
  start();
  EXPECT_EQ(exchange("GET /hello HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").substr(9, 3), "403");
}

TEST_F(ServerTest, StreamsEventsFromAnotherThreadUntilTheClientLeaves) {
  start();
  {
    RawClient client(server_->port());
    client.send(get("/stream", ""));
    client.read_until("retry: 1000\n\n");
    std::thread([this] { EXPECT_TRUE(sink_->send("tick", 7, "{\"n\":1}")); }).join();
    EXPECT_EQ(client.read_until("\n\n"), "event: tick\nid: 7\ndata: {\"n\":1}\n\n");
    EXPECT_TRUE(sink_->is_open());
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (sink_->is_open() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_FALSE(sink_->is_open());
  EXPECT_FALSE(sink_->send("tick", 8, "{}"));
}

TEST_F(ServerTest, DisconnectsAStreamThatDoesNotRead) {
  start({.stream_bytes_max = 1 << 20});
  RawClient client(server_->port());
  client.send(get("/stream", ""));
  client.read_until("retry: 1000\n\n");
  // However much the system's buffers take, a gigabyte is more.
  int sent = 0;
  while (sent < 1'000 && sink_->send("tick", 1, std::string(1 << 20, 'x'))) ++sent;
  EXPECT_LT(sent, 1'000);
  EXPECT_FALSE(sink_->is_open());
}

TEST_F(ServerTest, OneEventIsSentHoweverLargeItIs) {
  start({.stream_bytes_max = 100});
  RawClient client(server_->port());
  client.send(get("/stream", ""));
  client.read_until("retry: 1000\n\n");
  EXPECT_TRUE(sink_->send("tick", 1, std::string(100'000, 'x')));
  EXPECT_EQ(client.read_until("\n\n").size(), 100'000 + std::string_view("event: tick\nid: 1\ndata: \n\n").size());
}

TEST_F(ServerTest, SaysWhenTheClientOfARequestIsGone) {
  std::promise<ResponderPtr> asked;
  std::promise<void> gone;
  start({}, [&](Server& server) {
    server.route("GET", "/slow", [&](const Request&, ResponderPtr responder) {
      responder->on_gone([&gone] { gone.set_value(); });
      asked.set_value(std::move(responder));
    });
  });
  ResponderPtr waiting;
  {
    RawClient client(server_->port());
    client.send(get("/slow", ""));
    waiting = asked.get_future().get();
  }
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  waiting->send({.body = "too late"});
  EXPECT_NE(exchange(get("/hello?name=you")).find("hello you"), std::string::npos);
}

TEST_F(ServerTest, AnAnsweredClientAndOneThatSendsItsNextRequestAreNotGone) {
  std::promise<ResponderPtr> asked;
  bool gone = false;
  start({}, [&](Server& server) {
    server.route("GET", "/slow", [&](const Request&, ResponderPtr responder) {
      responder->on_gone([&gone] { gone = true; });
      asked.set_value(std::move(responder));
    });
  });
  {
    RawClient client(server_->port());
    client.send(get("/slow", "") + get("/hello?name=next", ""));
    asked.get_future().get()->send({.body = "slow answer"});
    EXPECT_NE(client.read_until("slow answer").find("200 OK"), std::string::npos);
    EXPECT_NE(client.read_until("hello next").find("hello next"), std::string::npos);
  }
  server_->stop();
  EXPECT_FALSE(gone);
}

TEST_F(ServerTest, WaitsWhereTheSystemOpensNoMoreConnections) {
  start();
  Counter& failed = metrics_.counter("millrace_http_accepts_failed_total", "");
  RawClient client(server_->port(), RawClient::kLater);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  client.connect();
  client.send(get("/hello?name=late"));
  const auto begin = std::chrono::steady_clock::now();
  while (failed.value() < 3 && std::chrono::steady_clock::now() - begin < std::chrono::seconds(10))
    std::this_thread::yield();
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_GE(failed.value(), 3u);
  EXPECT_GE(took, std::chrono::milliseconds(100));
  EXPECT_NE(client.read_all().find("hello late"), std::string::npos);
}

TEST_F(ServerTest, ServesAnIpv6AddressToOurOwnClient) {
  server_.emplace(ServerOptions{.host = "::1", .port = 0}, metrics_);
  server_->route("GET", "/hello", [](const Request&, ResponderPtr responder) { responder->send({.body = "hello"}); });
  if (!server_->start()) GTEST_SKIP() << "this machine has no IPv6";
  const auto answer =
      call(HostPort{"::1", server_->port()}.to_string(), "GET", "/hello", "", "", std::chrono::seconds(10));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "hello");
}

TEST_F(ServerTest, APortInUseIsAConflict) {
  start();
  Server second({.port = server_->port()}, metrics_);
  EXPECT_EQ(second.start().error().code, Errc::kConflict);
}

TEST_F(ServerTest, OtherThanLoopbackNeedsPermissionAndToken) {
  Server open({.host = "0.0.0.0", .port = 0}, metrics_);
  EXPECT_EQ(open.start().error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace millrace::http
