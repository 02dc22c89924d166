#include "broker/internal/record_checks.h"

#include <fmt/core.h>

#include <utility>

#include "broker/internal/error_codes.h"
#include "record/records.h"
#include "record/rewrite.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;

// From this version of Produce on a producer may send zstd (KIP-110).
constexpr int16_t kZstdFrom = 7;

// Whether a timestamp is too far from the clock. Records without one are let through, as Kafka does.
std::optional<RecordDefect> check_timestamp(int64_t timestamp_ms, const TopicConfig& topic, int64_t now_ms) {
  if (timestamp_ms == record::kNoTimestamp) return std::nullopt;
  // Without overflow: the clock is positive, timestamps may be anything.
  const bool early = timestamp_ms < now_ms && topic.timestamp_before_max_ms < INT64_MAX &&
                     timestamp_ms < now_ms - topic.timestamp_before_max_ms;
  const bool late = timestamp_ms > now_ms && timestamp_ms - now_ms > topic.timestamp_after_max_ms;
  if (!early && !late) return std::nullopt;
  return RecordDefect{
      ErrorCode::kInvalidTimestamp,
      fmt::format("timestamp {} is further {} the broker's clock, {}, than message.timestamp.{}.max.ms, {}",
                  timestamp_ms, early ? "behind" : "ahead of", now_ms, early ? "before" : "after",
                  early ? topic.timestamp_before_max_ms : topic.timestamp_after_max_ms)};
}

std::optional<RecordDefect> check_record(const record::Record& record, const TopicConfig& topic, int64_t now_ms) {
  if (topic.needs_keys && !record.key)
    return RecordDefect{ErrorCode::kInvalidRecord, "a compacted topic takes no record without a key"};
  if (topic.log_append_time) return std::nullopt;
  return check_timestamp(record.timestamp_ms, topic, now_ms);
}

// The error is the first record's that has one; clients send those again that are not named.
std::optional<RecordDefect> check_each(const record::BatchView& batch, const TopicConfig& topic, int64_t now_ms) {
  auto reader = record::RecordReader::open(batch, kPlainBatchBytesMax);
  if (!reader) return RecordDefect{ErrorCode::kInvalidRecord, reader.error().message};
  std::optional<RecordDefect> found;
  record::Record record;
  for (int32_t index = 0; !found || found->records.size() < kRefusedRecordsMax; ++index) {
    const auto more = reader->next(record);
    if (!more) return RecordDefect{ErrorCode::kInvalidRecord, more.error().message};
    if (!*more) break;
    auto defect = check_record(record, topic, now_ms);
    if (!defect) continue;
    if (!found) found = RecordDefect{defect->error, defect->message};
    found->records.push_back({index, std::move(defect->message)});
  }
  return found;
}

}  // namespace

std::optional<RecordDefect> check_records(const record::BatchView& batch, const TopicConfig& topic, int64_t now_ms) {
  const bool each_timestamp = !topic.log_append_time && topic.timestamp_before_max_ms < INT64_MAX;
  if (topic.needs_keys || each_timestamp) return check_each(batch, topic, now_ms);
  // The greatest timestamp stands in the header.
  if (topic.log_append_time) return std::nullopt;
  auto defect = check_timestamp(batch.max_timestamp_ms(), topic, now_ms);
  if (!defect) return std::nullopt;
  auto named = check_each(batch, topic, now_ms);
  return named && named->error == defect->error ? std::move(named) : std::move(defect);
}

tl::expected<CheckedBatch, RecordDefect> check_batch(std::span<std::byte> arrived, const TopicConfig& topic,
                                                     int16_t version, int64_t now_ms) {
  const auto refuse = [](ErrorCode error, std::string message) {
    return tl::unexpected(RecordDefect{error, std::move(message)});
  };
  const auto bytes_max = static_cast<size_t>(topic.message_bytes_max);
  const auto summary = record::check_batches(arrived);
  if (!summary) return refuse(to_wire(summary.error().defect), summary.error().message);
  if (summary->largest_batch_bytes > bytes_max) {
    return refuse(ErrorCode::kMessageTooLarge, fmt::format("a batch of {} bytes; the topic's max.message.bytes is {}",
                                                           summary->largest_batch_bytes, bytes_max));
  }
  if (summary->uses_zstd && version < kZstdFrom)
    return refuse(ErrorCode::kUnsupportedCompressionType, "zstd needs Produce version 7");
  if (summary->batches != 1)
    return refuse(ErrorCode::kInvalidRecord, "a request may have one record batch for each partition");
  const auto batch = record::BatchView::first_of(arrived);
  if (batch->base_offset() != Offset{0})
    return refuse(
        ErrorCode::kInvalidRecord,
        fmt::format("a batch that begins at offset {}; where it begins is the broker's to say, and it comes with 0",
                    batch->base_offset().value()));
  if (auto defect = check_records(*batch, topic, now_ms)) return tl::unexpected(std::move(*defect));

  CheckedBatch checked{.stored = arrived, .recompressed = {}, .records = static_cast<int64_t>(summary->records)};
  if (!topic.codec || *topic.codec == batch->codec()) return checked;
  if (const Status made = record::recompress(*batch, *topic.codec, kPlainBatchBytesMax, checked.recompressed); !made)
    return refuse(ErrorCode::kInvalidRecord, made.error().message);
  if (checked.recompressed.size() > bytes_max) {
    return refuse(ErrorCode::kMessageTooLarge,
                  fmt::format("a batch of {} bytes as compression.type has it; the topic's max.message.bytes is {}",
                              checked.recompressed.size(), bytes_max));
  }
  checked.stored = checked.recompressed;
  return checked;
}

}  // namespace millrace::broker
