#pragma once

#include <chrono>

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

// From now on the process has `limit` to end; then it ends at once, which the write-ahead log makes safe.
void exit_within(std::chrono::milliseconds limit, int exit_code);

}  // namespace millrace::app
