#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"

namespace millrace::broker {

// Keeps a client that fails in a loop from filling the log: lets kLinesMax messages pass in each kPeriod, and counts
// the others. Thread-safe.
class RateLimit {
 public:
  explicit RateLimit(const Clock& clock) : clock_(clock) {}

  // The number of messages held back since the last that passed, if this one may pass.
  std::optional<uint64_t> pass() {
    const MonoTime now = clock_.mono_now();
    MutexLock lock(mutex_);
    if (!begun_ || now - *begun_ >= kPeriod) {
      begun_ = now;
      passed_ = 0;
    }
    if (passed_ >= kLinesMax) {
      ++held_back_;
      return std::nullopt;
    }
    ++passed_;
    return std::exchange(held_back_, 0);
  }

 private:
  static constexpr uint64_t kLinesMax = 10;
  static constexpr std::chrono::seconds kPeriod{60};

  const Clock& clock_;
  Mutex mutex_;
  std::optional<MonoTime> begun_ GUARDED_BY(mutex_);
  uint64_t passed_ GUARDED_BY(mutex_) = 0;
  uint64_t held_back_ GUARDED_BY(mutex_) = 0;
};

}  // namespace millrace::broker
