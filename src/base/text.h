#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

// The candidate nearest to `name` by edit distance (insert, delete, replace, swap neighbours; case ignored), if it is
// near enough to be what was meant: at most a third of the name's length away, and at least one edit is always allowed.
std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> candidates);

// Durations as users write them: 200ms, 1.5s, 10m, 24h, 30d, also 500us; a bare 0. Negative ones are refused.
Result<std::chrono::microseconds> parse_duration(std::string_view text);
// The same back, in the largest unit that divides it: "36h", "90s".
std::string format_duration(std::chrono::microseconds duration);

// Sizes as users write them: 64MB, 1GiB, 512kB, 100. Powers of 1024 with and without the i, as Kafka's documentation
// means them.
Result<uint64_t> parse_size(std::string_view text);

// Numbers as users write them, with nothing before or after; no locale.
std::optional<int64_t> parse_int64(std::string_view text);
std::optional<double> parse_double(std::string_view text);

std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);

// ASCII letters in one case, whatever the locale; all else as it is.
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b);

// Shell-like patterns over a whole name: * any characters, ? one character.
bool matches_glob(std::string_view pattern, std::string_view name);

}  // namespace millrace
