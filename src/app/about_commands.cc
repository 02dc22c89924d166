#include <CLI/CLI.hpp>
#include <ostream>

#include "app/command_line.h"

namespace millrace::app {

void add_about_commands(CLI::App& root, CommandLine& line) {
  root.add_subcommand("version", "the program's version")->callback([&line] {
    line.selected = [&line]() -> Status {
      line.show({{"name", "version"}, {{std::string("millrace"), std::string(MILLRACE_VERSION)}}, ""});
      return {};
    };
  });
  auto* help = root.add_subcommand("help", "topics that belong to no command: exit-codes");
  help->require_subcommand(1);
  help->add_subcommand("exit-codes", "what the exit status means")->callback([&line] {
    line.selected = [&line]() -> Status {
      line.show({{"code", "meaning"},
                 {{int64_t{0}, std::string("ok")},
                  {int64_t{1}, std::string("failed")},
                  {int64_t{2}, std::string("usage: the command line, a file of yours, or something that is not built")},
                  {int64_t{3}, std::string("not found")},
                  {int64_t{4}, std::string("conflict: it exists, is in use or is locked")},
                  {int64_t{5}, std::string("unreachable, or no answer in time")},
                  {int64_t{6}, std::string("denied")},
                  {int64_t{130}, std::string("interrupted")}},
                 ""});
      return {};
    };
  });
}

}  // namespace millrace::app
