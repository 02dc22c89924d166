#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/result.h"

// What the codecs of this module share. Layouts: docs/formats/model-state.md.
namespace millrace::learn::internal {

inline void write_doubles(ByteWriter& out, std::span<const double> values) {
  for (const double value : values) out.float64(value);
}

// Exactly values.size() of them.
inline Status read_doubles(ByteReader& in, std::span<double> values) {
  for (double& value : values) {
    MILLRACE_ASSIGN_OR_RETURN(value, in.float64());
  }
  return {};
}

inline void write_text(ByteWriter& out, std::string_view text) {
  out.uvarint(text.size());
  out.text(text);
}

inline Result<std::string> read_text(ByteReader& in) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, in.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view text, in.text(size));
  return std::string(text);
}

// A count of things that take at least `bytes_min` bytes each: an honest one cannot outrun the input.
inline Result<size_t> read_count(ByteReader& in, size_t bytes_min) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t count, in.uvarint());
  if (count > in.remaining() / bytes_min) return fail(Errc::kCorruption, "a count outruns the input");
  return static_cast<size_t>(count);
}

inline Status expect_end(const ByteReader& in) {
  if (in.remaining() != 0) return fail(Errc::kCorruption, "bytes are left over");
  return {};
}

// A state page: format version, body, CRC-32C of both.
inline constexpr uint8_t kPageVersion = 1;

inline Bytes begin_page() { return Bytes{std::byte{kPageVersion}}; }
inline void end_page(Bytes& page) { ByteWriter(page).fixed(crc32c(page)); }

// The body of `page`.
inline Result<ByteView> open_page(ByteView page) {
  if (page.size() < 1 + sizeof(uint32_t)) return fail(Errc::kCorruption, "a state page is too short");
  const ByteView sealed = page.first(page.size() - sizeof(uint32_t));
  MILLRACE_ASSIGN_OR_RETURN(const auto crc, ByteReader(page.subspan(sealed.size())).fixed<uint32_t>());
  if (crc != crc32c(sealed)) return fail(Errc::kCorruption, "a state page's checksum is wrong");
  if (std::to_integer<uint8_t>(sealed[0]) != kPageVersion)
    return fail(Errc::kUnsupported, "a state page is of a newer format",
                "use the version that wrote it, or a newer one");
  return sealed.subspan(1);
}

}  // namespace millrace::learn::internal
