#include "app/data_folder.h"

#include <fmt/core.h>
#include <signal.h>
#include <simdjson.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/json_writer.h"
#include "base/uuid.h"

namespace millrace::app {
namespace {

std::string addresses_path(const std::string& data_dir) { return data_dir + "/server.json"; }

}  // namespace

Status write_server_addresses(const std::string& data_dir, const ServerAddresses& addresses) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("pid").number(addresses.pid).key("kafka").text(addresses.kafka);
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
  // EPERM: it runs, under another user.
  if (addresses.pid <= 0 || (::kill(static_cast<pid_t>(addresses.pid), 0) != 0 && errno == ESRCH)) return std::nullopt;
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
