#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace millrace::internal {

void check_failed(const char* condition, const char* file, int line, std::string_view note) {
  std::fprintf(stderr, "millrace: broken invariant at %s:%d: %s%s%.*s\n", file, line, condition,
               note.empty() ? "" : ": ", static_cast<int>(note.size()), note.data());
  std::abort();
}

}  // namespace millrace::internal
