#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/text.h"

namespace millrace {

// Which worlds a simulator's test runs, as the environment says:
//
//   MILLRACE_SEEDS=N       so many, one seed each (default 200)
//   MILLRACE_FIRST_SEED=S  from this one on (default 1)
//   MILLRACE_SEED=S        this one alone, with its steps printed
struct Seeds {
  uint64_t first = 1;
  uint64_t count = 200;
  std::optional<uint64_t> replayed;

  static Seeds of_environment() {
    const auto number = [](const char* name) -> std::optional<uint64_t> {
      const char* text = std::getenv(name);
      const auto parsed = text == nullptr ? std::nullopt : parse_int64(text);
      return parsed ? std::optional(static_cast<uint64_t>(*parsed)) : std::nullopt;
    };
    Seeds seeds;
    seeds.first = number("MILLRACE_FIRST_SEED").value_or(seeds.first);
    seeds.count = number("MILLRACE_SEEDS").value_or(seeds.count);
    seeds.replayed = number("MILLRACE_SEED");
    return seeds;
  }

  uint64_t end() const { return first + count; }
  // For people, where `seed` has failed.
  static std::string how_to_replay(uint64_t seed) { return "replay with MILLRACE_SEED=" + std::to_string(seed); }
};

}  // namespace millrace
