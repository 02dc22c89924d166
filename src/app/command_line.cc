#include "app/command_line.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <ostream>
#include <vector>

#include "app/reference.h"
#include "base/json_writer.h"
#include "base/text.h"

namespace millrace::app {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitNotFound = 3;
constexpr int kExitConflict = 4;
constexpr int kExitUnreachable = 5;
constexpr int kExitDenied = 6;
constexpr int kExitInterrupted = 128 + SIGINT;
constexpr int kExitPipeClosed = 128 + SIGPIPE;  // as a shell reports a program that SIGPIPE ended

std::vector<std::string> subcommand_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const auto* sub : command.get_subcommands(nullptr)) names.push_back(sub->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const auto* option : command.get_options())
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// CLI11 says "The following argument was not expected: topik"; users want to know what was meant.
Error unexpected_argument(const CLI::App& root, const std::string& word) {
  const CLI::App& command = chosen_command(root);
  const bool is_flag = word.starts_with('-');
  std::vector<std::string> names = is_flag ? flag_names(command) : subcommand_names(command);
  if (is_flag && &command != &root)
    for (auto& name : flag_names(root))
      if (name != "--help") names.push_back(std::move(name));
  const auto nearest = nearest_name(word, names);
  const std::string path = command_path(command);
  const std::string why =
      names.empty() ? "it takes no more arguments" : fmt::format("it has {}", fmt::join(names, ", "));
  return {Errc::kInvalidArgument, fmt::format("{} does not know '{}': {}", path, word, why),
          nearest ? "did you mean " + *nearest + "?" : path + " --help"};
}

Error usage_error(const CLI::App& root, const CLI::ParseError& error) {
  if (const auto rest = root.remaining(true); !rest.empty()) return unexpected_argument(root, rest.front());
  const CLI::App& command = chosen_command(root);
  const std::string path = command_path(command);
  const auto commands = subcommand_names(command);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !commands.empty())
    return {Errc::kInvalidArgument, fmt::format("{} needs a command: {}", path, fmt::join(commands, ", ")),
            path + " --help"};
  std::string why = error.what();
  if (constexpr std::string_view kConversion = "Could not convert: "; why.starts_with(kConversion))
    why = why.substr(kConversion.size()) + " is not a value that it takes";
  return {Errc::kInvalidArgument, fmt::format("{} was not understood: {}", path, why), path + " --help"};
}

// What every command takes is explained once, at the root; the help of the others says where.
void add_footers(CLI::App& command) {
  for (auto* sub : command.get_subcommands(nullptr)) {
    sub->footer("Every command takes -o, --bootstrap and --data: millrace --help");
    add_footers(*sub);
  }
}

// Whether whoever read our output has gone away, as `head` does.
bool reader_is_gone() {
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0;
}

}  // namespace

bool is_given(const CLI::App& root, const std::string& flag) {
  return std::ranges::find(root.parse_order(), root.get_option(flag)) != root.parse_order().end();
}

int exit_code(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
    case Errc::kUnsupported:
    case Errc::kNotBuiltYet:
      return kExitUsage;
    case Errc::kNotFound:
      return kExitNotFound;
    case Errc::kAlreadyExists:
    case Errc::kConflict:
      return kExitConflict;
    case Errc::kUnavailable:
    case Errc::kTimedOut:
      return kExitUnreachable;
    case Errc::kPermissionDenied:
      return kExitDenied;
    case Errc::kCancelled:
      return kExitInterrupted;
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
  root.set_version_flag("--version", std::string("millrace ") + MILLRACE_VERSION, "print the version");
  root.add_option("-o,--output", line.output_name, "table, json, csv or yaml [table]")
      ->type_name("FORMAT")
      ->envname("MILLRACE_OUTPUT");
  root.add_flag_callback("--json", [&line] { line.output_name = "json"; }, "the same as -o json");
  root.add_option("--bootstrap,--brokers", line.bootstrap,
                  "a broker, Millrace or Apache Kafka; beside --data the variable does not count "
                  "[the data folder's server, else 127.0.0.1:9092]")
      ->type_name("HOST:PORT")
      ->envname("MILLRACE_BOOTSTRAP");
  root.add_option("--data", line.data, "the data folder [./millrace-data]")
      ->type_name("FOLDER")
      ->envname("MILLRACE_DATA");
  add_server_commands(root, line);
  add_topic_commands(root, line);
  add_group_commands(root, line);
  add_config_commands(root, line);
  add_txn_commands(root, line);
  add_log_commands(root, line);
  add_doctor_command(root, line);
  add_demo_commands(root, line);
  add_pipeline_commands(root, line);
  add_model_commands(root, line);
  add_sql_commands(root, line);
  add_completion_commands(root, line);
  add_about_commands(root, line);

  add_footers(root);

  try {
    root.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const CLI::App& command = chosen_command(root);
    out << command.help(command.get_parent() == nullptr ? "" : command_path(*command.get_parent()));
    return 0;
  } catch (const CLI::CallForVersion& version) {
    out << version.what() << '\n';
    return 0;
  } catch (const CLI::ParseError& error) {
    const auto format = parse_output_format(line.output_name);
    print_error(usage_error(root, error), format.value_or(OutputFormat::kTable), notes);
    return kExitUsage;
  }

  // Who names a folder means the server that runs on it.
  if (is_given(root, "--data") && !is_given(root, "--bootstrap")) line.bootstrap.clear();
  const auto format = parse_output_format(line.output_name);
  Status status = format ? (line.output = *format, line.selected()) : tl::unexpected(format.error());
  out.flush();
  if (status && !out) {
    if (reader_is_gone()) return kExitPipeClosed;
    status = fail(Errc::kIo, "cannot write the output: not all of it reached stdout", "free disk space");
  }
  if (status) return 0;
  Error error = std::move(status.error());
  const int code = exit_code(error.code);
  if (error.hint.empty() && (code == kExitUsage || code == kExitNotFound))
    error.hint = command_path(chosen_command(root)) + " --help";
  print_error(error, line.output, notes);
  return code;
}

}  // namespace millrace::app
