#pragma once

#include <optional>
#include <string>

#include "base/random.h"
#include "base/result.h"
#include "env/file_system.h"

namespace millrace::app {

// Where a running server can be reached; kept as server.json in its data folder, so that the command line finds it.
struct ServerAddresses {
  int64_t pid = 0;
  std::string kafka;  // HOST:PORT
  std::string http;   // HOST:PORT
  std::string token;  // for the HTTP API; empty: none needed
};

// Write server.json, readable by its owner alone (it holds the token); replaced in one step.
Status write_server_addresses(env::FileSystem& files, const std::string& data_dir, const ServerAddresses& addresses);

// Forget them, at a clean stop.
void remove_server_addresses(const std::string& data_dir);

// The addresses of the server that runs on `data_dir`; nullopt where none does (no file, or its process is
// gone, even where another has its number now).
std::optional<ServerAddresses> running_server(const std::string& data_dir);

// What tells this data folder's server from every other, in consumer groups: the text in the file `instance`, made by
// its first server. The folder must exist and be this process's.
Result<std::string> instance_id(env::FileSystem& files, const std::string& data_dir, Random& random);

}  // namespace millrace::app
