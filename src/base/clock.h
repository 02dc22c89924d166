#pragma once

#include <chrono>
#include <cstdint>

namespace millrace {

// Time of day, in UTC microseconds: what records and logs are stamped with. May jump.
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
// Time that only moves forward: what timeouts are measured in.
using MonoTime = std::chrono::steady_clock::time_point;

// Where the program learns what time it is. Passed in, so that tests decide it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall_now() const = 0;
  virtual MonoTime mono_now() const = 0;
};

inline int64_t to_unix_us(WallTime time) { return time.time_since_epoch().count(); }
inline int64_t to_unix_ms(WallTime time) {
  return std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
}
inline WallTime from_unix_us(int64_t us) { return WallTime{std::chrono::microseconds{us}}; }

}  // namespace millrace
