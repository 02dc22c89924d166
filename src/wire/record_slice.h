#pragma once

#include "base/byte_writer.h"

namespace millrace::wire {

// The record batches of a message: bytes in memory; or, in an answer to be sent, only how many bytes they are, where
// whoever sends the frame has them from elsewhere, such as a file. What was decoded is in memory.
class Records : public ByteView {
 public:
  Records() = default;
  Records(ByteView bytes) : ByteView(bytes) {}  // NOLINT(google-explicit-constructor): they are these bytes
  static Records elsewhere(size_t bytes) {
    Records records;
    records.elsewhere_bytes_ = bytes;
    return records;
  }

  size_t elsewhere_bytes() const { return elsewhere_bytes_; }

 private:
  size_t elsewhere_bytes_ = 0;
};

// Record batches that belong between the bytes of an encoded message without being copied there.
struct RecordSlice {
  size_t position = 0;  // in the encoded bytes: the slice goes before this one
  Records records;

  size_t size_bytes() const { return records.size() + records.elsewhere_bytes(); }
};

// Shorter batches are cheaper to copy than to send as pieces of their own.
inline constexpr size_t kSliceBytesMin = 4096;

}  // namespace millrace::wire
