#include "wire/frame.h"

#include <fmt/format.h>

#include <limits>

#include "base/check.h"
#include "wire/internal/codec.h"
#include "wire/messages.h"

namespace millrace::wire {

int16_t request_header_version(int16_t message_version, int16_t flexible_from) {
  return message_version >= flexible_from ? 2 : 1;
}

int16_t response_header_version(ApiKey key, int16_t message_version, int16_t flexible_from) {
  return key != ApiKey::kApiVersions && message_version >= flexible_from ? 1 : 0;
}

Result<RequestHeader> decode_request_header(ByteReader& in) {
  ByteReader ahead = in;
  MILLRACE_ASSIGN_OR_RETURN(const auto key, ahead.fixed<int16_t>());
  MILLRACE_ASSIGN_OR_RETURN(const auto version, ahead.fixed<int16_t>());
  const ApiRange* api = find_api(key);
  if (api == nullptr) {
    return fail(Errc::kUnsupported, fmt::format("API {} ({}) is not served", key, api_name(static_cast<ApiKey>(key))));
  }
  return decode_request_header(in, request_header_version(version, api->flexible_from));
}

Result<RequestHeader> decode_request_header(ByteReader& in, int16_t header_version) {
  Result<RequestHeader> header{tl::in_place};
  internal::Reader reader(internal::rest(in));
  int16_t key = 0;
  reader.number(key);
  header->api_key = static_cast<ApiKey>(key);
  reader.number(header->api_version);
  reader.number(header->correlation_id);
  // An old-style string in every version: a server reads it before it knows what the client can do.
  if (header_version >= 1) reader.nullable_text(false, header->client_id);
  if (header_version >= 2) internal::skip_tags(reader);
  MILLRACE_RETURN_IF_ERROR(reader.status("RequestHeader", header_version));
  MILLRACE_RETURN_IF_ERROR(in.skip(reader.position()));
  return header;
}

Result<ResponseHeader> decode_response_header(ByteReader& in, int16_t header_version) {
  ResponseHeader header;
  internal::Reader reader(internal::rest(in));
  reader.number(header.correlation_id);
  if (header_version >= 1) internal::skip_tags(reader);
  MILLRACE_RETURN_IF_ERROR(reader.status("ResponseHeader", header_version));
  MILLRACE_RETURN_IF_ERROR(in.skip(reader.position()));
  return header;
}

Status encode_request_header(const RequestHeader& header, ByteWriter& out, int16_t header_version) {
  internal::Writer writer(out, nullptr);
  writer.number(static_cast<int16_t>(header.api_key));
  writer.number(header.api_version);
  writer.number(header.correlation_id);
  if (header_version >= 1) writer.nullable_text(false, header.client_id, true, "client_id");
  if (header_version >= 2) writer.tags(0);
  return writer.status("RequestHeader", header_version);
}

void encode_response_header(const ResponseHeader& header, ByteWriter& out, int16_t header_version) {
  internal::Writer writer(out, nullptr);
  writer.number(header.correlation_id);
  if (header_version >= 1) writer.tags(0);
}

size_t OutgoingFrame::size() const {
  size_t total = bytes.size();
  for (const RecordSlice& slice : slices) total += slice.size_bytes();
  return total;
}

Bytes OutgoingFrame::flatten() const {
  Bytes all;
  all.reserve(size());
  const auto add = [&](ByteView piece) { all.insert(all.end(), piece.begin(), piece.end()); };
  visit(add, [&](const RecordSlice& slice) {
    MILLRACE_CHECK(slice.records.elsewhere_bytes() == 0);
    add(slice.records);
  });
  return all;
}

namespace internal {
namespace {

// Most frames without their batches are shorter.
constexpr size_t kFrameBytesTypical = 512;

}  // namespace

Status begin_request(OutgoingFrame& frame, const RequestHeader& header, int16_t flexible_from) {
  frame.bytes.reserve(kFrameBytesTypical);
  ByteWriter out(frame.bytes);
  out.fixed(int32_t{0});
  return encode_request_header(header, out, request_header_version(header.api_version, flexible_from));
}

void begin_response(OutgoingFrame& frame, ApiKey key, int32_t correlation_id, int16_t version, int16_t flexible_from) {
  frame.bytes.reserve(kFrameBytesTypical);
  ByteWriter out(frame.bytes);
  out.fixed(int32_t{0});
  encode_response_header({correlation_id}, out, response_header_version(key, version, flexible_from));
}

Status finish(OutgoingFrame& frame) {
  const size_t length = frame.size() - sizeof(int32_t);
  if (length > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return fail(Errc::kTooLarge, fmt::format("a frame of {} bytes is longer than its length field can say", length));
  }
  ByteWriter(frame.bytes).patch(0, static_cast<int32_t>(length));
  return {};
}

}  // namespace internal
}  // namespace millrace::wire
