#pragma once

#include "app/command_line.h"

namespace millrace::app {

// `topic copy`.
void add_copy_command(CLI::App& topic, CommandLine& line);

}  // namespace millrace::app
