#include "app/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>

#include "base/check.h"
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

template <typename T>
Status assign(T& target, Result<T> value) {
  if (!value) return tl::unexpected(value.error());
  target = std::move(*value);
  return {};
}

Result<bool> parse_truth(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not a truth value", text), "true or false");
}

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "";
}

// A key of the configuration. All that reads or describes the configuration goes by the table of these: the file, the
// environment, the flags, the manual.
struct Key {
  std::string_view name;  // section.key
  std::string_view type;
  std::string_view environment;  // empty: none
  std::string_view flag;         // of `millrace server`; empty: none
  std::string_view documentation;
  // From a scalar, and the value as the manual shows it. Null where the value is a list or a map.
  Status (*set)(ServerConfig& config, std::string_view text);
  std::string (*show)(const ServerConfig& config);
};

constexpr std::string_view kPipelines = "pipelines";
constexpr std::string_view kBroker = "broker";

constexpr Key kKeys[] = {
    {"data", "folder", "MILLRACE_DATA", "--data",
     "The data folder: everything that is kept. Made when it is missing; one process at a time.",
     [](ServerConfig& c, std::string_view text) { return assign<std::string>(c.data, std::string(text)); },
     [](const ServerConfig& c) { return c.data; }},
    {"kafka.listen", "HOST:PORT", "MILLRACE_KAFKA", "--kafka",
     "Where Kafka clients connect. Port 0 takes any that is free.",
     [](ServerConfig& c, std::string_view text) { return assign(c.kafka_listen, HostPort::parse(text)); },
     [](const ServerConfig& c) { return c.kafka_listen.to_string(); }},
    {"kafka.advertise", "HOST or HOST:PORT", "", "",
     "The address that clients are told to use, where it is another than the one listened on: behind a container's or "
     "a "
     "router's port.",
     [](ServerConfig& c, std::string_view text) { return assign<std::string>(c.kafka_advertise, std::string(text)); },
     [](const ServerConfig& c) { return c.kafka_advertise; }},
    {"kafka.bootstrap", "HOST:PORT", "MILLRACE_BOOTSTRAP", "--bootstrap",
     "Use this cluster, Apache Kafka or another Millrace; no broker starts. Excludes `kafka.listen`.",
     [](ServerConfig& c, std::string_view text) {
       const auto brokers = parse_bootstrap(text);
       return brokers ? assign<std::string>(c.bootstrap, std::string(text)) : tl::unexpected(brokers.error());
     },
     [](const ServerConfig& c) { return c.bootstrap; }},
    {"http.listen", "HOST:PORT", "MILLRACE_HTTP", "--http",
     "Where the console and the HTTP API listen. Port 0 takes any that is free.",
     [](ServerConfig& c, std::string_view text) { return assign(c.http_listen, HostPort::parse(text)); },
     [](const ServerConfig& c) { return c.http_listen.to_string(); }},
    {"http.allow_remote", "true or false", "", "",
     "Serve other machines, too. An `http.listen` other than loopback needs this and a token.",
     [](ServerConfig& c, std::string_view text) { return assign(c.http_allow_remote, parse_truth(text)); },
     [](const ServerConfig& c) -> std::string { return c.http_allow_remote ? "true" : "false"; }},
    {"http.token", "text", "MILLRACE_HTTP_TOKEN", "",
     "What HTTP clients must send, as `Authorization: Bearer TOKEN`. Write `${NAME}` here to keep it out of the file.",
     [](ServerConfig& c, std::string_view text) { return assign<std::string>(c.http_token, std::string(text)); },
     [](const ServerConfig& c) { return c.http_token; }},
    {kBroker, "map", "", "", "The broker's settings, by Kafka's names: see [the broker](broker.md#settings).", nullptr,
     nullptr},
    {kPipelines, "list of files", "", "",
     "Pipelines that run inside the server; paths relative to the configuration file's folder.", nullptr, nullptr},
    {"log.level", "debug, info, warning or error", "MILLRACE_LOG_LEVEL", "--log-level",
     "The least that goes to `logs/millrace.log` in the data folder. Warnings and errors go to stderr as well.",
     [](ServerConfig& c, std::string_view text) { return assign(c.log_level, parse_log_level(text)); },
     [](const ServerConfig& c) { return std::string(level_name(c.log_level)); }},
};

