#include "app/command_line.h"

#include <CLI/CLI.hpp>
#include <ostream>
#include <vector>

#include "base/json_writer.h"
#include "base/text.h"

namespace millrace::app {
namespace {

constexpr int kExitUsage = 2;

// CLI11 says "The following argument was not expected: topik"; users want to know what was meant.
Error unexpected_argument(const CLI::App& root, const std::vector<std::string>& rest) {
  const CLI::App* command = &root;
  for (const auto* chosen = command; chosen != nullptr;) {
    const auto subcommands = chosen->get_subcommands();
    chosen = subcommands.empty() ? nullptr : subcommands.front();
    if (chosen != nullptr) command = chosen;
  }
  std::vector<std::string> names;
  for (const auto* sub : command->get_subcommands(nullptr)) names.push_back(sub->get_name());
  for (const auto* option : command->get_options())
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  const std::string word = rest.empty() ? "" : rest.front();
  const auto nearest = nearest_name(word, names);
  std::string path = command == &root ? "millrace" : "millrace " + command->get_name();
  return {Errc::kInvalidArgument, path + " does not know '" + word + "'",
          nearest ? "did you mean " + *nearest + "?" : path + " --help"};
}

Error usage_error(const CLI::App& root, const CLI::ParseError& error) {
  if (const auto rest = root.remaining(true); !rest.empty()) return unexpected_argument(root, rest);
  const CLI::App* command = &root;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::string path = command == &root ? "millrace" : "millrace " + command->get_name();
  return {Errc::kInvalidArgument, error.what(), path + " --help"};
}

}  // namespace

int exit_code(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
    case Errc::kUnsupported:
    case Errc::kNotBuiltYet:
      return kExitUsage;
    case Errc::kNotFound:
      return 3;
    case Errc::kAlreadyExists:
    case Errc::kConflict:
      return 4;
    case Errc::kUnavailable:
    case Errc::kTimedOut:
      return 5;
    case Errc::kPermissionDenied:
      return 6;
    case Errc::kCancelled:
      return 130;
    case Errc::kCorruption:
    case Errc::kIo:
    case Errc::kOutOfSpace:
    case Errc::kTooLarge:
    case Errc::kInternal:
      return 1;
  }
  return 1;
}

void print_error(const Error& error, OutputFormat format, std::ostream& notes) {
  if (format == OutputFormat::kJson) {
    std::string text;
    JsonWriter json(text);
    json.begin_object().key("error").text(errc_name(error.code)).key("message").text(error.message);
    if (!error.hint.empty()) json.key("try").text(error.hint);
    json.end_object();
    notes << text << '\n';
    return;
  }
  // "cannot open x: no such file" reads as two lines: what, then why.
  const size_t colon = error.message.find(": ");
  notes << "error: " << error.message.substr(0, colon) << '\n';
  if (colon != std::string::npos) notes << "  why: " << error.message.substr(colon + 2) << '\n';
  if (!error.hint.empty()) notes << "  try: " << error.hint << '\n';
}

int run_command_line(int argc, const char* const* argv, std::ostream& out, std::ostream& notes) {
  CommandLine line(out, notes);
  CLI::App root(
      "Streaming data science in one binary: broker, pipelines, models that learn as events arrive, tables, console.",
      "millrace");
  root.require_subcommand(1);
  root.fallthrough();
  root.add_option("-o,--output", line.output_name, "table, json, csv or yaml")->envname("MILLRACE_OUTPUT");
  root.add_option("--bootstrap", line.bootstrap, "HOST:PORT of a broker, Millrace or Apache Kafka")
      ->envname("MILLRACE_BOOTSTRAP");
  root.add_option("--data", line.data, "the data folder")->envname("MILLRACE_DATA");
  add_server_commands(root, line);
  add_topic_commands(root, line);
  add_group_commands(root, line);
  add_demo_commands(root, line);
  add_pipeline_commands(root, line);
  add_model_commands(root, line);
  add_sql_commands(root, line);
  add_completion_commands(root, line);
  add_about_commands(root, line);

  try {
    root.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const CLI::App* command = &root;
    while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
    out << command->help();
    return 0;
  } catch (const CLI::ParseError& error) {
    print_error(usage_error(root, error), OutputFormat::kTable, notes);
    return kExitUsage;
  }

  const auto format = parse_output_format(line.output_name);
  const Status status = format ? (line.output = *format, line.selected()) : tl::unexpected(format.error());
  if (status) return 0;
  print_error(status.error(), line.output, notes);
  return exit_code(status.error().code);
}

}  // namespace millrace::app
