#pragma once

#include <string_view>

namespace millrace::broker {

// What a client sent, as messages quote it: a string of the protocol has at most 32,767 bytes, and people read fewer.
// Cut between characters.
inline std::string_view shortened(std::string_view text) {
  constexpr size_t kBytesMax = 200;
  if (text.size() <= kBytesMax) return text;
  size_t size = kBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

}  // namespace millrace::broker
