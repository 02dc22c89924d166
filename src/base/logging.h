#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogOptions {
  std::string file;  // empty: no log file
  LogLevel level = LogLevel::kInfo;
  LogLevel stderr_level = LogLevel::kWarning;  // what is shown on stderr, too
  uint64_t file_bytes_max = 16ull << 20;       // then the file is rotated
  int files_max = 5;
};

// Configure logging for the process; before that, warnings and errors go to stderr. Thread-safe, like all functions
// here.
Status init_logging(const LogOptions& options);

// debug, info, warning, error.
Result<LogLevel> parse_log_level(std::string_view name);

bool log_enabled(LogLevel level);
void log_message(LogLevel level, std::string_view module, std::string_view message);

// log_info("broker", "{} partitions recovered", n): one line, no newline at its end.
template <typename... Args>
void log_debug(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kDebug))
    log_message(LogLevel::kDebug, module, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kInfo))
    log_message(LogLevel::kInfo, module, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kWarning, module, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kError, module, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace millrace
