#include "app/reference.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <vector>

#include "app/config.h"
#include "base/text.h"

namespace millrace::app {
namespace {

bool is_help(const CLI::Option& option) { return option.check_lname("help"); }

// "-p, --partitions INT"
std::string flag_text(const CLI::Option& option) {
  std::string text;
  for (const auto& name : option.get_snames()) text += (text.empty() ? "-" : ", -") + name;
  for (const auto& name : option.get_lnames()) text += (text.empty() ? "--" : ", --") + name;
  if (option.get_items_expected_max() == 0) return text;
  const std::string type = option.get_type_name();
  return text + " " + (type.starts_with("INT") || type.starts_with("UINT") ? "N" : type);
}

std::string argument_text(const CLI::Option& option) {
  std::string text = to_upper(option.get_name());
  std::ranges::replace(text, '-', '_');
  if (option.get_items_expected_max() > 1) text += "...";
  return option.get_required() ? text : "[" + text + "]";
}

// A table's cells are parted by bars.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? "\\|" : std::string(1, c);
  return escaped;
}

void add_options(std::string& page, const CLI::App& command) {
  std::string rows;
  for (const auto* option : command.get_options()) {
    if (is_help(*option)) continue;
    const std::string name = option->get_positional() ? argument_text(*option) : flag_text(*option);
    std::string meaning = option->get_description();
    if (!option->get_envname().empty()) meaning += fmt::format(" (`{}`)", option->get_envname());
    rows += fmt::format("| `{}` | {} |\n", cell(name), cell(meaning));
  }
  if (!rows.empty()) page += "| argument or flag | meaning |\n|---|---|\n" + rows + "\n";
}

void add_command(std::string& page, const CLI::App& command) {
  std::string usage = command_path(command);
  for (const auto* option : command.get_options())
    if (option->get_positional()) usage += " " + argument_text(*option);
  page += fmt::format("{} {}\n\n{}\n\n", command.get_parent()->get_parent() == nullptr ? "##" : "###", usage,
                      cell(command.get_description()));
  add_options(page, command);
  for (const auto* sub : command.get_subcommands(nullptr)) add_command(page, *sub);
}

}  // namespace

std::string command_path(const CLI::App& command) {
  return command.get_parent() == nullptr ? "millrace" : command_path(*command.get_parent()) + " " + command.get_name();
}

const CLI::App& chosen_command(const CLI::App& root) {
  const CLI::App* command = &root;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

std::string command_line_page(const CLI::App& root) {
  std::string page =
      "# The command line\n\n"
      "`millrace help command-line` prints this page; `make manual` writes it.\n\n"
      "Data goes to stdout, progress and notes to stderr. An error has three lines: what went wrong, why, and what to "
      "try; with `-o json` it is one JSON object. Nothing ever waits for an answer. Commands find the server that runs "
      "on the data folder by themselves. A flag goes over the environment: `MILLRACE_BOOTSTRAP` names the broker where "
      "neither `--bootstrap` nor `--data` is given.\n\n"
      "## Flags of every command\n\n";
  add_options(page, root);
  for (const auto* sub : root.get_subcommands(nullptr)) add_command(page, *sub);
  page.pop_back();
  return page;
}

std::string configuration_page() {
  return "# Configuration\n\n"
         "`millrace help configuration` prints this page; `make manual` writes it.\n\n"
         "`millrace server --config FILE` reads YAML. A flag goes over an environment variable, that over the file, "
         "that over the default. An unknown key is an error that names the nearest known one. `${NAME}` stands for an "
         "environment variable and `${NAME:-default}` for one that may be unset, here and in pipelines.\n\n"
         "```yaml\n"
         "data: /var/lib/millrace\n"
         "kafka: {listen: 0.0.0.0:9092, advertise: broker.example.org}\n"
         "http: {listen: 127.0.0.1:8080}\n"
         "broker: {num.partitions: 4}\n"
         "pipelines: [fraud.yaml]\n"
         "log: {level: info}\n"
         "```\n\n" +
         configuration_reference() +
         "\n## The data folder\n\n"
         "| name | what it is |\n|---|---|\n"
         "| `FORMAT` | the folder's version and the cluster's id; a folder of another version is refused unchanged |\n"
         "| `LOCK` | held while a server runs on the folder |\n"
         "| `instance` | under this name the server's pipelines are members of their groups, so that a server started "
         "after a crash goes on at once; do not copy it to a second server of the same cluster |\n"
         "| `server.json` | the running server's addresses, for the command line; readable by its owner alone |\n"
         "| `wal/`, `checkpoint`, `producer-ids` | the [write-ahead log](../formats/wal.md) and what it rests on |\n"
         "| `topics/` | a folder for each partition, with [segments](../formats/segments.md) like Kafka's |\n"
         "| `warehouse.duckdb` | the warehouse's tables |\n"
         "| `logs/` | the server's log, rotated |\n";
}

}  // namespace millrace::app
