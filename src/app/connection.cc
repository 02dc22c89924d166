#include "app/connection.h"

#include <fmt/core.h>

#include "app/data_folder.h"

namespace millrace::app {

client::Options connection(const CommandLine& line) {
  client::Options options;
  options.client_id = "millrace-cli";
  options.bootstrap = line.bootstrap;
  if (options.bootstrap.empty())
    if (const auto server = running_server(line.data)) options.bootstrap = server->kafka;
  if (options.bootstrap.empty()) options.bootstrap = "127.0.0.1:9092";
  return options;
}

Result<std::unique_ptr<client::Admin>> connect_admin(const CommandLine& line) {
  return client::Admin::create(connection(line));
}

Result<std::unique_ptr<KafkaLink>> connect_link(const CommandLine& line) {
  return KafkaLink::connect(connection(line).bootstrap, kAnswerLimit);
}

Result<client::TopicInfo> find_topic(client::Admin& admin, const std::string& name) {
  auto topic = admin.describe_topic(name, kAnswerLimit);
  if (!topic && topic.error().code == Errc::kNotFound) return no_such_topic(name);
  return topic;
}

tl::unexpected<Error> no_such_topic(const std::string& name) {
  return fail(Errc::kNotFound, fmt::format("there is no topic {}", name), "list those there are: millrace topic list");
}

}  // namespace millrace::app
