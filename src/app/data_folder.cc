#include "app/data_folder.h"

#include <fmt/core.h>
#include <signal.h>
#include <simdjson.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "base/json_writer.h"
#include "base/text.h"
#include "base/uuid.h"

namespace millrace::app {
namespace {

std::string addresses_path(const std::string& data_dir) { return data_dir + "/server.json"; }

// When a process began, in clock ticks since the system did (proc_pid_stat(5), field 22): what tells it from a later
// one that got its number. Nullopt where there is no such process, or the system does not say.
std::optional<int64_t> start_of(int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  // The name in brackets, field 2, may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  const auto fields = split(trim(std::string_view(text).substr(name_end + 1)), ' ');
  constexpr size_t kStart = 22 - 3;
  return fields.size() > kStart ? parse_int64(fields[kStart]) : std::nullopt;
}

// EPERM: it runs, under another user.
bool runs(int64_t pid) { return pid > 0 && (::kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH); }

}  // namespace

Status write_server_addresses(env::FileSystem& files, const std::string& data_dir, const ServerAddresses& addresses) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("pid").number(addresses.pid);
  if (const auto start = start_of(addresses.pid)) json.key("started_ticks").number(*start);
  json.key("kafka").text(addresses.kafka);
  json.key("http").text(addresses.http).key("token").text(addresses.token).end_object();
  text += '\n';
  return env::write_file_atomically(files, addresses_path(data_dir), as_byte_view(text), env::Readers::kOwner);
}

void remove_server_addresses(const std::string& data_dir) {
  std::error_code ignored;
  std::filesystem::remove(addresses_path(data_dir), ignored);
}

std::optional<ServerAddresses> running_server(const std::string& data_dir) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.load(addresses_path(data_dir)).get(root) != simdjson::SUCCESS) return std::nullopt;
  const auto text = [&](const char* key) {
    std::string_view value;
    return root[key].get(value) == simdjson::SUCCESS ? std::string(value) : std::string();
  };
  ServerAddresses addresses;
  if (root["pid"].get(addresses.pid) != simdjson::SUCCESS) return std::nullopt;
  if (!runs(addresses.pid)) return std::nullopt;
  int64_t started = 0;
  if (root["started_ticks"].get(started) == simdjson::SUCCESS && start_of(addresses.pid).value_or(started) != started)
    return std::nullopt;
  addresses.kafka = text("kafka");
  addresses.http = text("http");
  addresses.token = text("token");
  return addresses;
}

Result<std::string> instance_id(env::FileSystem& files, const std::string& data_dir, Random& random) {
  constexpr uint64_t kBytesMax = 4096;
  const std::string path = data_dir + "/instance";
  const auto kept = env::read_file(files, path, kBytesMax);
  if (!kept && kept.error().code != Errc::kNotFound) return tl::unexpected(kept.error());
  if (kept)
    if (std::string text(trim(as_text(*kept))); Uuid::parse(text)) return text;
  std::string text = Uuid::random(random).to_string();
  MILLRACE_RETURN_IF_ERROR(env::write_file_atomically(files, path, as_byte_view(text + "\n")));
  return text;
}

}  // namespace millrace::app
