#pragma once

#include "base/clock.h"

namespace millrace::env {

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  WallTime wall_now() const override {
    return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  }
  MonoTime mono_now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace millrace::env
