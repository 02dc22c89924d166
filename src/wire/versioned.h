#pragma once

#include <algorithm>

#include "base/byte_reader.h"
#include "base/byte_writer.h"

// Messages that carry their own version, an int16 in front: the values of internal topics and the consumer protocol.
// The keys of internal topics carry the type of their record there instead, and have version 0.
namespace millrace::wire {

// Reads a message of the version that it names. A newer version than we know is read as the newest that we know, since
// Kafka only ever appends to these; what follows is ignored. Views live as long as `bytes`.
template <typename T>
Result<T> decode_versioned(ByteView bytes) {
  ByteReader in(bytes);
  MILLRACE_ASSIGN_OR_RETURN(const auto version, in.fixed<int16_t>());
  return T::decode(in, std::min(version, T::kMaxVersion));
}

template <typename T>
Result<Bytes> encode_versioned(const T& message, int16_t version) {
  Result<Bytes> bytes{tl::in_place};
  ByteWriter out(*bytes);
  out.fixed(version);
  MILLRACE_RETURN_IF_ERROR(message.encode(out, version));
  return bytes;
}

// The type of an internal topic's record, from its key: T::kRecordType of some T.
inline Result<int16_t> record_type(ByteView key) { return ByteReader(key).fixed<int16_t>(); }

// kInvalidArgument where the key is of another type.
template <typename T>
Result<T> decode_record_key(ByteView key) {
  ByteReader in(key);
  MILLRACE_ASSIGN_OR_RETURN(const auto type, in.fixed<int16_t>());
  if (type != T::kRecordType) return fail(Errc::kInvalidArgument, "the key belongs to a record of another type");
  return T::decode(in, 0);
}

template <typename T>
Result<Bytes> encode_record_key(const T& key) {
  Result<Bytes> bytes{tl::in_place};
  ByteWriter out(*bytes);
  out.fixed(T::kRecordType);
  MILLRACE_RETURN_IF_ERROR(key.encode(out, 0));
  return bytes;
}

}  // namespace millrace::wire
