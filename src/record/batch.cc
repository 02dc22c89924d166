#include "record/batch.h"

#include <fmt/format.h>

#include <limits>

#include "base/check.h"
#include "base/crc32c.h"

namespace millrace::record {

namespace {

constexpr size_t kMagicAt = 16;
constexpr size_t kChecksumAt = 17;
constexpr size_t kChecksummedAt = 21;  // attributes and all after
constexpr size_t kAttributesAt = 21;
constexpr size_t kMaxTimestampAt = 35;
constexpr int8_t kMagic = 2;
// The header of a message of magic 0 without its prefix, the shortest there is.
constexpr int64_t kOldHeaderBytes = 14;
// A record's smallest: length, attributes, two deltas, null key, null value, no headers, a byte each.
constexpr int64_t kRecordBytesMin = 7;

template <typename T>
void store(std::span<std::byte> bytes, size_t position, T value) {
  auto bits = static_cast<std::make_unsigned_t<T>>(value);
  for (size_t i = sizeof(T); i-- > 0;) {
    bytes[position + i] = static_cast<std::byte>(bits);
    if constexpr (sizeof(T) > 1) bits = static_cast<std::make_unsigned_t<T>>(bits >> 8);
  }
}

tl::unexpected<InvalidBatch> invalid(BatchDefect defect, std::string message) {
  return tl::unexpected(InvalidBatch{defect, std::move(message)});
}

// The counts, sequences and flags of a whole batch with a good checksum.
tl::expected<void, InvalidBatch> check_header(const BatchView& batch) {
  if ((batch.attributes() & 0x7) >= kCodecs) {
    return invalid(BatchDefect::kUnknownCodec,
                   fmt::format("compression codec {} is unknown", batch.attributes() & 0x7));
  }
  if (batch.is_control()) return invalid(BatchDefect::kControlBatch, "clients may not write control batches");
  const int64_t count = batch.record_count();
  if (count <= 0 || count != int64_t{batch.last_offset_delta()} + 1) {
    return invalid(BatchDefect::kBadCounts,
                   fmt::format("{} records with a last offset delta of {}", count, batch.last_offset_delta()));
  }
  if (batch.codec() == Codec::kNone && count * kRecordBytesMin > static_cast<int64_t>(batch.payload().size())) {
    return invalid(BatchDefect::kBadCounts, fmt::format("{} records in {} bytes", count, batch.payload().size()));
  }
  if (batch.has_producer_id()) {
    if (batch.producer_id().value() < 0 || batch.producer_epoch().value() < 0 || batch.base_sequence() < 0) {
      return invalid(BatchDefect::kBadCounts,
                     fmt::format("producer id {}, epoch {} and sequence {} do not go together",
                                 batch.producer_id().value(), batch.producer_epoch().value(), batch.base_sequence()));
    }
  } else if (batch.is_transactional()) {
    return invalid(BatchDefect::kBadCounts, "a transactional batch without a producer id");
  }
  return {};
}

}  // namespace

Result<BatchView> BatchView::first_of(ByteView bytes) {
  if (bytes.size() < kBatchHeaderBytes) {
    return fail(Errc::kCorruption, fmt::format("{} bytes are too few for a record batch", bytes.size()));
  }
  const int64_t size = size_field(bytes);
  if (size < static_cast<int64_t>(kBatchHeaderBytes) || size > static_cast<int64_t>(bytes.size())) {
    return fail(Errc::kCorruption, fmt::format("a record batch claims {} bytes where {} are left", size, bytes.size()));
  }
  const auto magic = static_cast<int8_t>(bytes[kMagicAt]);
  if (magic != kMagic) return fail(Errc::kCorruption, fmt::format("a record batch has magic {}", magic));
  return BatchView(bytes.first(static_cast<size_t>(size)));
}

int32_t BatchView::last_sequence() const {
  if (base_sequence() == kNoSequence) return kNoSequence;
  return sequence_after(base_sequence(), last_offset_delta());
}

bool BatchView::checksum_matches() const { return crc32c(bytes_.subspan(kChecksummedAt)) == checksum(); }

Result<std::optional<BatchView>> BatchReader::next() {
  if (rest_.empty()) return std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(const BatchView batch, BatchView::first_of(rest_));
  rest_ = rest_.subspan(batch.size_bytes());
  return batch;
}

tl::expected<BatchView, InvalidBatch> check_batch(ByteView bytes) {
  if (bytes.size() <= kMagicAt) {
    return invalid(BatchDefect::kTruncated, fmt::format("{} bytes are too few for a record batch", bytes.size()));
  }
  const int64_t size = BatchView::size_field(bytes);
  if (size < static_cast<int64_t>(kBatchPrefixBytes) + kOldHeaderBytes) {
    return invalid(BatchDefect::kBadLength, fmt::format("{} bytes are too few for a record batch", size));
  }
  // Messages of magic 0 and 1 have the magic in the same place, but shorter headers.
  const auto magic = static_cast<int8_t>(bytes[kMagicAt]);
  if (magic == 0 || magic == 1) {
    return invalid(BatchDefect::kOldFormat, fmt::format("message format {} is not supported, only 2 is", magic));
  }
  if (magic != kMagic) return invalid(BatchDefect::kUnknownFormat, fmt::format("message format {} is unknown", magic));
  if (size < static_cast<int64_t>(kBatchHeaderBytes)) {
    return invalid(BatchDefect::kBadLength, fmt::format("a record batch of {} bytes is shorter than its header", size));
  }
  if (size > static_cast<int64_t>(bytes.size())) {
    return invalid(BatchDefect::kTruncated,
                   fmt::format("a record batch of {} bytes ends after {}", size, bytes.size()));
  }
  const BatchView batch = *BatchView::first_of(bytes);
  if (!batch.checksum_matches())
    return invalid(BatchDefect::kBadChecksum, "the checksum does not match the record batch");
  if (const auto header = check_header(batch); !header) return tl::unexpected(header.error());
  return batch;
}

tl::expected<ArrivedBatches, InvalidBatch> check_batches(ByteView bytes) {
  ArrivedBatches arrived;
  do {
    const auto batch = check_batch(bytes);
    if (!batch) return tl::unexpected(batch.error());
    ++arrived.batches;
    arrived.records += batch->record_count();
    arrived.largest_batch_bytes = std::max(arrived.largest_batch_bytes, batch->size_bytes());
    arrived.uses_zstd |= batch->codec() == Codec::kZstd;
    arrived.has_producer_id |= batch->has_producer_id();
    bytes = bytes.subspan(batch->size_bytes());
  } while (!bytes.empty());
  if (arrived.has_producer_id && arrived.batches > 1) {
    return invalid(BatchDefect::kBadCounts, "a batch with a producer id must be the only one of its partition");
  }
  return arrived;
}

void set_base_offset(std::span<std::byte> batch, Offset offset) { store(batch, 0, offset.value()); }

void set_leader_epoch(std::span<std::byte> batch, LeaderEpoch epoch) { store(batch, 12, epoch.value()); }

void set_log_append_time(std::span<std::byte> batch, int64_t timestamp_ms) {
  MILLRACE_CHECK(batch.size() >= kBatchHeaderBytes);
  batch[kAttributesAt + 1] |= std::byte{0x8};
  store(batch, kMaxTimestampAt, timestamp_ms);
  store(batch, kChecksumAt, crc32c(batch.subspan(kChecksummedAt)));
}

int32_t sequence_after(int32_t sequence, int32_t distance) {
  constexpr int64_t kCycle = int64_t{std::numeric_limits<int32_t>::max()} + 1;
  return static_cast<int32_t>((int64_t{sequence} + distance) % kCycle);
}

}  // namespace millrace::record
