#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace {

// CRC-32C (Castagnoli, RFC 3720 appendix B.4): crc32c("123456789") == 0xE3069283.
uint32_t crc32c(std::span<const std::byte> data);

// The checksum of a followed by b, from that of a and b: crc32c_extend(crc32c(a), b).
uint32_t crc32c_extend(uint32_t crc, std::span<const std::byte> data);

}  // namespace millrace
