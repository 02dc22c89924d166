#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "wire/api.h"
#include "wire/record_slice.h"

// Headers, and whole frames: int32 length, header, message.
namespace millrace::wire {

struct RequestHeader {
  ApiKey api_key = ApiKey::kProduce;
  int16_t api_version = 0;
  int32_t correlation_id = 0;
  std::optional<std::string> client_id;

  friend bool operator==(const RequestHeader&, const RequestHeader&) = default;
};

struct ResponseHeader {
  int32_t correlation_id = 0;

  friend bool operator==(const ResponseHeader&, const ResponseHeader&) = default;
};

// Versions of the headers. A request has 1 (client_id), or 2 (and tagged fields) where its message is flexible; 0 was
// one API's that no longer exists. A response has 0, or 1 (tagged fields) where its message is flexible, except that
// ApiVersions always has 0: a client must be able to read that answer before it knows the server.
int16_t request_header_version(int16_t message_version, int16_t flexible_from);
int16_t response_header_version(ApiKey key, int16_t message_version, int16_t flexible_from);

// Reads the header at the start of a frame (after the length). kUnsupported: an API that is not served, of which it is
// not known where its header ends. The version of a served API is not looked at: T::decode() does that.
Result<RequestHeader> decode_request_header(ByteReader& in);
Result<RequestHeader> decode_request_header(ByteReader& in, int16_t header_version);
Result<ResponseHeader> decode_response_header(ByteReader& in, int16_t header_version);

// kInvalidArgument: a client_id of more than 32,767 bytes.
[[nodiscard]] Status encode_request_header(const RequestHeader& header, ByteWriter& out, int16_t header_version);
void encode_response_header(const ResponseHeader& header, ByteWriter& out, int16_t header_version);

// A frame ready to be sent, the length in front. Large record batches, and those that lie elsewhere, are not in it:
// `slices` says where they go, in ascending order, and what they point to must outlive the frame.
struct OutgoingFrame {
  Bytes bytes;
  std::vector<RecordSlice> slices;

  // All bytes, the length and the slices included.
  size_t size() const;
  // Visit what to send, in order: `on_bytes(ByteView)` for what is in the frame, `on_records(const RecordSlice&)` in
  // between.
  template <typename OnBytes, typename OnRecords>
  void visit(const OnBytes& on_bytes, const OnRecords& on_records) const {
    size_t visited = 0;
    for (const RecordSlice& slice : slices) {
      on_bytes(ByteView(bytes).subspan(visited, slice.position - visited));
      on_records(slice);
      visited = slice.position;
    }
    if (visited < bytes.size()) on_bytes(ByteView(bytes).subspan(visited));
  }
  // One buffer with everything. All records must be in memory.
  Bytes flatten() const;
};

namespace internal {

Status begin_request(OutgoingFrame& frame, const RequestHeader& header, int16_t flexible_from);
void begin_response(OutgoingFrame& frame, ApiKey key, int32_t correlation_id, int16_t version, int16_t flexible_from);
// Fills in the length. kTooLarge where an int32 cannot say it.
Status finish(OutgoingFrame& frame);

template <typename Message>
Status encode_into(OutgoingFrame& frame, const Message& message, int16_t version) {
  ByteWriter out(frame.bytes);
  if constexpr (requires { message.encode(out, version, frame.slices); }) {
    MILLRACE_RETURN_IF_ERROR(message.encode(out, version, frame.slices));
  } else {
    MILLRACE_RETURN_IF_ERROR(message.encode(out, version));
  }
  return finish(frame);
}

}  // namespace internal

// The frame of an answer. Fails as Response::encode() does.
template <typename Response>
Result<OutgoingFrame> encode_response(const Response& response, int32_t correlation_id, int16_t version) {
  OutgoingFrame frame;
  internal::begin_response(frame, Response::kApiKey, correlation_id, version, Response::kFlexibleFrom);
  MILLRACE_RETURN_IF_ERROR(internal::encode_into(frame, response, version));
  return frame;
}

// The frame of a request, for clients and tests.
template <typename Request>
Result<OutgoingFrame> encode_request(const Request& request, int32_t correlation_id,
                                     std::optional<std::string> client_id, int16_t version) {
  OutgoingFrame frame;
  const RequestHeader header{Request::kApiKey, version, correlation_id, std::move(client_id)};
  MILLRACE_RETURN_IF_ERROR(internal::begin_request(frame, header, Request::kFlexibleFrom));
  MILLRACE_RETURN_IF_ERROR(internal::encode_into(frame, request, version));
  return frame;
}

// Reads an answer (the frame without its length) of the given version.
template <typename Response>
Result<Response> decode_response(ByteReader& in, int16_t version) {
  MILLRACE_RETURN_IF_ERROR(
      decode_response_header(in, response_header_version(Response::kApiKey, version, Response::kFlexibleFrom)));
  return Response::decode(in, version);
}

}  // namespace millrace::wire
