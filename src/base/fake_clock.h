#pragma once

#include <atomic>

#include "base/clock.h"

namespace millrace {

// A clock that moves only when a test says so. Starts on 2026-01-01T00:00:00Z.
class FakeClock final : public Clock {
 public:
  WallTime wall_now() const override { return from_unix_us(kStartUs + elapsed_us_.load()); }
  MonoTime mono_now() const override { return MonoTime{std::chrono::microseconds{elapsed_us_.load()}}; }

  void advance(std::chrono::microseconds step) { elapsed_us_ += step.count(); }

 private:
  static constexpr int64_t kStartUs = 1'767'225'600'000'000;
  std::atomic<int64_t> elapsed_us_{0};
};

}  // namespace millrace