Result<std::string> read_text(const YAML::Node& node, const Place& place) {
  if (!node.IsScalar()) return place.error(node, "expected a text");
  return node.Scalar();
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

Status read_value(ServerConfig& config, const Key& key, const YAML::Node& node, const Place& place) {
  if (key.name == kBroker) return read_settings(node, config.broker, place);
  if (key.name == kPipelines) return read_pipelines(node, config.pipelines, place);
  MILLRACE_ASSIGN_OR_RETURN(const std::string text, read_text(node, place));
  if (const auto set = key.set(config, text); !set) return place.error(node, set.error().message, set.error().hint);
  return {};
}

tl::unexpected<Error> unknown_key(const YAML::Node& key, const std::string& section, const std::string& name,
                                  const Place& place) {
  std::vector<std::string> known;  // what may stand beside it
  for (const Key& other : kKeys) {
    if (!other.name.starts_with(section)) continue;
    const std::string_view rest = other.name.substr(section.size());
    if (std::string first(rest.substr(0, rest.find('.'))); known.empty() || known.back() != first)
      known.push_back(std::move(first));
  }
  const auto nearest = nearest_name(name, known);
  return place.error(
      key, fmt::format("unknown key '{}{}'", section, name),
      nearest ? "did you mean " + *nearest + "?" : fmt::format("known here: {}", fmt::join(known, ", ")));
}

// `section` is the path of `node` with a dot behind it; empty at the top.
Status read_section(ServerConfig& config, const YAML::Node& node, const std::string& section, const Place& place) {
  if (!node.IsMap())
    return place.error(node, fmt::format("{} must be a map", section.empty() ? "the configuration"
                                                                             : section.substr(0, section.size() - 1)));
  for (const auto& entry : node) {
    const auto name = entry.first.as<std::string>("");
    const std::string path = section + name;
    const auto* key = std::find_if(std::begin(kKeys), std::end(kKeys), [&](const Key& k) { return k.name == path; });
    if (key != std::end(kKeys)) {
      MILLRACE_RETURN_IF_ERROR(read_value(config, *key, entry.second, place));
      continue;
    }
    const bool is_section = !name.empty() && std::any_of(std::begin(kKeys), std::end(kKeys),
                                                         [&](const Key& k) { return k.name.starts_with(path + "."); });
    if (!is_section) return unknown_key(entry.first, section, name, place);
    MILLRACE_RETURN_IF_ERROR(read_section(config, entry.second, path + ".", place));
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

  MILLRACE_RETURN_IF_ERROR(read_section(config, root, "", place));
  return check_contradictions(config, root, place);
}

Status apply_environment(ServerConfig& config, const VariableLookup& variables) {
  for (const Key& key : kKeys) {
    if (key.environment.empty()) continue;
    const auto text = variables(key.environment);
    if (!text || text->empty()) continue;
    if (const auto set = key.set(config, *text); !set)
      return fail(set.error().code, fmt::format("{}: {}", key.environment, set.error().message), set.error().hint);
  }
  return {};
}

Status apply_flag(ServerConfig& config, std::string_view flag, std::string_view text) {
  const auto* key = std::find_if(std::begin(kKeys), std::end(kKeys), [&](const Key& k) { return k.flag == flag; });
  MILLRACE_CHECK(key != std::end(kKeys), "a flag that is not in the table");
  if (const auto set = key->set(config, text); !set)
    return fail(set.error().code, fmt::format("{}: {}", flag, set.error().message), set.error().hint);
  return {};
}

std::string configuration_reference() {
  const ServerConfig defaults;
  const auto code = [](std::string_view text) { return text.empty() ? std::string("–") : fmt::format("`{}`", text); };
  std::string table = "| key | type | default | environment | flag | meaning |\n|---|---|---|---|---|---|\n";
  for (const Key& key : kKeys)
    table += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", key.name, key.type,
                         code(key.show == nullptr ? "" : key.show(defaults)), code(key.environment), code(key.flag),
                         key.documentation);
  return table;
}

}  // namespace millrace::app
