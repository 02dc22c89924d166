#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "pipeline/internal/round_log.h"

// RoundLog::apply() over any records: lines of "KEY VALUE", a line without a space being a tombstone. Then everything
// that a leader asks.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  pipeline::RoundLog log(3);
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (int64_t offset = 0; !rest.empty(); ++offset) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const size_t space = line.find(' ');
    const auto key = pipeline::RoundKey::parse(line.substr(0, space));
    if (!key) continue;
    const bool tombstone = space == std::string_view::npos;
    static_cast<void>(log.apply(*key, Offset(offset),
                                tombstone ? std::nullopt : std::optional(as_byte_view(line.substr(space + 1)))));
  }
  if (const auto due = log.state().due())
    for (const auto& part : due->parts) static_cast<void>(log.chunks_of(*part));
  static_cast<void>(log.take_garbage());
  return 0;
}
