#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "app/output.h"
#include "base/result.h"

namespace CLI {
class App;
}

namespace millrace::app {

// What every command of the command line shares.
struct CommandLine {
  // Filled from the flags before a command runs.
  // Of --bootstrap, or MILLRACE_BOOTSTRAP where neither that nor --data is given. Empty: the running server of the data
  // folder, else 127.0.0.1:9092.
  std::string bootstrap;
  std::string data = "./millrace-data";
  std::string output_name = "table";
  OutputFormat output = OutputFormat::kTable;

  std::ostream& out;    // data
  std::ostream& notes;  // progress, notes, errors

  // The command that the arguments chose; set by its callback while they are parsed, run afterwards.
  std::function<Status()> selected;

  CommandLine(std::ostream& data_out, std::ostream& notes_out) : out(data_out), notes(notes_out) {}

  void show(const Listing& listing) const { print(listing, output, out, notes); }
};

// Whether a flag that every command takes ("--data") stands on the command line: its environment variable does not
// count. After the parse.
bool is_given(const CLI::App& root, const std::string& flag);

// One per noun; each adds its verbs to `root`. `line` must outlive the parse and the run.
void add_server_commands(CLI::App& root, CommandLine& line);
void add_topic_commands(CLI::App& root, CommandLine& line);
void add_group_commands(CLI::App& root, CommandLine& line);
void add_config_commands(CLI::App& root, CommandLine& line);
void add_txn_commands(CLI::App& root, CommandLine& line);
void add_log_commands(CLI::App& root, CommandLine& line);
void add_doctor_command(CLI::App& root, CommandLine& line);
void add_demo_commands(CLI::App& root, CommandLine& line);
void add_pipeline_commands(CLI::App& root, CommandLine& line);
void add_model_commands(CLI::App& root, CommandLine& line);
void add_sql_commands(CLI::App& root, CommandLine& line);
void add_completion_commands(CLI::App& root, CommandLine& line);
void add_about_commands(CLI::App& root, CommandLine& line);

// Parse and run; returns the process's exit code.
int run_command_line(int argc, const char* const* argv, std::ostream& out, std::ostream& notes);

// 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unreachable, 6 denied, 130 interrupted.
int exit_code(Errc code);

// Three lines on stderr: what and why, and what to try; with -o json one JSON object.
void print_error(const Error& error, OutputFormat format, std::ostream& notes);

}  // namespace millrace::app
