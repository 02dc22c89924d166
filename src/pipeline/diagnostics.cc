#include "pipeline/diagnostics.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace millrace::pipeline {

void Diagnostics::sort() {
  std::sort(list_.begin(), list_.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.place.line, a.place.column, a.error.message) <
           std::tie(b.place.line, b.place.column, b.error.message);
  });
}

std::string Diagnostics::to_string(const Diagnostic& diagnostic) const {
  if (diagnostic.place.line == 0)
    return file_.empty() ? diagnostic.error.message : fmt::format("{}: {}", file_, diagnostic.error.message);
  return fmt::format("{}:{}:{}: {}", file_.empty() ? "plan" : file_, diagnostic.place.line, diagnostic.place.column,
                     diagnostic.error.message);
}

Error Diagnostics::to_error() const {
  MILLRACE_CHECK(!list_.empty());
  std::string message;
  for (const Diagnostic& diagnostic : list_) {
    if (!message.empty()) message += '\n';
    message += to_string(diagnostic);
  }
  return {list_.front().error.code, std::move(message), list_.front().error.hint};
}

}  // namespace millrace::pipeline
