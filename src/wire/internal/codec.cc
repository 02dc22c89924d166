#include "wire/internal/codec.h"

#include <fmt/format.h>

#include <bit>
#include <limits>

#include "base/check.h"
#include "base/utf8.h"

namespace millrace::wire::internal {
namespace {

// Java puts U+FFFD in place of what is no UTF-8: the name of such a group is the same here as there.
std::string to_text(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  return is_utf8(text) ? std::string(text) : to_utf8(text);
}

}  // namespace

void Reader::boolean(bool& value) {
  uint8_t byte = 0;
  number(byte);
  value = byte != 0;
}

void Reader::float64(double& value) {
  uint64_t bits = 0;
  number(bits);
  value = std::bit_cast<double>(bits);
}

void Reader::error(ErrorCode& value) {
  int16_t code = 0;
  number(code);
  value = static_cast<ErrorCode>(code);
}

void Reader::uuid(Uuid& value) {
  if (const std::byte* from = take(value.bytes.size())) std::memcpy(value.bytes.data(), from, value.bytes.size());
}

uint32_t Reader::uvarint() {
  uint32_t value = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const std::byte* from = take(1);
    if (from == nullptr) return 0;
    const auto byte = std::to_integer<uint32_t>(*from);
    if (shift == 28 && byte > 0x0f) break;
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  fail_with("has a varint of more than 32 bits");
  return 0;
}

std::optional<size_t> Reader::compact_length() {
  const uint32_t length_plus_one = uvarint();
  if (length_plus_one == 0) return std::nullopt;
  return length_plus_one - 1;
}

std::optional<size_t> Reader::text_length(bool flexible) {
  if (flexible) return compact_length();
  int16_t size = 0;
  number(size);
  if (size == -1) return std::nullopt;
  if (size < 0) fail_with("has a string of negative length");
  return size < 0 ? 0 : static_cast<size_t>(size);
}

// Kafka writes no longer strings, in flexible versions either; records could not hold them.
constexpr size_t kTextBytesMax = 32'767;

std::optional<size_t> Reader::length(bool flexible) {
  if (flexible) return compact_length();
  int32_t size = 0;
  number(size);
  if (size == -1) return std::nullopt;
  if (size < 0) fail_with("has a negative length");
  return size < 0 ? 0 : static_cast<size_t>(size);
}

void Reader::text(bool flexible, std::string& value) {
  const std::optional<size_t> size = text_length(flexible);
  if (!size) return fail_with("has null where a string must be");
  if (*size > kTextBytesMax) return fail_with("has a string of more than 32767 bytes");
  if (const std::byte* from = take(*size)) value = to_text({from, *size});
  if (value.size() > kTextBytesMax) fail_with("has a string of more than 32767 bytes");
}

void Reader::nullable_text(bool flexible, std::optional<std::string>& value) {
  value.reset();
  const std::optional<size_t> size = text_length(flexible);
  if (!size) return;
  if (*size > kTextBytesMax) return fail_with("has a string of more than 32767 bytes");
  if (const std::byte* from = take(*size)) value = to_text({from, *size});
  if (value && value->size() > kTextBytesMax) fail_with("has a string of more than 32767 bytes");
}

void Reader::bytes(bool flexible, ByteView& value) {
  const std::optional<size_t> size = length(flexible);
  if (!size) return fail_with("has null where bytes must be");
  if (const std::byte* from = take(*size)) value = ByteView(from, *size);
}

void Reader::nullable_bytes(bool flexible, std::optional<ByteView>& value) {
  value.reset();
  const std::optional<size_t> size = length(flexible);
  if (!size) return;
  if (const std::byte* from = take(*size)) value = ByteView(from, *size);
}

void Reader::nullable_records(bool flexible, std::optional<Records>& value) {
  std::optional<ByteView> in_memory;
  nullable_bytes(flexible, in_memory);
  value = in_memory;
}

bool Reader::present() {
  int8_t marker = 0;
  number(marker);
  return !failed() && marker >= 0;
}

std::optional<size_t> Reader::nullable_count(bool flexible, size_t element_bytes_min, size_t element_memory_bytes) {
  const std::optional<size_t> elements = length(flexible);
  if (!elements || failed()) return std::nullopt;
  if (*elements > (data_.size() - position_) / element_bytes_min) {
    fail_with("has an array longer than the rest of the frame");
    return 0;
  }
  // Neither factor is large: the product cannot overflow.
  const size_t memory = *elements * element_memory_bytes;
  if (memory > memory_left_) {
    fail_with("would take far more memory than its size explains");
    return 0;
  }
  memory_left_ -= memory;
  return elements;
}

size_t Reader::count(bool flexible, size_t element_bytes_min, size_t element_memory_bytes) {
  const std::optional<size_t> elements = nullable_count(flexible, element_bytes_min, element_memory_bytes);
  if (!elements) fail_with("has null where an array must be");
  return elements.value_or(0);
}

bool TaggedFields::next() {
  if (end_ != 0 && !in_.failed()) {
    if (taken_ && in_.position_ != end_) in_.fail_with("has a tagged field of another length than it says");
    in_.position_ = end_;
  }
  if (left_ == 0 || in_.failed()) return false;
  --left_;
  taken_ = false;
  tag_ = in_.uvarint();
  const uint32_t size = in_.uvarint();
  if (size > in_.data_.size() - in_.position_) in_.fail_with("has a tagged field longer than the rest of the frame");
  if (int64_t{tag_} <= last_tag_) in_.fail_with("has tagged fields out of order");
  last_tag_ = tag_;
  end_ = in_.position_ + size;
  return !in_.failed();
}

Status Reader::status(const char* message, int16_t version) const {
  if (!failed()) return {};
  return fail(Errc::kCorruption, fmt::format("{} v{} {} (at byte {})", message, version, failure_, position_));
}

void Writer::text(bool flexible, std::string_view value, const char* field) {
  if (flexible) {
    out_.uvarint(value.size() + 1);
  } else {
    if (value.size() > static_cast<size_t>(std::numeric_limits<int16_t>::max())) return refuse(field);
    out_.fixed(static_cast<int16_t>(value.size()));
  }
  out_.text(value);
}

void Writer::nullable_text(bool flexible, const std::optional<std::string>& value, bool may_be_null,
                           const char* field) {
  if (value) return text(flexible, *value, field);
  if (!may_be_null) return refuse(field);
  if (flexible) {
    out_.uvarint(0);
  } else {
    out_.fixed(int16_t{-1});
  }
}

void Writer::bytes(bool flexible, ByteView value, const char* field) {
  if (value.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) return refuse(field);
  count(flexible, value.size());
  out_.bytes(value);
}

void Writer::nullable_bytes(bool flexible, const std::optional<ByteView>& value, bool may_be_null, const char* field) {
  if (value) return bytes(flexible, *value, field);
  null_count(flexible, may_be_null, field);
}

void Writer::nullable_records(bool flexible, const std::optional<Records>& value, bool may_be_null, const char* field) {
  if (!value) return null_count(flexible, may_be_null, field);
  const bool elsewhere = value->elsewhere_bytes() > 0;
  MILLRACE_CHECK(!elsewhere || slices_ != nullptr, "what lies elsewhere cannot be copied");
  if (!elsewhere && (slices_ == nullptr || value->size() < kSliceBytesMin)) return bytes(flexible, *value, field);
  RecordSlice slice{.records = *value};
  if (slice.size_bytes() >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) return refuse(field);
  count(flexible, slice.size_bytes());
  slice.position = out_.size();
  slices_->push_back(slice);
}

void Writer::count(bool flexible, size_t elements) {
  if (flexible) {
    out_.uvarint(elements + 1);
  } else {
    out_.fixed(static_cast<int32_t>(elements));
  }
}

void Writer::present(bool present, bool may_be_null, const char* field) {
  if (!present && !may_be_null) return refuse(field);
  out_.fixed(static_cast<int8_t>(present ? 1 : -1));
}

void Writer::null_count(bool flexible, bool may_be_null, const char* field) {
  if (!may_be_null) return refuse(field);
  if (flexible) {
    out_.uvarint(0);
  } else {
    out_.fixed(int32_t{-1});
  }
}

Status Writer::status(const char* message, int16_t version) const {
  if (refused_ == nullptr) return {};
  return fail(Errc::kInvalidArgument, fmt::format("{} v{} cannot carry this value of {}", message, version, refused_));
}

tl::unexpected<Error> unsupported(const char* message, int16_t version) {
  return fail(Errc::kUnsupported, fmt::format("{} has no version {} here", message, version));
}

ByteView rest(const ByteReader& in) {
  ByteReader copy = in;
  return copy.bytes(copy.remaining()).value();
}

}  // namespace millrace::wire::internal
