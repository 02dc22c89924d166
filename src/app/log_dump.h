#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "app/command_line.h"

namespace millrace::app {

struct DumpFlags {
  std::vector<std::string> what;  // files, or TOPIC-PARTITION of the data folder
  bool records = false;
  int64_t from = 0;
  int64_t to = std::numeric_limits<int64_t>::max();
};

// `log dump`: what is in files of the log, batch by batch or record by record, read from disk: no server is asked. Rows
// are printed as they come, JSON as one object a line.
Status dump_logs(const CommandLine& line, const DumpFlags& flags);

}  // namespace millrace::app
