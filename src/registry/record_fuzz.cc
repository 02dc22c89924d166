#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "registry/registry_state.h"

// RegistryState::apply() over any records: lines of "KEY VALUE", a line without a space being a tombstone.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  registry::RegistryState state;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (int64_t offset = 0; !rest.empty(); ++offset) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const size_t space = line.find(' ');
    const bool tombstone = space == std::string_view::npos;
    static_cast<void>(state.apply(offset, line.substr(0, space),
                                  tombstone ? std::nullopt : std::optional(as_byte_view(line.substr(space + 1)))));
  }
  for (const std::string& model : state.models()) {
    static_cast<void>(state.versions(model));
    static_cast<void>(state.resolve(model, registry::kChampion));
    static_cast<void>(state.owner(model));
  }
  return 0;
}
