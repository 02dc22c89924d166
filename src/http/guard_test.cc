#include "http/guard.h"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

Request request(std::map<std::string, std::string, std::less<>> headers, std::string path = "/v1/sql") {
  Request result;
  result.method = "POST";
  result.path = std::move(path);
  result.headers = std::move(headers);
  return result;
}

int status(const Request& request, const GuardOptions& options = {}) {
  const auto refusal = refuse(request, options);
  return refusal ? refusal->status : 200;
}

TEST(Guard, ServesLoopbackNames) {
  for (const char* host : {"localhost", "localhost:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::1]"})
    EXPECT_EQ(status(request({{"host", host}})), 200) << host;
}

TEST(Guard, RefusesForeignHostsAgainstDnsRebinding) {
  for (const char* host : {"evil.example", "127.0.0.1.evil.example", "127.0.0.1.evil", "localhost.evil.example:8080",
                           "127.0.0", "", "192.168.0.1:8080", "[::2]", "127.0.0.256"})
    EXPECT_EQ(status(request({{"host", host}})), 403) << host;
}

TEST(Guard, RefusesPagesOfOtherOrigins) {
  EXPECT_EQ(status(request({{"host", "localhost:8080"}, {"origin", "http://evil.example"}})), 403);
  EXPECT_EQ(status(request({{"host", "localhost:8080"}, {"origin", "http://localhost:3000"}})), 403);
  EXPECT_EQ(status(request({{"host", "localhost:8080"}, {"origin", "null"}})), 403);
  EXPECT_EQ(status(request({{"host", "localhost:8080"}, {"origin", "http://localhost:8080"}})), 200);
}

TEST(Guard, AsksForTheTokenWhereOneIsSet) {
  const GuardOptions options{.allow_remote = true, .token = "s3cret"};
  EXPECT_EQ(status(request({{"host", "millrace.example"}}), options), 401);
  EXPECT_EQ(status(request({{"host", "h"}, {"authorization", "Bearer s3cre"}}), options), 401);
  EXPECT_EQ(status(request({{"host", "h"}, {"authorization", "Bearer s3cret1"}}), options), 401);
  EXPECT_EQ(status(request({{"host", "h"}, {"authorization", "Bearer s3cret"}}), options), 200);
  EXPECT_EQ(status(request({{"host", "h"}, {"cookie", "a=b; millrace_token=s3cret"}}), options), 200);
  EXPECT_EQ(status(request({{"host", "h"}}, "/healthz"), options), 200);
}

}  // namespace
}  // namespace millrace::http
