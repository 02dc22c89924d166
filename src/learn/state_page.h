#pragma once

#include <cstdint>
#include <vector>

#include "base/byte_writer.h"

namespace millrace::learn {

// State is written to a changelog in pages of at most 64 KiB, each under a number of its own, so that a commit writes
// what changed and not everything.
struct StatePage {
  uint32_t number = 0;
  Bytes bytes;  // empty: the page is no more, write a tombstone
};

inline constexpr size_t kStatePageBytesMax = 64 << 10;

}  // namespace millrace::learn
