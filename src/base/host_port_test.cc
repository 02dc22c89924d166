#include "base/host_port.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(HostPort, ReadsWhatItWrites) {
  for (const char* text : {"127.0.0.1:9092", "[::1]:9092", "localhost:0", "broker.example:65535"}) {
    const auto parsed = HostPort::parse(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->to_string(), text);
  }
  EXPECT_EQ(HostPort::parse("[::1]:9092")->host, "::1");
  EXPECT_EQ(HostPort::parse("[::1]:9092")->port, 9092);
}

TEST(HostPort, RefusesWhatIsNoPlace) {
  for (const char* text : {"", ":", ":9092", "localhost", "localhost:", "localhost:http", "localhost:65536",
                           "localhost:-1", "::1:9092", "[]:9092", "[::1]"})
    EXPECT_FALSE(HostPort::parse(text)) << text;
}

}  // namespace
}  // namespace millrace
