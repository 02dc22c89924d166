#include "record/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/crc32c.h"
#include "record/internal/record_writer.h"

namespace millrace::record {

namespace {

constexpr int64_t kHeaderBytesMin = 2;

Result<std::optional<ByteView>> nullable_bytes(ByteReader& reader) {
  MILLRACE_ASSIGN_OR_RETURN(const int64_t size, reader.varint());
  if (size == -1) return std::nullopt;
  if (size < 0) return fail(Errc::kCorruption, fmt::format("a field has length {}", size));
  MILLRACE_ASSIGN_OR_RETURN(const ByteView bytes, reader.bytes(static_cast<size_t>(size)));
  return bytes;
}

Status read_header(ByteReader& reader, RecordHeader& header) {
  MILLRACE_ASSIGN_OR_RETURN(const auto key, nullable_bytes(reader));
  if (!key) return fail(Errc::kCorruption, "a header has no key");
  header.key = as_text(*key);
  MILLRACE_ASSIGN_OR_RETURN(header.value, nullable_bytes(reader));
  return {};
}

}  // namespace

RecordReader::RecordReader(const BatchView& batch, Bytes plain)
    : batch_(batch), plain_(std::move(plain)), records_left_(batch.record_count()) {}

Result<RecordReader> RecordReader::open(const BatchView& batch, size_t plain_bytes_max) {
  if (batch.record_count() < 0) {
    return fail(Errc::kCorruption, fmt::format("a batch of {} records", batch.record_count()));
  }
  Bytes plain;
  if (batch.codec() != Codec::kNone) {
    MILLRACE_RETURN_IF_ERROR(decompress(batch.codec(), batch.payload(), plain_bytes_max, plain));
  } else if (batch.payload().size() > plain_bytes_max) {
    return fail(Errc::kTooLarge, fmt::format("the records take more than the {} bytes allowed", plain_bytes_max));
  }
  return RecordReader(batch, std::move(plain));
}

Result<bool> RecordReader::next(Record& record) {
  const ByteView all = batch_.codec() == Codec::kNone ? batch_.payload() : ByteView(plain_);
  if (records_left_ == 0) {
    if (position_ != all.size()) {
      return fail(Errc::kCorruption, fmt::format("{} bytes after a batch's last record", all.size() - position_));
    }
    return false;
  }
  MILLRACE_RETURN_IF_ERROR(read_record(record));
  --records_left_;
  return true;
}

Status RecordReader::read_record(Record& record) {
  const ByteView all = batch_.codec() == Codec::kNone ? batch_.payload() : ByteView(plain_);
  ByteReader outer(all.subspan(position_));
  MILLRACE_ASSIGN_OR_RETURN(const int64_t size, outer.varint());
  if (size < 0) return fail(Errc::kCorruption, fmt::format("a record has length {}", size));
  MILLRACE_ASSIGN_OR_RETURN(const ByteView body, outer.bytes(static_cast<size_t>(size)));
  position_ += outer.position();

  ByteReader reader(body);
  MILLRACE_RETURN_IF_ERROR(reader.skip(1));  // attributes: none are defined
  MILLRACE_ASSIGN_OR_RETURN(const int64_t timestamp_delta, reader.varint());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t offset_delta, reader.varint());
  if (offset_delta < 0 || offset_delta > batch_.last_offset_delta()) {
    return fail(Errc::kCorruption, fmt::format("a record has offset delta {}", offset_delta));
  }
  record.offset = batch_.base_offset() + offset_delta;
  // Wraps, instead of being undefined, where both are hostile.
  record.timestamp_ms = batch_.timestamp_type() == TimestampType::kLogAppendTime
                            ? batch_.max_timestamp_ms()
                            : static_cast<int64_t>(static_cast<uint64_t>(batch_.base_timestamp_ms()) +
                                                   static_cast<uint64_t>(timestamp_delta));
  MILLRACE_ASSIGN_OR_RETURN(record.key, nullable_bytes(reader));
  MILLRACE_ASSIGN_OR_RETURN(record.value, nullable_bytes(reader));
  MILLRACE_ASSIGN_OR_RETURN(const int64_t header_count, reader.varint());
  if (header_count < 0 || header_count > static_cast<int64_t>(reader.remaining()) / kHeaderBytesMin) {
    return fail(Errc::kCorruption, fmt::format("a record has {} headers", header_count));
  }
  headers_.resize(static_cast<size_t>(header_count));
  for (RecordHeader& header : headers_) MILLRACE_RETURN_IF_ERROR(read_header(reader, header));
  record.headers = headers_;
  if (reader.remaining() > 0) return fail(Errc::kCorruption, "a record is shorter than its length says");
  return {};
}

void BatchBuilder::add(int64_t timestamp_ms, std::optional<ByteView> key, std::optional<ByteView> value,
                       std::span<const RecordHeader> headers) {
  if (record_count_ == 0) {
    base_timestamp_ms_ = timestamp_ms;
    max_timestamp_ms_ = timestamp_ms;
  }
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
  const Record record{Offset(record_count_), timestamp_ms, key, value, headers};
  write_record(record, Offset(0), base_timestamp_ms_, scratch_, records_);
  ++record_count_;
}

Result<Bytes> BatchBuilder::finish() {
  MILLRACE_CHECK(record_count_ > 0, "a batch needs a record");
  Bytes batch;
  batch.reserve(size_bytes());
  ByteWriter writer(batch);
  const auto attributes =
      static_cast<int16_t>(static_cast<int>(options_.codec) | (static_cast<int>(options_.timestamp_type) << 3) |
                           (options_.transactional ? 0x10 : 0) | (options_.control ? 0x20 : 0));
  writer.fixed(options_.base_offset.value());
  writer.fixed(int32_t{0});  // length, below
  writer.fixed(options_.leader_epoch.value());
  writer.fixed(int8_t{2});
  writer.fixed(uint32_t{0});  // checksum, below
  writer.fixed(attributes);
  writer.fixed(record_count_ - 1);
  writer.fixed(base_timestamp_ms_);
  writer.fixed(max_timestamp_ms_);
  writer.fixed(options_.producer_id.value());
  writer.fixed(options_.producer_epoch.value());
  writer.fixed(options_.base_sequence);
  writer.fixed(record_count_);
  MILLRACE_RETURN_IF_ERROR(compress(options_.codec, records_, batch));
  if (batch.size() > std::numeric_limits<int32_t>::max()) {
    return fail(Errc::kTooLarge, "a record batch is smaller than 2 GB");
  }
  writer.patch(8, static_cast<int32_t>(batch.size() - kBatchPrefixBytes));
  writer.patch(17, crc32c(ByteView(batch).subspan(21)));
  records_.clear();
  record_count_ = 0;
  return batch;
}

}  // namespace millrace::record
