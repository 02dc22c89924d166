#pragma once

#include <chrono>
#include <stop_token>
#include <thread>

namespace millrace::app {

// SIGINT and SIGTERM as something to wait for, instead of interrupting whatever thread they meet. Make it before the
// first thread starts: threads inherit that the signals are blocked.
class ShutdownSignal {
 public:
  ShutdownSignal();

  // Until one of the signals came; returns its number.
  int wait() const;
  // The same, but no longer than `timeout`; 0 when none came.
  int wait_for(std::chrono::milliseconds timeout) const;
};

// The same as a stop token, for what is told to stop rather than waits: watches on a thread of its own.
class StopOnSignal {
 public:
  StopOnSignal();

  std::stop_token token() const { return source_.get_token(); }

 private:
  ShutdownSignal signal_;
  std::stop_source source_;
  std::jthread watcher_;
};

// How long a clean stop may take: 2 s are promised.
inline constexpr std::chrono::milliseconds kStopLimit{1800};

// From now on the process has `limit` to end; then it ends at once, which the write-ahead log makes safe.
void exit_within(std::chrono::milliseconds limit, int exit_code);

}  // namespace millrace::app
