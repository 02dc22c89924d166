#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/uuid.h"
#include "wire/error_code.h"
#include "wire/record_slice.h"

// What the generated encoders and decoders are made of: the primitive types of Kafka's protocol
// (https://kafka.apache.org/protocol#protocol_types). `flexible` chooses between the old lengths (int16 or int32, -1
// for null) and the compact ones (unsigned varint of the length plus one, 0 for null).
namespace millrace::wire::internal {

// The memory that the arrays of one decoded message may take: a small part of a hostile frame must not become
// gigabytes. An honest element takes at most a few times its bytes in the frame.
inline constexpr size_t kDecodedBytesFloor = size_t{1} << 20;
inline constexpr size_t kDecodedBytesPerFrameByte = 8;

// Reads one message. The first failure sticks: from then on every read answers zero, empty or null and moves nothing,
// so that generated code reads field after field and looks at the outcome once, at the end.
class Reader {
 public:
  explicit Reader(ByteView data)
      : data_(data), memory_left_(kDecodedBytesFloor + kDecodedBytesPerFrameByte * data.size()) {}

  bool failed() const { return failure_ != nullptr; }
  size_t position() const { return position_; }

  template <typename T>
  void number(T& value) {
    std::make_unsigned_t<T> bits = 0;
    if (const std::byte* from = take(sizeof(T))) {
      for (size_t i = 0; i < sizeof(T); ++i) {
        if constexpr (sizeof(T) > 1) bits = static_cast<std::make_unsigned_t<T>>(bits << 8);
        bits = static_cast<std::make_unsigned_t<T>>(bits | std::to_integer<uint8_t>(from[i]));
      }
    }
    value = static_cast<T>(bits);
  }
  void boolean(bool& value);
  void float64(double& value);
  void error(ErrorCode& value);
  void uuid(Uuid& value);

  void text(bool flexible, std::string& value);
  void nullable_text(bool flexible, std::optional<std::string>& value);
  void bytes(bool flexible, ByteView& value);
  void nullable_bytes(bool flexible, std::optional<ByteView>& value);
  void nullable_records(bool flexible, std::optional<Records>& value);

  // The number of elements that follow. Fails where they could not lie in the rest of the frame, each of them being at
  // least `element_bytes_min` bytes long, or where they would take more memory than the frame's size allows.
  size_t count(bool flexible, size_t element_bytes_min, size_t element_memory_bytes);
  std::optional<size_t> nullable_count(bool flexible, size_t element_bytes_min, size_t element_memory_bytes);

  // Whether a struct that may be null follows: an int8, negative for null.
  bool present();

  // The version's field has no null.
  void refuse_null() { fail_with("has null where the version has none"); }

  Status status(const char* message, int16_t version) const;

 private:
  friend class TaggedFields;

  const std::byte* take(size_t size) {
    if (failure_ != nullptr || data_.size() - position_ < size) {
      fail_with("ends in the middle of a field");
      return nullptr;
    }
    const std::byte* from = data_.data() + position_;
    position_ += size;
    return from;
  }
  void fail_with(const char* what) {
    if (failure_ == nullptr) failure_ = what;
  }
  uint32_t uvarint();
  // The length of a string (int16 in old versions) or of bytes or an array (int32); nothing for null.
  std::optional<size_t> text_length(bool flexible);
  std::optional<size_t> length(bool flexible);
  std::optional<size_t> compact_length();

  ByteView data_;
  size_t position_ = 0;
  size_t memory_left_;
  const char* failure_ = nullptr;
};

// Walks over the tagged fields at the end of a structure, skipping those that nobody takes:
//   for (TaggedFields fields(in); fields.next();) {
//     if (fields.tag() == 0) {
//       fields.take();
//       in.text(true, value);
//     }
//   }
class TaggedFields {
 public:
  explicit TaggedFields(Reader& in) : in_(in), left_(in.uvarint()) {}

  // Moves to the next field; false after the last one or a failure.
  bool next();
  uint32_t tag() const { return tag_; }
  // This field is read now, and must take all of its bytes.
  void take() { taken_ = true; }

 private:
  Reader& in_;
  uint32_t left_;
  uint32_t tag_ = 0;
  int64_t last_tag_ = -1;
  size_t end_ = 0;  // of the current field; 0 before the first
  bool taken_ = false;
};

inline void skip_tags(Reader& in) {
  for (TaggedFields fields(in); fields.next();) {
  }
}

// Writes one message. A value that the version cannot carry sticks as a refusal; the message's encoder answers it at
// the end.
class Writer {
 public:
  // Batches of records of kSliceBytesMin and more are not copied where `slices` is given.
  Writer(ByteWriter& out, std::vector<RecordSlice>* slices) : out_(out), slices_(slices) {}

  template <typename T>
  void number(T value) {
    out_.fixed(value);
  }
  void boolean(bool value) { out_.fixed(static_cast<uint8_t>(value)); }
  void float64(double value) { out_.float64(value); }
  void error(ErrorCode value) { out_.fixed(static_cast<int16_t>(value)); }
  void uuid(const Uuid& value) { out_.bytes(std::as_bytes(std::span(value.bytes))); }

  void text(bool flexible, std::string_view value, const char* field);
  void nullable_text(bool flexible, const std::optional<std::string>& value, bool may_be_null, const char* field);
  void bytes(bool flexible, ByteView value, const char* field);
  void nullable_bytes(bool flexible, const std::optional<ByteView>& value, bool may_be_null, const char* field);
  // As nullable_bytes, but large ones become slices, and so does what lies elsewhere: for that `slices` must be given.
  void nullable_records(bool flexible, const std::optional<Records>& value, bool may_be_null, const char* field);

  void count(bool flexible, size_t elements);
  void null_count(bool flexible, bool may_be_null, const char* field);

  // In front of a struct that may be null.
  void present(bool present, bool may_be_null, const char* field);

  void tags(size_t count) { out_.uvarint(count); }
  template <typename WriteContent>
  void tag(uint32_t tag, const WriteContent& write_content) {
    Bytes content;
    ByteWriter content_out(content);
    Writer content_writer(content_out, nullptr);
    write_content(content_writer);
    out_.uvarint(tag);
    out_.uvarint(content.size());
    out_.bytes(content);
    if (content_writer.refused_ != nullptr) refuse(content_writer.refused_);
  }

  // The version has no place for what `field` holds.
  void refuse(const char* field) {
    if (refused_ == nullptr) refused_ = field;
  }
  Status status(const char* message, int16_t version) const;

 private:
  ByteWriter& out_;
  std::vector<RecordSlice>* slices_;
  const char* refused_ = nullptr;
};

tl::unexpected<Error> unsupported(const char* message, int16_t version);

// The bytes that follow `in`'s position, without moving it.
ByteView rest(const ByteReader& in);

}  // namespace millrace::wire::internal
