#include "app/data_folder.h"

#include <fmt/core.h>
#include <signal.h>
#include <simdjson.h>

#include <cerrno>
#include <cstring>
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

Status write_server_addresses(const std::string& data_dir, const ServerAddresses& addresses) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("pid").number(addresses.pid);
  if (const auto start = start_of(addresses.pid)) json.key("started_ticks").number(*start);
  json.key("kafka").text(addresses.kafka);
  json.key("http").text(addresses.http).key("token").text(addresses.token).end_object();
  const std::string path = addresses_path(data_dir);
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  std::error_code error;
  std::filesystem::permissions(temporary, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
                               error);
  file << text << '\n';
  file.close();
  if (!file || error) return fail(Errc::kIo, fmt::format("cannot write {}: {}", temporary, std::strerror(errno)));
  std::filesystem::rename(temporary, path, error);
  if (error) return fail(Errc::kIo, fmt::format("cannot write {}: {}", path, error.message()));
  return {};
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

Result<std::string> instance_id(const std::string& data_dir, Random& random) {
  const std::string path = data_dir + "/instance";
  std::string text;
  if (std::ifstream file(path); file && std::getline(file, text) && Uuid::parse(text)) return text;
  // Replaced in one step: what a crash leaves behind is a whole file or none.
  const std::string temporary = path + ".tmp";
  text = Uuid::random(random).to_string();
  std::ofstream file(temporary, std::ios::trunc);
  file << text << '\n';
  file.close();
  if (!file) return fail(Errc::kIo, fmt::format("cannot write {}: {}", temporary, std::strerror(errno)));
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) return fail(Errc::kIo, fmt::format("cannot write {}: {}", path, error.message()));
  return text;
}

}  // namespace millrace::app
