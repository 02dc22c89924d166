#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace {

// The length in bytes of the well-formed UTF-8 sequence (Unicode 15, table 3-7) at the start of `text`, 0 if there is
// none.
size_t utf8_sequence_length(std::string_view text);

bool is_utf8(std::string_view text);

// `bytes` with U+FFFD in place of each byte that begins no well-formed sequence.
std::string to_utf8(std::string_view bytes);

}  // namespace millrace
