#include "base/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <vector>

namespace millrace {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";

std::shared_ptr<spdlog::logger> make_logger(std::vector<spdlog::sink_ptr> sinks, LogLevel level) {
  auto logger = std::make_shared<spdlog::logger>("millrace", sinks.begin(), sinks.end());
  logger->set_level(to_spdlog(level));
  logger->flush_on(spdlog::level::warn);
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(kPattern, spdlog::pattern_time_type::utc));
  return logger;
}

// Replaced by init_logging() before other threads start, then constant.
std::shared_ptr<spdlog::logger>& current() {
  static auto* logger =
      new std::shared_ptr(make_logger({std::make_shared<spdlog::sinks::stderr_color_sink_mt>()}, LogLevel::kWarning));
  return *logger;
}

}  // namespace

Status init_logging(const LogOptions& options) {
  auto to_stderr = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  to_stderr->set_level(to_spdlog(options.stderr_level));
  std::vector<spdlog::sink_ptr> sinks{to_stderr};
  if (!options.file.empty()) {
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(options.file, options.file_bytes_max,
                                                                             static_cast<size_t>(options.files_max)));
    } catch (const spdlog::spdlog_ex& e) {
      return fail(Errc::kIo, fmt::format("cannot open the log file {}: {}", options.file, e.what()),
                  "make its folder one that this user can write, or use another one");
    }
  }
  current() = make_logger(std::move(sinks), options.level);
  spdlog::set_default_logger(current());
  spdlog::flush_every(std::chrono::seconds(1));
  return {};
}

Result<LogLevel> parse_log_level(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not a log level", name), "debug, info, warning or error");
}

bool log_enabled(LogLevel level) { return current()->should_log(to_spdlog(level)); }

void log_message(LogLevel level, std::string_view module, std::string_view message) {
  current()->log(to_spdlog(level), "{}: {}", module, message);
}

}  // namespace millrace
