#pragma once

#include <string>

namespace CLI {
class App;
}

namespace millrace::app {

// What is typed to reach `command`: "millrace topic create".
std::string command_path(const CLI::App& command);

// The innermost command that the parsed arguments chose; `root` itself where they chose none.
const CLI::App& chosen_command(const CLI::App& root);

// The manual's pages, in Markdown, from what the program really takes: docs/manual/command-line.md and configuration.md
// are these texts.
std::string command_line_page(const CLI::App& root);
std::string configuration_page();

}  // namespace millrace::app
