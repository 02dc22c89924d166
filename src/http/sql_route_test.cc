#include "http/sql_route.h"

#include <gtest/gtest.h>

#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "env/temporary_folder.h"
#include "http/client.h"
#include "http/internal/raw_client.h"

namespace millrace::http {
namespace {

constexpr const char* kEndless =
    "SELECT count(*) FROM range(1000000000) a(i), range(1000000000) b(j) WHERE i * j % 7 = 3";

class SqlRouteTest : public ::testing::Test {
 protected:
  SqlRouteTest() {
    folder_ = *env::TemporaryFolder::make("sql_route");
    warehouse_ =
        *warehouse::Warehouse::open({.directory = folder_->path(), .cluster = {}}, clock_, files_, metrics_, nullptr);
    server_.route("POST", "/v1/sql", [this](const Request& request, ResponderPtr responder) {
      answer_sql(*warehouse_, request, std::move(responder));
    });
    EXPECT_TRUE(server_.start());
  }
  ~SqlRouteTest() override {
    warehouse_->stop();
    server_.stop();
  }
  Response ask(const std::string& query, const std::string& sql) {
    auto answer = call("127.0.0.1:" + std::to_string(server_.port()), "POST", "/v1/sql" + query, sql, "",
                       std::chrono::seconds(60));
    EXPECT_TRUE(answer) << answer.error().message;
    return answer.value_or(Response{});
  }

  env::SystemClock clock_;
  env::PosixFileSystem files_;
  Metrics metrics_;
  std::unique_ptr<env::TemporaryFolder> folder_;
  std::unique_ptr<warehouse::Warehouse> warehouse_;
  Server server_{{.port = 0}, metrics_};
};

TEST_F(SqlRouteTest, TakesTimesFromAMillisecondToAnHour) {
  EXPECT_EQ(ask("?format=csv&timeout_ms=3600000", "SELECT 1 AS n").body, "n\n1\n");
  for (const char* ms : {"0", "-1", "3600001", "9223372036854775807", "9223372036854775808", "1s", ""}) {
    const Response refused = ask("?timeout_ms=" + std::string(ms), "SELECT 1 AS n");
    EXPECT_EQ(refused.status, 400) << ms;
    EXPECT_NE(refused.body.find("timeout_ms is not a number from 1 to 3600000"), std::string::npos) << refused.body;
  }
  EXPECT_EQ(ask("?timeout_ms=50", kEndless).status, 504);
}

TEST_F(SqlRouteTest, AStatementWhoseClientHangsUpMakesWayForTheNext) {
  {
    internal::RawClient gone(server_.port());
    const std::string body = kEndless;
    gone.send("POST /v1/sql?timeout_ms=3600000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  EXPECT_EQ(ask("?format=csv", "SELECT 1 AS n").body, "n\n1\n");
}

}  // namespace
}  // namespace millrace::http
