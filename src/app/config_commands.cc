#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/config_changes.h"
#include "app/connection.h"
#include "app/quota_changes.h"
#include "wire/describe_configs.h"

namespace millrace::app {
namespace {

using Described = wire::DescribeConfigsResponse::DescribeConfigsResourceResult;

struct ConfigFlags {
  std::string topic;
  int32_t broker = -1;
  bool all_brokers = false;
  std::optional<std::string> client;
  bool all_clients = false;
  bool changed = false;
  bool documentation = false;
  bool dry_run = false;
  std::vector<std::string> words;
};

Result<ConfigTarget> target_of(const ConfigFlags& flags, const KafkaLink& link) {
  if (!flags.topic.empty()) return topic_target(flags.topic);
  if (flags.all_brokers) return all_brokers_target();
  if (flags.broker >= 0) return broker_target(flags.broker);
  if (link.brokers().empty()) return fail(Errc::kUnavailable, "the cluster has no broker at the moment", "try again");
  return broker_target(link.brokers().front().id);
}

// Kafka's names.
std::string source_name(int8_t source) {
  static constexpr std::array kNames = {"UNKNOWN",
                                        "DYNAMIC_TOPIC_CONFIG",
                                        "DYNAMIC_BROKER_CONFIG",
                                        "DYNAMIC_DEFAULT_BROKER_CONFIG",
                                        "STATIC_BROKER_CONFIG",
                                        "DEFAULT_CONFIG",
                                        "DYNAMIC_BROKER_LOGGER_CONFIG",
                                        "DYNAMIC_CLIENT_METRICS_CONFIG",
                                        "DYNAMIC_GROUP_CONFIG"};
  return source >= 0 && static_cast<size_t>(source) < kNames.size() ? kNames[static_cast<size_t>(source)] : kNames[0];
}

std::string type_name(int8_t type) {
  static constexpr std::array kNames = {"unknown", "boolean", "string", "int",   "short",
                                        "long",    "double",  "list",   "class", "password"};
  return type >= 0 && static_cast<size_t>(type) < kNames.size() ? kNames[static_cast<size_t>(type)] : kNames[0];
}

constexpr int8_t kDefaultSource = 5;

// What would hold, the one that holds first: "DYNAMIC_TOPIC_CONFIG retention.ms=1000, DEFAULT_CONFIG log.…=…".
std::string synonyms_text(const Described& config) {
  std::string text;
  for (const auto& synonym : config.synonyms)
    text += fmt::format("{}{} {}={}", text.empty() ? "" : ", ", source_name(synonym.source), synonym.name,
                        synonym.value.value_or(""));
  return text;
}

Cell value_cell(const Described& config) {
  if (config.is_sensitive || !config.value) return {};
  return *config.value;
}

Result<std::vector<Described>> describe(KafkaLink& link, const ConfigTarget& target,
                                        std::optional<std::vector<std::string>> names) {
  wire::DescribeConfigsRequest request;
  request.include_synonyms = true;
  request.include_documentation = link.version<wire::DescribeConfigsRequest>().value_or(0) >= 3;
  request.resources.push_back({target.type, target.name, std::move(names)});
  MILLRACE_ASSIGN_OR_RETURN(auto answer, link.ask(target.node, request));
  if (answer.results.empty()) return fail(Errc::kInternal, fmt::format("no answer for {}", target.text));
  auto& result = answer.results.front();
  if (target.type == kTopicResource && result.error_code == wire::ErrorCode::kUnknownTopicOrPartition)
    return no_such_topic(target.name);
  MILLRACE_RETURN_IF_ERROR(to_status(result.error_code, fmt::format("cannot describe the settings of {}", target.text),
                                     result.error_message));
  std::ranges::sort(result.configs, {}, &Described::name);
  return std::move(result.configs);
}

Status list_configs(const CommandLine& line, const ConfigFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_ASSIGN_OR_RETURN(const ConfigTarget target, target_of(flags, *link));
  MILLRACE_ASSIGN_OR_RETURN(const auto configs, describe(*link, target, std::nullopt));
  Listing listing{{"setting", "value", "source", "type", "read_only"},
                  {},
                  flags.all_brokers ? "nothing is set for all brokers" : target.text + " has nothing but defaults"};
  if (flags.documentation) listing.columns.emplace_back("documentation");
  for (const Described& config : configs) {
    if (flags.changed && config.config_source == kDefaultSource) continue;
    auto& row =
        listing.rows.emplace_back(std::vector<Cell>{config.name, value_cell(config), source_name(config.config_source),
                                                    type_name(config.config_type), config.read_only});
    if (flags.documentation) row.emplace_back(config.documentation.value_or(""));
  }
  line.show(listing);
  return {};
}

Status get_configs(const CommandLine& line, const ConfigFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_ASSIGN_OR_RETURN(const ConfigTarget target, target_of(flags, *link));
  MILLRACE_ASSIGN_OR_RETURN(const auto configs, describe(*link, target, flags.words));
  Listing listing{{"setting", "value", "source", "type", "read_only", "synonyms", "documentation"}, {}, ""};
  for (const auto& name : flags.words) {
    const auto found = std::ranges::find(configs, name, &Described::name);
    if (found == configs.end() && flags.all_brokers)
      return fail(Errc::kNotFound, fmt::format("{} is not set for all brokers", name),
                  "what holds: millrace config get " + name);
    if (found == configs.end())
      return fail(Errc::kNotFound, fmt::format("{} has no setting {}", target.text, name),
                  "list those there are: millrace config list" +
                      (flags.topic.empty() ? std::string() : " --topic " + flags.topic));
    listing.rows.push_back({found->name, value_cell(*found), source_name(found->config_source),
                            type_name(found->config_type), found->read_only, synonyms_text(*found),
                            found->documentation.value_or("")});
  }
  line.show(listing);
  return {};
}

Status change(const CommandLine& line, const ConfigFlags& flags, bool unset) {
  std::vector<ConfigChange> changes;
  for (const auto& word : flags.words) {
    if (unset) {
      changes.push_back({word, std::nullopt});
      continue;
    }
    MILLRACE_ASSIGN_OR_RETURN(changes.emplace_back(), parse_config_change(word));
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  std::string whose;
  if (flags.client || flags.all_clients) {
    whose = flags.client ? "client " + *flags.client : "all clients";
    MILLRACE_RETURN_IF_ERROR(change_quotas(*link, flags.client, changes, flags.dry_run));
  } else {
    MILLRACE_ASSIGN_OR_RETURN(const ConfigTarget target, target_of(flags, *link));
    whose = target.text;
    MILLRACE_RETURN_IF_ERROR(change_configs(*link, target, changes, flags.dry_run));
  }
  for (const auto& one : changes)
    line.notes << fmt::format("{}{}: {}{}\n", flags.dry_run ? "could be done: " : "", whose, one.name,
                              one.value ? " = " + *one.value : " unset");
  return {};
}

Status list_clients(const CommandLine& line) {
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_ASSIGN_OR_RETURN(const Listing listing, list_quotas(*link));
  line.show(listing);
  return {};
}

// The targets: a topic, a broker, all brokers, and where quotas can be changed, a client id or all clients.
void add_target_flags(CLI::App& command, ConfigFlags& flags, bool with_clients) {
  auto* topic = command.add_option("-t,--topic", flags.topic, "a topic's settings [the broker's]");
  auto* broker = command.add_option("--broker-id", flags.broker, "of which broker [the first]");
  auto* all = command.add_flag("--all-brokers", flags.all_brokers, "what all brokers have unless they say otherwise");
  topic->excludes(broker)->excludes(all);
  broker->excludes(all);
  if (!with_clients) return;
  auto* client = command.add_option("--client", flags.client, "what clients with this client id may send and get");
  auto* clients =
      command.add_flag("--all-clients", flags.all_clients, "what all clients may that have no quota of their own");
  client->excludes(clients);
  for (auto* other : {topic, broker, all}) {
    client->excludes(other);
    clients->excludes(other);
  }
}

}  // namespace

void add_config_commands(CLI::App& root, CommandLine& line) {
  auto* config = root.add_subcommand("config", "settings of topics and brokers, by Kafka's names");
  config->require_subcommand(1);
  const auto add = [&](const char* name, const char* description, bool with_clients, auto run) {
    auto flags = std::make_shared<ConfigFlags>();
    auto* command = config->add_subcommand(name, description);
    add_target_flags(*command, *flags, with_clients);
    command->callback([&line, flags, run] { line.selected = [&line, flags, run] { return run(line, *flags); }; });
    return std::pair(command, flags);
  };
  const auto [list, listed] = add("list", "every setting, its value, and where that comes from", false, list_configs);
  list->add_flag("--changed", listed->changed, "only those that are not at their default");
  list->add_flag("--documentation", listed->documentation, "what each means, too");

  const auto [get, got] =
      add("get", "a setting: value, source, what else would hold, documentation", false, get_configs);
  get->add_option("settings", got->words, "their names")->required();

  const auto [set, made] =
      add("set", "change settings, at once and for good", true,
          [](const CommandLine& to, const ConfigFlags& flags) { return change(to, flags, false); });
  set->add_option("settings", made->words, "NAME=VALUE")->required();
  set->add_flag("--dry-run", made->dry_run, "only ask the broker whether it would take them");

  const auto [unset, undone] =
      add("unset", "let settings fall back to what holds without them", true,
          [](const CommandLine& to, const ConfigFlags& flags) { return change(to, flags, true); });
  unset->add_option("settings", undone->words, "their names")->required();
  unset->add_flag("--dry-run", undone->dry_run, "only ask the broker whether it would do it");

  auto* clients = config->add_subcommand("clients", "how many bytes a second clients may send and get");
  clients->callback([&line] { line.selected = [&line] { return list_clients(line); }; });
}

}  // namespace millrace::app
