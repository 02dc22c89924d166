#pragma once

#include "app/command_line.h"

namespace millrace::app {

// What changes a group's offsets: `group reset-offsets`, `delete-offsets` and `delete`; and `group lag`.
void add_group_offset_commands(CLI::App& group, CommandLine& line);

}  // namespace millrace::app
