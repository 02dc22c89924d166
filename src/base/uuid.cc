#include "base/uuid.h"

#include <cstring>

#include "base/random.h"

namespace millrace {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kTextSize = 22;

}  // namespace

std::string Uuid::to_string() const {
  std::string text;
  text.reserve(kTextSize);
  uint32_t buffer = 0;
  int bits = 0;
  for (const uint8_t byte : bytes) {
    buffer = (buffer << 8) | byte;
    bits += 8;
    while (bits >= 6) {
      bits -= 6;
      text.push_back(kAlphabet[(buffer >> bits) & 63]);
    }
  }
  text.push_back(kAlphabet[(buffer << (6 - bits)) & 63]);
  return text;
}

Result<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != kTextSize) return fail(Errc::kInvalidArgument, "a UUID has 22 characters of URL-safe base64");
  Uuid uuid;
  uint32_t buffer = 0;
  int bits = 0;
  size_t next = 0;
  for (const char c : text) {
    const size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos)
      return fail(Errc::kInvalidArgument, "not a character of URL-safe base64 in a UUID");
    buffer = (buffer << 6) | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      uuid.bytes[next++] = static_cast<uint8_t>(buffer >> bits);
    }
  }
  return uuid;
}

Uuid Uuid::random(Random& random) {
  Uuid uuid;
  do {
    const uint64_t halves[2] = {random.next(), random.next()};
    std::memcpy(uuid.bytes.data(), halves, sizeof halves);
    uuid.bytes[6] = static_cast<uint8_t>((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = static_cast<uint8_t>((uuid.bytes[8] & 0x3f) | 0x80);
  } while ((uuid.bytes[0] >> 2) == kAlphabet.find('-'));
  return uuid;
}

}  // namespace millrace
