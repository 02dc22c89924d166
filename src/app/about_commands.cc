#include <CLI/CLI.hpp>
#include <functional>
#include <ostream>

#include "app/command_line.h"
#include "app/reference.h"

namespace millrace::app {
namespace {

Status show_exit_codes(const CommandLine& line) {
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
}

}  // namespace

void add_about_commands(CLI::App& root, CommandLine& line) {
  root.add_subcommand("version", "the program's version")->callback([&line] {
    line.selected = [&line]() -> Status {
      line.show({{"name", "version"}, {{std::string("millrace"), std::string(MILLRACE_VERSION)}}, ""});
      return {};
    };
  });
  auto* help = root.add_subcommand("help", "this help, or a topic: exit-codes, command-line, configuration");
  help->require_subcommand(0, 1);
  help->callback([&root, &line, help] {
    if (!help->get_subcommands().empty()) return;
    line.selected = [&root, &line]() -> Status {
      line.out << root.help();
      return {};
    };
  });
  help->add_subcommand("exit-codes", "what the exit status means")->callback([&line] {
    line.selected = [&line] { return show_exit_codes(line); };
  });
  const auto add_page = [&](const char* name, const char* description, const std::function<std::string()>& page) {
    help->add_subcommand(name, description)->callback([&line, page] {
      line.selected = [&line, page]() -> Status {
        line.out << page();
        return {};
      };
    });
  };
  add_page("command-line", "every command and flag, as a page of the manual (Markdown)",
           [&root] { return command_line_page(root); });
  add_page("configuration", "every key of the server's configuration, as a page of the manual (Markdown)",
           [] { return configuration_page(); });
}

}  // namespace millrace::app
