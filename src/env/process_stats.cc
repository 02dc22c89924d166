#include "env/process_stats.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace millrace::env {
namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

Result<uint64_t> count_entries(const char* directory) {
  std::error_code failed;
  std::filesystem::directory_iterator entries(directory, failed);
  uint64_t count = 0;
  for (; !failed && entries != std::filesystem::directory_iterator(); entries.increment(failed)) ++count;
  if (failed) return fail(Errc::kIo, std::string(directory) + ": " + failed.message());
  return count;
}

}  // namespace

Result<ProcessStats> process_stats() {
  ProcessStats stats;
  rusage used{};
  rlimit files{};
  if (::getrusage(RUSAGE_SELF, &used) != 0 || ::getrlimit(RLIMIT_NOFILE, &files) != 0)
    return fail(Errc::kIo, "the system does not say what this process uses");
  stats.cpu_s = seconds(used.ru_utime) + seconds(used.ru_stime);
  stats.open_files_max = files.rlim_cur;
  std::ifstream memory("/proc/self/statm");
  uint64_t all_pages = 0;
  uint64_t resident_pages = 0;
  if (!(memory >> all_pages >> resident_pages)) return fail(Errc::kIo, "/proc/self/statm cannot be read");
  const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  stats.virtual_bytes = all_pages * page_bytes;
  stats.resident_bytes = resident_pages * page_bytes;
  MILLRACE_ASSIGN_OR_RETURN(stats.threads, count_entries("/proc/self/task"));
  MILLRACE_ASSIGN_OR_RETURN(stats.open_files, count_entries("/proc/self/fd"));
  --stats.open_files;  // the one that this listing holds
  return stats;
}

}  // namespace millrace::env
