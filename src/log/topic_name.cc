#include "log/topic_name.h"

#include <fmt/core.h>

namespace millrace::log {

Status check_topic_name(std::string_view name) {
  constexpr size_t kLengthMax = 249;
  if (name.empty()) return fail(Errc::kInvalidArgument, "a topic's name cannot be empty");
  if (name == "." || name == "..") return fail(Errc::kInvalidArgument, "a topic's name cannot be '.' or '..'");
  if (name.size() > kLengthMax)
    return fail(Errc::kInvalidArgument, fmt::format("a topic's name has at most {} characters", kLengthMax));
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '.' && c != '_' && c != '-')
      return fail(Errc::kInvalidArgument,
                  fmt::format("the topic name '{}' has other characters than letters, digits, '.', '_' and '-'", name));
  }
  return {};
}

}  // namespace millrace::log
