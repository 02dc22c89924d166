#pragma once

#include "app/command_line.h"

namespace millrace::app {

// `topic alter`, `add-partitions`, `delete-records`; and `topic offsets`, by time.
void add_topic_change_commands(CLI::App& topic, CommandLine& line);

}  // namespace millrace::app
