#include "app/connection.h"

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

}  // namespace millrace::app
