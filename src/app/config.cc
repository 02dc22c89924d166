#include "app/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <functional>

#include "base/text.h"

namespace millrace::app {
namespace {

// Says where in which file a value stands.
struct Place {
  const std::string& file;

  tl::unexpected<Error> error(const YAML::Node& node, const std::string& what, std::string hint = {}) const {
    const YAML::Mark mark = node.Mark();
    return fail(Errc::kInvalidArgument, fmt::format("{}:{}:{}: {}", file, mark.line + 1, mark.column + 1, what),
                std::move(hint));
  }
};

using KeyHandler = std::function<Status(const YAML::Node& value)>;
using Keys = std::map<std::string, KeyHandler>;

Status read_map(const YAML::Node& node, const std::string& path, const Keys& keys, const Place& place) {
  if (!node.IsMap())
    return place.error(node, fmt::format("{} must be a map", path.empty() ? "the configuration" : path));
  for (const auto& entry : node) {
    const auto name = entry.first.as<std::string>("");
    const auto handler = keys.find(name);
    if (handler == keys.end()) {
      std::vector<std::string> names;
      for (const auto& [known, unused] : keys) names.push_back(known);
      const auto nearest = nearest_name(name, names);
      return place.error(
          entry.first, fmt::format("unknown key '{}{}{}'", path, path.empty() ? "" : ".", name),
          nearest ? "did you mean " + *nearest + "?" : fmt::format("known here: {}", fmt::join(names, ", ")));
    }
    MILLRACE_RETURN_IF_ERROR(handler->second(entry.second));
  }
  return {};
}

Result<std::string> read_text(const YAML::Node& node, const Place& place) {
  if (!node.IsScalar()) return place.error(node, "expected a text");
  return node.Scalar();
}

// A value that `parse` reads from text into `target`; its error gets the place.
template <typename T, typename Parse>
KeyHandler parsed(T& target, const Place& place, Parse parse) {
  return [&target, &place, parse](const YAML::Node& node) -> Status {
    MILLRACE_ASSIGN_OR_RETURN(const std::string text, read_text(node, place));
    auto value = parse(text);
    if (!value) return place.error(node, value.error().message, value.error().hint);
    target = std::move(*value);
    return {};
  };
}

Result<std::string> any_text(std::string_view text) { return std::string(text); }

Result<bool> parse_truth(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not a truth value", text), "true or false");
}

Status read_settings(const YAML::Node& node, broker::Settings& settings, const Place& place) {
  if (!node.IsMap()) return place.error(node, "broker must be a map of Kafka's setting names");
  for (const auto& entry : node) {
    MILLRACE_ASSIGN_OR_RETURN(const std::string name, read_text(entry.first, place));
    MILLRACE_ASSIGN_OR_RETURN(const std::string value, read_text(entry.second, place));
    if (const auto set = broker::set_setting(settings, name, value); !set)
      return place.error(entry.first, set.error().message, set.error().hint);
  }
  return {};
}

Status read_pipelines(const YAML::Node& node, std::vector<std::string>& pipelines, const Place& place) {
  if (!node.IsSequence()) return place.error(node, "pipelines must be a list of files");
  const auto folder = std::filesystem::path(place.file).parent_path();
  pipelines.clear();
  for (const auto& item : node) {
    MILLRACE_ASSIGN_OR_RETURN(const std::string file, read_text(item, place));
    pipelines.push_back((folder / file).string());
  }
  return {};
}

Status check_contradictions(const ServerConfig& config, const YAML::Node& root, const Place& place) {
  const YAML::Node kafka = root["kafka"];
  if (!config.bootstrap.empty() && kafka && (kafka["listen"] || kafka["advertise"]))
    return place.error(kafka, "kafka has both bootstrap and listen: one uses a cluster, the other starts a broker",
                       "remove one of them");
  return {};
}

}  // namespace

std::string HostPort::to_string() const {
  return host.find(':') != std::string::npos ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<HostPort> HostPort::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && colon > 0) {
    std::string_view host = text.substr(0, colon);
    const auto port = parse_int64(text.substr(colon + 1));
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    const bool is_plain = host.find(':') == std::string_view::npos || bracketed;
    if (is_plain && port && *port >= 0 && *port <= 65'535)
      return HostPort{std::string(host), static_cast<uint16_t>(*port)};
  }
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not HOST:PORT", text), "write 127.0.0.1:9092 or [::1]:9092");
}

Status apply_config_file(ServerConfig& config, std::string_view text, const std::string& file,
                         const VariableLookup& variables) {
  const Place place{file};
  auto substituted = substitute_variables(text, variables);
  if (!substituted)
    return fail(substituted.error().code, file + ": " + substituted.error().message, substituted.error().hint);
  YAML::Node root;
  try {
    root = YAML::Load(*substituted);
  } catch (const YAML::Exception& e) {
    return fail(Errc::kInvalidArgument, fmt::format("{}:{}:{}: {}", file, e.mark.line + 1, e.mark.column + 1, e.msg));
  }
  if (root.IsNull()) return {};

  const Keys kafka_keys{
      {"listen", parsed(config.kafka_listen, place, HostPort::parse)},
      {"advertise", parsed(config.kafka_advertise, place, any_text)},
      {"bootstrap", parsed(config.bootstrap, place, any_text)},
  };
  const Keys http_keys{
      {"listen", parsed(config.http_listen, place, HostPort::parse)},
      {"allow_remote", parsed(config.http_allow_remote, place, parse_truth)},
      {"token", parsed(config.http_token, place, any_text)},
  };
  const Keys log_keys{{"level", parsed(config.log_level, place, parse_log_level)}};
  const Keys keys{
      {"data", parsed(config.data, place, any_text)},
      {"kafka", [&](const YAML::Node& node) { return read_map(node, "kafka", kafka_keys, place); }},
      {"http", [&](const YAML::Node& node) { return read_map(node, "http", http_keys, place); }},
      {"log", [&](const YAML::Node& node) { return read_map(node, "log", log_keys, place); }},
      {"broker", [&](const YAML::Node& node) { return read_settings(node, config.broker, place); }},
      {"pipelines", [&](const YAML::Node& node) { return read_pipelines(node, config.pipelines, place); }},
  };
  MILLRACE_RETURN_IF_ERROR(read_map(root, "", keys, place));
  return check_contradictions(config, root, place);
}

Status apply_environment(ServerConfig& config, const VariableLookup& variables) {
  const auto apply = [&](const char* name, auto& target, auto parse) -> Status {
    const auto text = variables(name);
    if (!text || text->empty()) return {};
    auto value = parse(*text);
    if (!value) return fail(value.error().code, fmt::format("{}: {}", name, value.error().message), value.error().hint);
    target = std::move(*value);
    return {};
  };
  MILLRACE_RETURN_IF_ERROR(apply("MILLRACE_DATA", config.data, any_text));
  MILLRACE_RETURN_IF_ERROR(apply("MILLRACE_KAFKA", config.kafka_listen, HostPort::parse));
  MILLRACE_RETURN_IF_ERROR(apply("MILLRACE_BOOTSTRAP", config.bootstrap, any_text));
  MILLRACE_RETURN_IF_ERROR(apply("MILLRACE_HTTP", config.http_listen, HostPort::parse));
  MILLRACE_RETURN_IF_ERROR(apply("MILLRACE_HTTP_TOKEN", config.http_token, any_text));
  return apply("MILLRACE_LOG_LEVEL", config.log_level, parse_log_level);
}

}  // namespace millrace::app
