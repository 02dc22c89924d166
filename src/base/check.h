#pragma once

#include <string_view>

namespace millrace::internal {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, std::string_view note);
}  // namespace millrace::internal

// An invariant of ours, checked in release builds too: where it does not hold the program ends at once, because going
// on could write wrong data. Never for input: malformed input is an Error. The second argument, a string, says more.
#define MILLRACE_CHECK(condition, ...) \
  (static_cast<bool>(condition)        \
       ? static_cast<void>(0)          \
       : ::millrace::internal::check_failed(#condition, __FILE__, __LINE__, ::std::string_view{__VA_ARGS__}))
