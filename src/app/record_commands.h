#pragma once

#include "app/command_line.h"

namespace millrace::app {

// `topic produce` and `topic consume`, added to the topic noun.
void add_record_commands(CLI::App& topic, CommandLine& line);

}  // namespace millrace::app
