#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

#include "base/byte_writer.h"
#include "base/result.h"

namespace millrace {

// Reads what ByteWriter writes, from bytes that may be hostile: every read is checked against the end, and views point
// into the input instead of copying. After a failure the position is unspecified. Not thread-safe.
class ByteReader {
 public:
  explicit ByteReader(ByteView data) : data_(data) {}

  size_t remaining() const { return data_.size() - position_; }
  size_t position() const { return position_; }

  template <std::integral T>
  Result<T> fixed() {
    if (remaining() < sizeof(T)) return truncated();
    std::make_unsigned_t<T> value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      if constexpr (sizeof(T) > 1) value = static_cast<std::make_unsigned_t<T>>(value << 8);
      value = static_cast<std::make_unsigned_t<T>>(value | std::to_integer<uint8_t>(data_[position_ + i]));
    }
    position_ += sizeof(T);
    return static_cast<T>(value);
  }
  Result<double> float64() {
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t bits, fixed<uint64_t>());
    return std::bit_cast<double>(bits);
  }

  Result<uint64_t> uvarint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (remaining() == 0) return truncated();
      const auto byte = std::to_integer<uint64_t>(data_[position_++]);
      if (shift == 63 && byte > 1) break;
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return fail(Errc::kCorruption, "a varint is longer than 64 bits");
  }
  Result<int64_t> varint() {
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t zigzag, uvarint());
    return static_cast<int64_t>(zigzag >> 1) ^ -static_cast<int64_t>(zigzag & 1);
  }

  // A view of the next `size` bytes, valid as long as the input is.
  Result<ByteView> bytes(size_t size) {
    if (remaining() < size) return truncated();
    const ByteView view = data_.subspan(position_, size);
    position_ += size;
    return view;
  }
  Result<std::string_view> text(size_t size) {
    MILLRACE_ASSIGN_OR_RETURN(const ByteView view, bytes(size));
    return as_text(view);
  }
  Status skip(size_t size) {
    if (remaining() < size) return truncated();
    position_ += size;
    return {};
  }

 private:
  static tl::unexpected<Error> truncated() { return fail(Errc::kCorruption, "ends in the middle of a field"); }

  ByteView data_;
  size_t position_ = 0;
};

}  // namespace millrace
