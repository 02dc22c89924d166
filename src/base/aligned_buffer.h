#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "base/byte_writer.h"

namespace millrace {

// A growing sequence of bytes that begins at a multiple of kAlignment in memory and can be read with zeros up to the
// next one behind its end: what a write past the operating system's cache asks for. Not thread-safe.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  // Valid until the next call that changes the size.
  std::span<std::byte> bytes() { return {memory_.get(), size_}; }

  void append(ByteView data) {
    if (data.empty()) return;
    make_room(size_ + data.size());
    std::memcpy(memory_.get() + size_, data.data(), data.size());
    size_ += data.size();
  }
  // New bytes are zeros. Never gives memory back.
  void resize(size_t size) {
    make_room(size);
    if (size > size_) std::memset(memory_.get() + size_, 0, size - size_);
    size_ = size;
  }
  // The content, zeros up to a multiple of kAlignment, and `more` zeros, another one. Valid as bytes() is.
  ByteView padded(size_t more = 0) {
    const size_t size = rounded_up(size_ + more);
    make_room(size);
    if (size > size_) std::memset(memory_.get() + size_, 0, size - size_);
    return {memory_.get(), size};
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{kAlignment}); }
  };

  static size_t rounded_up(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

  void make_room(size_t size) {
    if (size <= capacity_) return;
    const size_t capacity = rounded_up(std::max(size, capacity_ * 2));
    std::unique_ptr<std::byte, Free> memory(
        static_cast<std::byte*>(::operator new(capacity, std::align_val_t{kAlignment})));
    if (size_ > 0) std::memcpy(memory.get(), memory_.get(), size_);
    memory_ = std::move(memory);
    capacity_ = capacity;
  }

  std::unique_ptr<std::byte, Free> memory_;
  size_t size_ = 0;
  size_t capacity_ = 0;  // a multiple of kAlignment
};

}  // namespace millrace
