#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/host_port.h"
#include "base/logging.h"
#include "base/result.h"
#include "base/substitute.h"
#include "broker/settings.h"

namespace millrace::app {

// What `millrace server` runs with.
struct ServerConfig {
  std::string data = "./millrace-data";
  HostPort kafka_listen{"127.0.0.1", 9092};
  std::string kafka_advertise;  // HOST or HOST:PORT that clients are told; empty: where it listens
  std::string bootstrap;        // not empty: use this cluster, start no broker
  HostPort http_listen{"127.0.0.1", 8080};
  bool http_allow_remote = false;
  std::string http_token;
  broker::Settings broker;
  std::vector<std::string> pipelines;  // files, as given or relative to the configuration file
  std::vector<std::pair<std::string, std::string>>
      inline_pipelines;  // name for messages, YAML: those that the program brings
  LogLevel log_level = LogLevel::kInfo;
};

// Change `config` by the YAML in `text`, which came from `file` (named in messages as file:line:column). Variables are
// substituted first. Unknown keys, values of the wrong kind and contradictions are kInvalidArgument with what was
// expected.
Status apply_config_file(ServerConfig& config, std::string_view text, const std::string& file,
                         const VariableLookup& variables);

// Change `config` by the variables that are set: MILLRACE_DATA, MILLRACE_KAFKA, ...; configuration_reference() has them
// all.
Status apply_environment(ServerConfig& config, const VariableLookup& variables);

// Change `config` by a flag of `millrace server` ("--kafka") and its value.
Status apply_flag(ServerConfig& config, std::string_view flag, std::string_view text);

// A Markdown table of every key: type, default, variable, flag, meaning.
std::string configuration_reference();

}  // namespace millrace::app
