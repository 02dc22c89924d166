#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

inline ByteView as_byte_view(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// A copy of its own.
inline Bytes to_bytes(ByteView bytes) { return {bytes.begin(), bytes.end()}; }
inline Bytes to_bytes(std::string_view text) { return to_bytes(as_byte_view(text)); }

// Appends numbers in network byte order, and Protocol Buffers' varints, to a byte vector: the primitives of Kafka's
// protocol and of our own formats. Not thread-safe.
class ByteWriter {
 public:
  // `out` must outlive the writer; what it holds already stays.
  explicit ByteWriter(Bytes& out) : out_(out) {}

  size_t size() const { return out_.size(); }

  template <std::integral T>
  void fixed(T value) {
    append(to_network(value).data(), sizeof(T));
  }
  void float64(double value) { fixed(std::bit_cast<uint64_t>(value)); }

  // LEB128, seven bits a byte, least significant first.
  void uvarint(uint64_t value) {
    std::byte buffer[10];
    size_t used = 0;
    while (value >= 0x80) {
      buffer[used++] = static_cast<std::byte>(value | 0x80);
      value >>= 7;
    }
    buffer[used++] = static_cast<std::byte>(value);
    append(buffer, used);
  }
  // Zigzag, then LEB128: small negative numbers stay short.
  void varint(int64_t value) { uvarint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63)); }

  void bytes(ByteView data) { append(data.data(), data.size()); }
  void text(std::string_view data) { append(reinterpret_cast<const std::byte*>(data.data()), data.size()); }

  // Overwrite what stands at `position`, for lengths and checksums known only later.
  template <std::integral T>
  void patch(size_t position, T value) {
    const auto network = to_network(value);
    std::memcpy(out_.data() + position, network.data(), sizeof(T));
  }

 private:
  template <std::integral T>
  static std::array<std::byte, sizeof(T)> to_network(T value) {
    auto bits = static_cast<std::make_unsigned_t<T>>(value);
    std::array<std::byte, sizeof(T)> network;
    for (size_t i = sizeof(T); i-- > 0;) {
      network[i] = static_cast<std::byte>(bits);
      if constexpr (sizeof(T) > 1) bits = static_cast<std::make_unsigned_t<T>>(bits >> 8);
    }
    return network;
  }
  void append(const std::byte* data, size_t size) { out_.insert(out_.end(), data, data + size); }

  Bytes& out_;
};

}  // namespace millrace
