#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"

namespace millrace::broker {

// The time in a record of an internal topic, whoever wrote it: years beyond 9999, on either side, are 9999.
inline WallTime record_time(int64_t unix_ms) {
  constexpr int64_t kEndMs = 253'402'300'799'999;
  return from_unix_ms(std::clamp(unix_ms, -kEndMs, kEndMs));
}

}  // namespace millrace::broker
