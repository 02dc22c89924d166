#include "base/host_port.h"

#include <gtest/gtest.h>

#include <array>

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

TEST(Bootstrap, NamesBrokersSeparatedByCommas) {
  const auto brokers = parse_bootstrap(" a:1, [::1]:2,,127.0.0.1:3 ,");
  ASSERT_TRUE(brokers) << brokers.error().message;
  ASSERT_EQ(brokers->size(), 3U);
  EXPECT_EQ((*brokers)[0].to_string(), "a:1");
  EXPECT_EQ((*brokers)[1].to_string(), "[::1]:2");
  EXPECT_EQ((*brokers)[2].to_string(), "127.0.0.1:3");
}

TEST(Bootstrap, AssumesNoPortButSaysHowToNameIt) {
  for (const auto& [text, said, tried] :
       {std::array{"foo", "'foo'", "foo:9092"}, std::array{"a:1,foo", "'foo'", "foo:9092"},
        std::array{"[::1]", "'[::1]'", "[::1]:9092"}, std::array{"::1", "'::1'", "[::1]:9092"},
        std::array{"foo:", "'foo:'", "127.0.0.1:9092"}, std::array{"foo:http", "'foo:http'", "127.0.0.1:9092"}}) {
    const auto brokers = parse_bootstrap(text);
    ASSERT_FALSE(brokers) << text;
    EXPECT_EQ(brokers.error().code, Errc::kInvalidArgument);
    EXPECT_NE(brokers.error().message.find(said), std::string::npos) << brokers.error().message;
    EXPECT_NE(brokers.error().hint.find(tried), std::string::npos) << brokers.error().hint;
  }
}

TEST(Bootstrap, NeedsABroker) {
  for (const char* text : {"", " ", ","}) EXPECT_FALSE(parse_bootstrap(text)) << text;
}

}  // namespace
}  // namespace millrace
