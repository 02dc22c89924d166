#include <bit>

#include "base/byte_reader.h"
#include "features/internal/history.h"
#include "state/page.h"

// Layouts: docs/formats/features.md.

namespace millrace::features {

namespace {

// Writes into memory that is known to be large enough: pages are written at every commit, value by value.
class PageWriter {
 public:
  explicit PageWriter(std::byte* at) : at_(at) {}

  void byte(uint8_t value) { *at_++ = static_cast<std::byte>(value); }
  void uvarint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte(static_cast<uint8_t>(value | 0x80));
    byte(static_cast<uint8_t>(value));
  }
  void varint(int64_t value) { uvarint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63)); }
  void fixed(uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) byte(static_cast<uint8_t>(value >> shift));
  }
  void text(std::string_view value) {
    std::memcpy(at_, value.data(), value.size());
    at_ += value.size();
  }
  std::byte* at() const { return at_; }

 private:
  std::byte* at_;
};

void write_last(const columns::Type& type, uint64_t bits, const TextPool& texts, PageWriter& writer) {
  switch (type.kind) {
    case columns::Kind::kBoolean:
    case columns::Kind::kBigint:
    case columns::Kind::kDecimal:
    case columns::Kind::kTimestamp:
      writer.varint(static_cast<int64_t>(bits));
      break;
    case columns::Kind::kDouble:
      writer.fixed(bits);
      break;
    case columns::Kind::kVarchar: {
      const std::string_view text = texts.text(static_cast<uint32_t>(bits));
      writer.uvarint(text.size());
      writer.text(text);
      break;
    }
  }
}

Result<uint64_t> read_last(const columns::Type& type, TextPool& texts, ByteReader& reader) {
  switch (type.kind) {
    case columns::Kind::kBoolean:
    case columns::Kind::kBigint:
    case columns::Kind::kDecimal:
    case columns::Kind::kTimestamp: {
      MILLRACE_ASSIGN_OR_RETURN(const int64_t value, reader.varint());
      return static_cast<uint64_t>(value);
    }
    case columns::Kind::kDouble:
      return reader.fixed<uint64_t>();
    case columns::Kind::kVarchar: {
      MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, reader.uvarint());
      if (size > kLastTextBytesMax) return fail(Errc::kCorruption, "a text longer than any that is kept");
      MILLRACE_ASSIGN_OR_RETURN(const std::string_view text, reader.text(size));
      return uint64_t{texts.hold(text)};
    }
  }
  return fail(Errc::kCorruption, "a type that does not exist");
}

}  // namespace

void History::encode_page(const Layout& layout, const TextPool& texts, uint64_t page, Bytes& out) const {
  const uint64_t first = std::max(begin_, page * layout.rows_per_page);
  const uint64_t stop = std::min(end_, (page + 1) * layout.rows_per_page);
  out.resize(layout.page_bytes_max(stop - first));
  PageWriter writer(out.data());
  writer.uvarint(first - page * layout.rows_per_page);
  writer.uvarint(stop - first);
  int64_t time_before = 0;
  int64_t offset_before = 0;
  for (uint64_t seq = first; seq < stop; ++seq) {
    const uint64_t* here = row(layout, seq);
    // Differences wrap around and come back, whatever the times.
    writer.varint(static_cast<int64_t>(here[0] - static_cast<uint64_t>(time_before)));
    writer.varint(static_cast<int64_t>(here[1] - static_cast<uint64_t>(offset_before)));
    time_before = static_cast<int64_t>(here[0]);
    offset_before = static_cast<int64_t>(here[1]);
    for (size_t s = 0; s < layout.slots.size(); ++s) {
      const SlotValue v = value(layout, s, seq);
      writer.byte(v.counts ? 1 : 0);
      if (!v.counts || !layout.slots[s].summed) continue;
      if (layout.slots[s].exact)
        writer.varint(v.exact);
      else
        writer.fixed(std::bit_cast<uint64_t>(v.real));
    }
    if (layout.last_columns.empty()) continue;
    const uint64_t valid = here[layout.last_word + layout.last_columns.size()];
    writer.uvarint(valid);
    for (size_t i = 0; i < layout.last_columns.size(); ++i)
      if ((valid >> i) & 1) write_last(layout.last_types[i], here[layout.last_word + i], texts, writer);
  }
  out.resize(static_cast<size_t>(writer.at() - out.data()));
}

Status History::decode_page(const Layout& layout, TextPool& texts, uint64_t page, ByteView bytes) {
  constexpr uint64_t kPageMax = UINT64_MAX >> 16;
  ByteReader reader(bytes);
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t skipped, reader.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t count, reader.uvarint());
  if (page > kPageMax || skipped >= layout.rows_per_page || count > layout.rows_per_page - skipped)
    return fail(Errc::kCorruption, "a page of features has impossible bounds");
  const uint64_t first = page * layout.rows_per_page + skipped;
  if (empty())
    begin_ = end_ = first;
  else if (first != end_)
    return fail(Errc::kCorruption, "a page of features is missing");

  RowInput input;
  input.slots.resize(layout.slots.size());
  input.last.resize(layout.last_columns.size());
  uint64_t time_bits = 0;
  uint64_t offset_bits = 0;
  for (uint64_t i = 0; i < count; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const int64_t time_step, reader.varint());
    MILLRACE_ASSIGN_OR_RETURN(const int64_t offset_step, reader.varint());
    time_bits += static_cast<uint64_t>(time_step);
    offset_bits += static_cast<uint64_t>(offset_step);
    input.time_us = static_cast<int64_t>(time_bits);
    input.offset = static_cast<int64_t>(offset_bits);
    if (!appends(layout, input.time_us, input.offset))
      return fail(Errc::kCorruption, "rows of a page of features are not in order");
    for (size_t s = 0; s < layout.slots.size(); ++s) {
      MILLRACE_ASSIGN_OR_RETURN(const uint8_t counts, reader.fixed<uint8_t>());
      if (counts > 1) return fail(Errc::kCorruption, "a flag is neither 0 nor 1");
      input.slots[s] = {.counts = counts == 1};
      if (counts == 0 || !layout.slots[s].summed) continue;
      if (layout.slots[s].exact) {
        MILLRACE_ASSIGN_OR_RETURN(input.slots[s].exact, reader.varint());
      } else {
        MILLRACE_ASSIGN_OR_RETURN(input.slots[s].real, reader.float64());
      }
    }
    input.last_valid = 0;
    if (!layout.last_columns.empty()) {
      MILLRACE_ASSIGN_OR_RETURN(input.last_valid, reader.uvarint());
      for (size_t l = 0; l < layout.last_columns.size(); ++l) {
        input.last[l] = 0;
        if (((input.last_valid >> l) & 1) == 0) continue;
        MILLRACE_ASSIGN_OR_RETURN(input.last[l], read_last(layout.last_types[l], texts, reader));
      }
    }
    insert(layout, input, end_);
  }
  if (reader.remaining() > 0) return fail(Errc::kCorruption, "a page of features is longer than its rows");
  if (pages_begin == pages_end) pages_begin = page;
  pages_end = page + 1;
  dirty_from = kClean;
  return {};
}

}  // namespace millrace::features
