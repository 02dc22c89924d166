#pragma once

#include <cstdint>

#include "base/result.h"

namespace millrace::env {

// What the system says of this process.
struct ProcessStats {
  double cpu_s = 0;  // user and system, all threads, since its start
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t threads = 0;
  uint64_t open_files = 0;  // sockets included
  uint64_t open_files_max = 0;
};

// Reads /proc. kIo where that is not there.
Result<ProcessStats> process_stats();

}  // namespace millrace::env
