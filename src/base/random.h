#pragma once

#include <cstdint>

namespace millrace {

// SplitMix64 (Steele, Lea, Flood 2014): a small seeded generator with the same numbers on every machine. Not for
// secrets. One thread at a time.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // Uniform in [0, bound), by multiplication: the bias is below 2^-32 for bounds below 2^32. bound must not be 0.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  // Uniform in [0, 1), with 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  bool chance(double probability) { return uniform() < probability; }

  // A generator whose numbers do not depend on how many more are drawn from this one.
  Random fork() { return Random(next()); }

  uint64_t state() const { return state_; }

 private:
  uint64_t state_;
};

}  // namespace millrace
