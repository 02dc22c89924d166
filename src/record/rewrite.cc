#include "record/rewrite.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/crc32c.h"
#include "record/internal/record_writer.h"

namespace millrace::record {

namespace {

constexpr size_t kLengthAt = 8;
constexpr size_t kChecksumAt = 17;
constexpr size_t kAttributesAt = 21;  // and all after is under the checksum
constexpr size_t kBaseTimestampAt = 27;
constexpr size_t kMaxTimestampAt = 35;
constexpr size_t kCountAt = 57;
constexpr uint16_t kCodecMask = 0x7;
constexpr uint16_t kHorizonFlag = 0x40;

// A batch that begins at `start` of `out` as a copy of another one's header.
class Rewriting {
 public:
  Rewriting(const BatchView& batch, Bytes& out) : out_(out), start_(out.size()) {
    const ByteView header = batch.bytes().first(kBatchHeaderBytes);
    out.insert(out.end(), header.begin(), header.end());
  }

  template <typename T>
  void set(size_t at, T value) {
    ByteWriter(out_).patch(start_ + at, value);
  }

  Status finish() {
    const size_t size = out_.size() - start_;
    if (size > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
      out_.resize(start_);
      return fail(Errc::kTooLarge, "a record batch is smaller than 2 GB");
    }
    set(kLengthAt, static_cast<int32_t>(size - kBatchPrefixBytes));
    set(kChecksumAt, crc32c(ByteView(out_).subspan(start_ + kAttributesAt)));
    return {};
  }

 private:
  Bytes& out_;
  const size_t start_;
};

uint16_t with_codec(uint16_t attributes, Codec codec) {
  return static_cast<uint16_t>((attributes & ~kCodecMask) | static_cast<uint16_t>(codec));
}

struct Count {
  int32_t kept = 0;
  bool tombstones = false;
};

Result<Count> count_kept(const BatchView& batch, const Filter& filter) {
  MILLRACE_ASSIGN_OR_RETURN(auto reader, RecordReader::open(batch, filter.plain_bytes_max));
  Count count;
  Record record;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const bool more, reader.next(record));
    if (!more) return count;
    if (!filter.keep(record)) continue;
    ++count.kept;
    count.tombstones |= !record.value;
  }
}

}  // namespace

Status recompress(const BatchView& batch, Codec codec, size_t plain_bytes_max, Bytes& out) {
  Bytes plain;
  MILLRACE_RETURN_IF_ERROR(decompress(batch.codec(), batch.payload(), plain_bytes_max, plain));
  Rewriting made(batch, out);
  made.set(kAttributesAt, with_codec(batch.attributes(), codec));
  MILLRACE_RETURN_IF_ERROR(compress(codec, plain, out));
  return made.finish();
}

std::optional<int64_t> delete_horizon_ms(const BatchView& batch) {
  if ((batch.attributes() & kHorizonFlag) == 0) return std::nullopt;
  return batch.base_timestamp_ms();
}

Result<Kept> append_filtered(const BatchView& batch, const Filter& filter, Bytes& out) {
  MILLRACE_ASSIGN_OR_RETURN(const Count count, count_kept(batch, filter));
  if (count.kept == 0) return Kept::kNone;
  const Kept outcome = count.kept == batch.record_count() ? Kept::kAll : Kept::kSome;
  const bool mark = !delete_horizon_ms(batch) && (filter.always || count.tombstones);
  if (outcome == Kept::kAll && !mark) {
    out.insert(out.end(), batch.bytes().begin(), batch.bytes().end());
    return outcome;
  }
  const int64_t base_ms = mark ? filter.delete_horizon_ms : batch.base_timestamp_ms();
  int64_t greatest_ms = kNoTimestamp;
  Bytes plain;
  Bytes scratch;
  MILLRACE_ASSIGN_OR_RETURN(auto reader, RecordReader::open(batch, filter.plain_bytes_max));
  Record record;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const bool more, reader.next(record));
    if (!more) break;
    if (!filter.keep(record)) continue;
    greatest_ms = std::max(greatest_ms, record.timestamp_ms);
    write_record(record, batch.base_offset(), base_ms, scratch, plain);
  }
  Rewriting made(batch, out);
  if (mark) {
    made.set(kAttributesAt, static_cast<uint16_t>(batch.attributes() | kHorizonFlag));
    made.set(kBaseTimestampAt, base_ms);
  }
  if (batch.timestamp_type() == TimestampType::kCreateTime) made.set(kMaxTimestampAt, greatest_ms);
  made.set(kCountAt, count.kept);
  MILLRACE_RETURN_IF_ERROR(compress(batch.codec(), plain, out));
  MILLRACE_RETURN_IF_ERROR(made.finish());
  return outcome;
}

void append_emptied(const BatchView& batch, Bytes& out) {
  Rewriting made(batch, out);
  made.set(kAttributesAt, with_codec(batch.attributes(), Codec::kNone));
  made.set(kCountAt, int32_t{0});
  // A header alone is never too large.
  static_cast<void>(made.finish());
}

}  // namespace millrace::record
