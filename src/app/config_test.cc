#include "app/config.h"

#include <gtest/gtest.h>

namespace millrace::app {
namespace {

Status apply(ServerConfig& config, std::string_view text) {
  return apply_config_file(config, text, "dir/millrace.yaml", [](std::string_view name) -> std::optional<std::string> {
    return name == "PORT" ? std::optional<std::string>("9999") : std::nullopt;
  });
}

TEST(Config, ReadsEveryKey) {
  ServerConfig config;
  const auto status = apply(config,
                            "data: /var/lib/millrace\n"
                            "kafka: {listen: \"0.0.0.0:${PORT}\", advertise: broker.example}\n"
                            "http: {listen: \"[::1]:80\", allow_remote: true, token: s}\n"
                            "broker: {num.partitions: 4}\n"
                            "pipelines: [a.yaml, b/c.yaml]\n"
                            "log: {level: debug}\n");
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(config.data, "/var/lib/millrace");
  EXPECT_EQ(config.kafka_listen.to_string(), "0.0.0.0:9999");
  EXPECT_EQ(config.kafka_advertise, "broker.example");
  EXPECT_EQ(config.http_listen.to_string(), "[::1]:80");
  EXPECT_TRUE(config.http_allow_remote);
  EXPECT_EQ(config.broker.num_partitions, 4);
  EXPECT_EQ(config.pipelines, (std::vector<std::string>{"dir/a.yaml", "dir/b/c.yaml"}));
  EXPECT_EQ(config.log_level, LogLevel::kDebug);
}

TEST(Config, AnEmptyFileChangesNothing) {
  ServerConfig config;
  EXPECT_TRUE(apply(config, ""));
  EXPECT_TRUE(apply(config, "# only a comment\n"));
}

TEST(Config, NamesPlaceAndNearestKey) {
  ServerConfig config;
  const auto status = apply(config, "data: x\nkafka:\n  lisen: 1.2.3.4:1\n");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "dir/millrace.yaml:3:3: unknown key 'kafka.lisen'");
  EXPECT_EQ(status.error().hint, "did you mean listen?");
}

TEST(Config, RefusesBadValuesWithTheirPlace) {
  for (const char* text : {"kafka: {listen: nine}", "kafka: {listen: \"h:65536\"}", "http: {allow_remote: maybe}",
                           "log: {level: loud}", "broker: {num.partitons: 4}", "pipelines: a.yaml", "[1]", "a: b: c",
                           "data: [x]", "kafka: {bootstrap: h}", "kafka: {listen: \"h:1\", bootstrap: \"h:2\"}"}) {
    ServerConfig config;
    const auto status = apply(config, text);
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().message.rfind("dir/millrace.yaml:1:", 0), 0u) << status.error().message;
  }
}

TEST(Config, TheEnvironmentOverridesTheFile) {
  ServerConfig config;
  ASSERT_TRUE(apply(config, "data: x\n"));
  ASSERT_TRUE(apply_environment(config, [](std::string_view name) -> std::optional<std::string> {
    return name == "MILLRACE_DATA" ? std::optional<std::string>("y") : std::nullopt;
  }));
  EXPECT_EQ(config.data, "y");
}

TEST(Config, AFlagThatCannotBeReadIsNamed) {
  ServerConfig config;
  ASSERT_TRUE(apply_flag(config, "--kafka", "127.0.0.1:7"));
  EXPECT_EQ(config.kafka_listen.port, 7);
  const auto status = apply_flag(config, "--http", "nine");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "--http: 'nine' is not HOST:PORT");
}

TEST(Config, AClusterWithoutAPortIsRefusedByTheNameOfTheVariable) {
  ServerConfig config;
  const auto status = apply_environment(config, [](std::string_view name) -> std::optional<std::string> {
    return name == "MILLRACE_BOOTSTRAP" ? std::optional<std::string>("a:1,h") : std::nullopt;
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "MILLRACE_BOOTSTRAP: cannot connect to a:1,h: 'h' is not HOST:PORT");
  EXPECT_EQ(status.error().hint, "name its port, too: h:9092");
}

TEST(HostPort, RefusesWhatIsNotOne) {
  for (const char* bad : {"", ":1", "h", "h:", "h:x", "::1:80", "h:-1"})
    EXPECT_FALSE(HostPort::parse(bad).has_value()) << bad;
}

}  // namespace
}  // namespace millrace::app
