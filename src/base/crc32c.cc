#include "base/crc32c.h"

#include <isa-l/crc.h>
#include <algorithm>
#include <limits>

namespace millrace {

uint32_t crc32c_extend(uint32_t crc, std::span<const std::byte> data) {
  // ISA-L takes an int length and a pointer to non-const, though it only reads.
  while (!data.empty()) {
    const auto piece = data.first(std::min<size_t>(data.size(), std::numeric_limits<int>::max()));
    auto* bytes = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(piece.data()));
    crc = ~crc32_iscsi(bytes, static_cast<int>(piece.size()), ~crc);
    data = data.subspan(piece.size());
  }
  return crc;
}

uint32_t crc32c(std::span<const std::byte> data) { return crc32c_extend(0, data); }

}  // namespace millrace
