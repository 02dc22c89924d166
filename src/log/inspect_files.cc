#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "log/inspect.h"
#include "log/internal/aborted_transactions.h"
#include "log/internal/checkpoint_file.h"
#include "log/internal/index_file.h"
#include "log/internal/segment.h"
#include "log/internal/wal_format.h"

// Reading single files, for people to look at.
namespace millrace::log {

namespace {

constexpr size_t kWindowBytes = 1u << 20;
constexpr uint64_t kIndexBytesMax = 1ull << 30;

tl::unexpected<Error> no_batch(const std::string& path, uint64_t position, std::string_view why) {
  return fail(Errc::kCorruption, fmt::format("{} at byte {}: {}", path, position, why));
}

std::string config_text(const std::map<std::string, std::string>& config) {
  std::string text;
  for (const auto& [name, value] : config) text += fmt::format(" {}={}", name, value);
  return text;
}

Result<WalLine> to_line(const WalEntry& entry) {
  WalLine line{.topic = entry.topic};
  switch (entry.type) {
    case WalEntryType::kBatches:
      line.type = "batches";
      line.partition = entry.partition;
      line.batches = entry.body;
      return line;
    case WalEntryType::kBatchInSegment:
      line.type = "batch-in-segment";
      line.partition = entry.partition;
      line.detail = fmt::format("offsets {} to {}, {} bytes in {}{} at byte {}",
                                record::BatchView::of_header(entry.body).base_offset().value(),
                                record::BatchView::of_header(entry.body).last_offset().value(),
                                record::BatchView::size_field(entry.body), segment_name(entry.segment), kLogSuffix,
                                entry.position);
      return line;
    case WalEntryType::kCreateTopic: {
      MILLRACE_ASSIGN_OR_RETURN(const TopicInfo info, decode_topic(entry.body));
      line.type = "create-topic";
      line.detail = fmt::format("{}, {} partitions{}", info.name, info.partitions, config_text(info.config));
      return line;
    }
    case WalEntryType::kDeleteTopic:
      line.type = "delete-topic";
      return line;
    case WalEntryType::kAddPartitions:
      line.type = "add-partitions";
      line.detail = fmt::format("to {}", entry.partitions);
      return line;
    case WalEntryType::kAdvanceLogStart:
      line.type = "log-start";
      line.partition = entry.partition;
      line.detail = fmt::format("to {}", entry.log_start.value());
      return line;
    case WalEntryType::kTopicConfig: {
      MILLRACE_ASSIGN_OR_RETURN(const auto config, decode_config(entry.body));
      line.type = "topic-config";
      line.detail = std::string(trim(config_text(config)));
      return line;
    }
  }
  return line;
}

}  // namespace

Status walk_batches(env::FileSystem& files, const std::string& path,
                    const std::function<Status(uint64_t, const record::BatchView&)>& visit) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files.open(path, env::OpenMode::kRead));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
  Bytes window;
  for (uint64_t position = 0; position < size;) {
    // At least a window, at least the whole batch that begins here.
    uint64_t wanted = std::min<uint64_t>(kWindowBytes, size - position);
    if (wanted >= record::kBatchHeaderBytes) {
      window.resize(record::kBatchHeaderBytes);
      MILLRACE_RETURN_IF_ERROR(file->read_at(position, window));
      const int64_t batch_bytes = record::BatchView::size_field(window);
      if (batch_bytes < static_cast<int64_t>(record::kBatchHeaderBytes))
        return no_batch(path, position, fmt::format("a batch of {} bytes cannot be", batch_bytes));
      if (static_cast<uint64_t>(batch_bytes) > size - position)
        return no_batch(
            path, position,
            fmt::format("a batch of {} bytes begins here, but the file ends after {}", batch_bytes, size - position));
      wanted = std::max(wanted, static_cast<uint64_t>(batch_bytes));
    }
    window.resize(wanted);
    MILLRACE_ASSIGN_OR_RETURN(const size_t got, file->read_at(position, window));
    window.resize(got);
    uint64_t at = 0;
    while (at < window.size()) {
      const auto batch = record::BatchView::first_of(ByteView(window).subspan(at));
      if (!batch) {
        if (at > 0) break;  // goes on in the next window
        return no_batch(path, position, batch.error().message);
      }
      MILLRACE_RETURN_IF_ERROR(visit(position + at, *batch));
      at += batch->size_bytes();
    }
    position += at;
  }
  return {};
}

Result<std::vector<OffsetIndexLine>> read_offset_index(env::FileSystem& files, const std::string& path) {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes bytes, env::read_file(files, path, kIndexBytesMax));
  std::vector<OffsetIndexLine> lines;
  for (size_t at = 0; at + kIndexEntryBytes <= bytes.size(); at += kIndexEntryBytes) {
    const IndexEntry entry = decode_index_entry(ByteView(bytes).subspan(at));
    lines.push_back({entry.relative_offset, entry.position});
  }
  return lines;
}

Result<std::vector<TimeIndexLine>> read_time_index(env::FileSystem& files, const std::string& path) {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes bytes, env::read_file(files, path, kIndexBytesMax));
  std::vector<TimeIndexLine> lines;
  for (size_t at = 0; at + kTimeIndexEntryBytes <= bytes.size(); at += kTimeIndexEntryBytes) {
    const TimeIndexEntry entry = decode_time_index_entry(ByteView(bytes).subspan(at));
    lines.push_back({entry.timestamp_ms, entry.relative_offset});
  }
  return lines;
}

Result<std::vector<AbortedTransaction>> read_transaction_index(env::FileSystem& files, const std::string& path) {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes bytes, env::read_file(files, path, kIndexBytesMax));
  return decode_aborted_transactions(bytes);
}

Status walk_wal(env::FileSystem& files, const std::string& dir, const std::function<Status(const WalLine&)>& visit) {
  MILLRACE_ASSIGN_OR_RETURN(const auto checkpoint, read_checkpoint(files, env::join_path(dir, "checkpoint")));
  return read_wal(files, env::join_path(dir, "wal"), checkpoint.position,
                  [&](const WalEntry& entry) -> Status {
                    MILLRACE_ASSIGN_OR_RETURN(const WalLine line, to_line(entry));
                    return visit(line);
                  })
      .transform([](uint64_t) {});
}

std::optional<std::pair<std::string, int32_t>> parse_partition_folder(std::string_view name) {
  const size_t dash = name.rfind('-');
  if (dash == std::string_view::npos || dash == 0) return std::nullopt;
  const auto number = parse_int64(name.substr(dash + 1));
  if (!number || *number < 0 || *number >= kPartitionsMax || std::to_string(*number) != name.substr(dash + 1))
    return std::nullopt;
  return std::pair(std::string(name.substr(0, dash)), static_cast<int32_t>(*number));
}

}  // namespace millrace::log
