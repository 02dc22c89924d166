#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "base/byte_writer.h"

namespace millrace {

// A growing sequence of bytes that begins at a multiple of kAlignment in memory and can be read with zeros up to the
// next one behind its end: what a write past the operating system's cache asks for. Its pages are the system's own, not
// the heap's: they grow without a copy, and what is given up is gone from the process at once. Not thread-safe.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    AlignedBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() {
    if (memory_ != nullptr) ::munmap(memory_, capacity_);
  }

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  // Valid until the next call that changes the size.
  std::span<std::byte> bytes() { return {memory_, size_}; }

  void append(ByteView data) {
    if (data.empty()) return;
    make_room(size_ + data.size());
    std::memcpy(memory_ + size_, data.data(), data.size());
    size_ += data.size();
  }
  // New bytes are zeros. Never gives memory back.
  void resize(size_t size) {
    make_room(size);
    clear_up_to(size);
    dirty_ = std::max(dirty_, size_);
    size_ = size;
  }
  // The content, zeros up to a multiple of kAlignment, and `more` zeros, another one. Valid as bytes() is.
  ByteView padded(size_t more = 0) {
    const size_t size = rounded_up(size_ + more);
    make_room(size);
    clear_up_to(size);
    return {memory_, size};
  }

 private:
  void swap(AlignedBuffer& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    std::swap(dirty_, other.dirty_);
    std::swap(capacity_, other.capacity_);
  }

  static size_t rounded_up(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

  // Zeros from the content's end to `end`.
  void clear_up_to(size_t end) {
    if (end <= size_ || dirty_ <= size_) return;
    std::memset(memory_ + size_, 0, std::min(end, dirty_) - size_);
    if (end >= dirty_) dirty_ = size_;
  }

  void make_room(size_t size) {
    if (size <= capacity_) return;
    const size_t capacity = rounded_up(std::max(size, capacity_ * 2));
    void* memory = memory_ == nullptr
                       ? ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                       : ::mremap(memory_, capacity_, capacity, MREMAP_MAYMOVE);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<std::byte*>(memory);
    capacity_ = capacity;
  }

  std::byte* memory_ = nullptr;
  size_t size_ = 0;
  size_t dirty_ = 0;     // behind this and the content the memory is zeros, as it came from the system
  size_t capacity_ = 0;  // a multiple of kAlignment
};

}  // namespace millrace
