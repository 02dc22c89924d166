#include "record/internal/record_writer.h"

namespace millrace::record {
namespace {

void write_nullable(ByteWriter& writer, std::optional<ByteView> bytes) {
  writer.varint(bytes ? static_cast<int64_t>(bytes->size()) : -1);
  if (bytes) writer.bytes(*bytes);
}

}  // namespace

void write_record(const Record& record, Offset base_offset, int64_t base_timestamp_ms, Bytes& scratch, Bytes& out) {
  scratch.clear();
  ByteWriter body(scratch);
  body.fixed(int8_t{0});
  // Wraps where a client's timestamps do; readers wrap back.
  body.varint(
      static_cast<int64_t>(static_cast<uint64_t>(record.timestamp_ms) - static_cast<uint64_t>(base_timestamp_ms)));
  body.varint(record.offset - base_offset);
  write_nullable(body, record.key);
  write_nullable(body, record.value);
  body.varint(static_cast<int64_t>(record.headers.size()));
  for (const RecordHeader& header : record.headers) {
    body.varint(static_cast<int64_t>(header.key.size()));
    body.text(header.key);
    write_nullable(body, header.value);
  }
  ByteWriter writer(out);
  writer.varint(static_cast<int64_t>(scratch.size()));
  writer.bytes(scratch);
}

}  // namespace millrace::record
