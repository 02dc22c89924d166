#pragma once

#include "base/byte_writer.h"

namespace millrace::wire {

// Record batches that belong between the bytes of an encoded message without being copied there.
struct RecordSlice {
  size_t position = 0;  // in the encoded bytes: the slice goes before this one
  ByteView records;
};

// Shorter batches are cheaper to copy than to send as pieces of their own.
inline constexpr size_t kSliceBytesMin = 4096;

}  // namespace millrace::wire
