#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace millrace {

// Milliseconds since 1970, as Kafka counts, in the microseconds that we count in. A producer may have written any
// number as its time: one that microseconds cannot hold becomes the last of its side that they can, in the year 294,247
// or before our era.
constexpr int64_t us_from_ms(int64_t ms) {
  constexpr int64_t kMsMax = std::numeric_limits<int64_t>::max() / 1'000;
  return std::clamp(ms, -kMsMax, kMsMax) * 1'000;
}

}  // namespace millrace
