#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/server.h"
#include "app/shutdown.h"
#include "env/posix_file_system.h"

namespace millrace::app {
namespace {

struct ServerFlags {
  std::string config_file;
  std::string kafka;
  std::string http;
  std::string log_level;
};

constexpr uint64_t kConfigBytesMax = 1 << 20;

// Flag over environment over file over default.
Result<ServerConfig> make_config(const ServerFlags& flags, const CLI::App& root, const CommandLine& line) {
  ServerConfig config;
  if (!flags.config_file.empty()) {
    env::PosixFileSystem files;
    MILLRACE_ASSIGN_OR_RETURN(const Bytes text, env::read_file(files, flags.config_file, kConfigBytesMax));
    MILLRACE_RETURN_IF_ERROR(apply_config_file(config, as_text(text), flags.config_file, environment_variable));
  }
  MILLRACE_RETURN_IF_ERROR(apply_environment(config, environment_variable));
  if (is_given(root, "--data")) MILLRACE_RETURN_IF_ERROR(apply_flag(config, "--data", line.data));
  if (is_given(root, "--bootstrap")) MILLRACE_RETURN_IF_ERROR(apply_flag(config, "--bootstrap", line.bootstrap));
  if (!flags.kafka.empty()) MILLRACE_RETURN_IF_ERROR(apply_flag(config, "--kafka", flags.kafka));
  if (!flags.http.empty()) MILLRACE_RETURN_IF_ERROR(apply_flag(config, "--http", flags.http));
  if (!flags.log_level.empty()) MILLRACE_RETURN_IF_ERROR(apply_flag(config, "--log-level", flags.log_level));
  if (!config.bootstrap.empty() && !flags.kafka.empty())
    return fail(Errc::kInvalidArgument,
                "--kafka and --bootstrap exclude each other: one starts a broker, the other uses a cluster",
                "remove one of them");
  return config;
}

Status run_server(const ServerConfig& config, std::ostream& out) {
  const ShutdownSignal shutdown;
  MILLRACE_ASSIGN_OR_RETURN(const auto server, Server::start(config));
  out << "Millrace " << MILLRACE_VERSION << '\n'
      << "Kafka:    " << server->kafka_address() << '\n'
      << "Console:  " << server->console_url() << '\n'
      << "Data:     " << config.data << std::endl;
  shutdown.wait();
  exit_within(kStopLimit, 0);
  server->stop();
  return {};
}

}  // namespace

void add_server_commands(CLI::App& root, CommandLine& line) {
  auto flags = std::make_shared<ServerFlags>();
  auto* server =
      root.add_subcommand("server", "run the broker, the pipelines, the warehouse and the console until Ctrl-C");
  server->add_option("--config", flags->config_file, "YAML; flags and MILLRACE_* variables override it")
      ->type_name("FILE");
  server->add_option("--kafka", flags->kafka, "where Kafka clients connect [127.0.0.1:9092]")->type_name("HOST:PORT");
  server->add_option("--http", flags->http, "where the console listens [127.0.0.1:8080]")->type_name("HOST:PORT");
  server->add_option("--log-level", flags->log_level, "debug, info, warning or error [info]")->type_name("LEVEL");
  server->callback([&root, &line, flags] {
    line.selected = [&root, &line, flags]() -> Status {
      MILLRACE_ASSIGN_OR_RETURN(const ServerConfig config, make_config(*flags, root, line));
      return run_server(config, line.out);
    };
  });
}

}  // namespace millrace::app
