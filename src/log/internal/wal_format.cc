#include "log/internal/wal_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "log/internal/segment.h"

namespace millrace::log {

namespace {

constexpr uint32_t kFrameMagic = 0x4d525731;  // "MRW1"
constexpr size_t kChecksummedAt = 8;
constexpr std::string_view kFileSuffix = ".wal";
constexpr uint64_t kSearchBytes = 1u << 20;  // blocks looked at together, to see whether one begins a frame
static_assert(kSearchBytes % kWalBlockBytes == 0);

struct FrameHeader {
  uint32_t checksum = 0;
  uint32_t length = 0;
  uint32_t entries = 0;
};

// The header of the frame at `position`, or nullopt if no frame of that position begins here.
std::optional<FrameHeader> parse_header(ByteView bytes, uint64_t position) {
  ByteReader reader(bytes);
  FrameHeader header;
  if (reader.fixed<uint32_t>() != kFrameMagic) return std::nullopt;
  header.checksum = reader.fixed<uint32_t>().value_or(0);
  // A recycled file still holds frames of its earlier life: they carry other positions.
  if (reader.fixed<uint64_t>() != position) return std::nullopt;
  header.length = reader.fixed<uint32_t>().value_or(0);
  header.entries = reader.fixed<uint32_t>().value_or(0);
  return header;
}

// One file of the log.
class WalFile {
 public:
  static Result<WalFile> open(env::FileSystem& files, std::string path, uint64_t start) {
    MILLRACE_ASSIGN_OR_RETURN(auto file, files.open(path, env::OpenMode::kRead));
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
    return WalFile(std::move(file), start, size);
  }

  uint64_t start() const { return start_; }
  uint64_t end() const { return start_ + size_; }
  const std::string& path() const { return file_->path(); }

  // The whole frame at `position` into `frame`: false if there is none.
  Result<bool> read_frame(uint64_t position, Bytes& frame, uint32_t& entries) const {
    std::array<std::byte, kFrameHeaderBytes> head;
    if (position + head.size() > end()) return false;
    MILLRACE_ASSIGN_OR_RETURN(const size_t got, file_->read_at(position - start_, head));
    if (got < head.size()) return false;
    const auto header = parse_header(head, position);
    if (!header || header->length > end() - position - kFrameHeaderBytes) return false;
    frame.resize(kFrameHeaderBytes + header->length);
    MILLRACE_ASSIGN_OR_RETURN(const size_t all, file_->read_at(position - start_, frame));
    if (all < frame.size()) return false;
    if (crc32c(ByteView(frame).subspan(kChecksummedAt)) != header->checksum) return false;
    entries = header->entries;
    return true;
  }

  // Whether any whole frame begins after `position`.
  Result<bool> has_frame_after(uint64_t position) const {
    Bytes frame;
    uint32_t entries = 0;
    Bytes window(std::min(kSearchBytes, end() - std::min(end(), position)));
    for (uint64_t next = padded_frame_bytes(position + 1); next < end(); next += kSearchBytes) {
      MILLRACE_ASSIGN_OR_RETURN(const size_t got, file_->read_at(next - start_, window));
      for (size_t at = 0; at + kFrameHeaderBytes <= got; at += kWalBlockBytes) {
        if (!parse_header(ByteView(window).subspan(at), next + at)) continue;
        MILLRACE_ASSIGN_OR_RETURN(const bool found, read_frame(next + at, frame, entries));
        if (found) return true;
      }
    }
    return false;
  }

 private:
  WalFile(std::unique_ptr<env::File> file, uint64_t start, uint64_t size)
      : file_(std::move(file)), start_(start), size_(size) {}

  std::unique_ptr<env::File> file_;
  uint64_t start_;
  uint64_t size_;
};

tl::unexpected<Error> damaged(const WalFile& file, uint64_t position) {
  return fail(Errc::kCorruption,
              fmt::format("{} is damaged at byte {}: a durable part of the write-ahead log cannot be read", file.path(),
                          position - file.start()),
              "restore the data folder from a copy; starting without this file would lose acknowledged records");
}

}  // namespace

size_t encoded_batches_size(size_t bytes) { return 13 + bytes; }

size_t encoded_size(const WalEntry& entry) {
  switch (entry.type) {
    case WalEntryType::kBatches:
      return encoded_batches_size(entry.body.size());
    case WalEntryType::kCreateTopic:
    case WalEntryType::kTopicConfig:
      return 9 + entry.body.size();
    case WalEntryType::kDeleteTopic:
      return 5;
    case WalEntryType::kAddPartitions:
      return 9;
    case WalEntryType::kAdvanceLogStart:
      return 17;
    case WalEntryType::kBatchInSegment:
      return 25 + record::kBatchHeaderBytes;
  }
  return 0;
}

size_t admitted_size(const WalEntry& entry) {
  if (entry.type != WalEntryType::kBatchInSegment) return encoded_size(entry);
  const auto batch = static_cast<size_t>(record::BatchView::size_field(entry.body));
  return std::max(encoded_batches_size(batch), encoded_size(entry));
}

void encode_entry_head(const WalEntry& entry, Bytes& out) {
  ByteWriter writer(out);
  writer.fixed(static_cast<uint8_t>(entry.type));
  writer.fixed(entry.topic);
  const auto body_size = static_cast<uint32_t>(entry.body.size());
  switch (entry.type) {
    case WalEntryType::kBatches:
      writer.fixed(entry.partition);
      return writer.fixed(body_size);
    case WalEntryType::kCreateTopic:
    case WalEntryType::kTopicConfig:
      return writer.fixed(body_size);
    case WalEntryType::kDeleteTopic:
      return;
    case WalEntryType::kAddPartitions:
      return writer.fixed(entry.partitions);
    case WalEntryType::kAdvanceLogStart:
      writer.fixed(entry.partition);
      return writer.fixed(entry.log_start.value());
    case WalEntryType::kBatchInSegment:
      writer.fixed(entry.partition);
      writer.fixed(entry.segment.value());
      return writer.fixed(entry.position);
  }
}

namespace {

Status decode_body(ByteReader& reader, WalEntry& entry) {
  MILLRACE_ASSIGN_OR_RETURN(const auto size, reader.fixed<uint32_t>());
  MILLRACE_ASSIGN_OR_RETURN(entry.body, reader.bytes(size));
  return {};
}

// What stands behind an entry's type and topic.
Status decode_rest(ByteReader& reader, WalEntry& entry) {
  switch (entry.type) {
    case WalEntryType::kBatches: {
      MILLRACE_ASSIGN_OR_RETURN(entry.partition, reader.fixed<int32_t>());
      return decode_body(reader, entry);
    }
    case WalEntryType::kCreateTopic:
    case WalEntryType::kTopicConfig:
      return decode_body(reader, entry);
    case WalEntryType::kDeleteTopic:
      return {};
    case WalEntryType::kAddPartitions: {
      MILLRACE_ASSIGN_OR_RETURN(entry.partitions, reader.fixed<int32_t>());
      return {};
    }
    case WalEntryType::kAdvanceLogStart: {
      MILLRACE_ASSIGN_OR_RETURN(entry.partition, reader.fixed<int32_t>());
      MILLRACE_ASSIGN_OR_RETURN(const auto offset, reader.fixed<int64_t>());
      entry.log_start = Offset{offset};
      return {};
    }
    case WalEntryType::kBatchInSegment: {
      MILLRACE_ASSIGN_OR_RETURN(entry.partition, reader.fixed<int32_t>());
      MILLRACE_ASSIGN_OR_RETURN(const auto segment, reader.fixed<int64_t>());
      entry.segment = Offset{segment};
      MILLRACE_ASSIGN_OR_RETURN(entry.position, reader.fixed<uint64_t>());
      MILLRACE_ASSIGN_OR_RETURN(entry.body, reader.bytes(record::kBatchHeaderBytes));
      return {};
    }
  }
  return {};
}

constexpr auto kLastType = static_cast<uint8_t>(WalEntryType::kBatchInSegment);

}  // namespace

Status decode_entries(ByteView payload, uint32_t entries, const std::function<Status(const WalEntry&)>& visit) {
  ByteReader reader(payload);
  for (uint32_t i = 0; i < entries; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const auto type, reader.fixed<uint8_t>());
    WalEntry entry;
    MILLRACE_ASSIGN_OR_RETURN(entry.topic, reader.fixed<uint32_t>());
    if (type < 1 || type > kLastType) return fail(Errc::kUnsupported, fmt::format("entry type {} is unknown", type));
    entry.type = static_cast<WalEntryType>(type);
    MILLRACE_RETURN_IF_ERROR(decode_rest(reader, entry));
    MILLRACE_RETURN_IF_ERROR(visit(entry));
  }
  if (reader.remaining() > 0) return fail(Errc::kCorruption, "a frame is longer than its entries");
  return {};
}

void seal_frame(std::span<std::byte> frame, uint64_t position, uint32_t entries) {
  MILLRACE_CHECK(frame.size() >= kFrameHeaderBytes);
  Bytes header;
  header.reserve(kFrameHeaderBytes);
  ByteWriter writer(header);
  writer.fixed(kFrameMagic);
  writer.fixed(uint32_t{0});  // the checksum, known when what follows is in its place
  writer.fixed(position);
  writer.fixed(static_cast<uint32_t>(frame.size() - kFrameHeaderBytes));
  writer.fixed(entries);
  writer.fixed(uint64_t{0});
  std::ranges::copy(header, frame.begin());
  writer.patch(4, crc32c(frame.subspan(kChecksummedAt)));
  std::ranges::copy(header, frame.begin());
}

uint64_t padded_frame_bytes(uint64_t frame_bytes) {
  return (frame_bytes + kWalBlockBytes - 1) / kWalBlockBytes * kWalBlockBytes;
}

std::string wal_file_name(uint64_t position) { return fmt::format("{:020}{}", position, kFileSuffix); }

namespace {

void encode_text(std::string_view value, ByteWriter& writer) {
  writer.uvarint(value.size());
  writer.text(value);
}

Result<std::string> decode_text(ByteReader& reader) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, reader.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view value, reader.text(size));
  return std::string(value);
}

Result<std::map<std::string, std::string>> read_config(ByteReader& reader) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t entries, reader.uvarint());
  std::map<std::string, std::string> config;
  for (uint64_t i = 0; i < entries; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(std::string key, decode_text(reader));
    MILLRACE_ASSIGN_OR_RETURN(config[std::move(key)], decode_text(reader));
  }
  if (reader.remaining() > 0) return fail(Errc::kCorruption, "bytes after a topic's configuration");
  return config;
}

}  // namespace

void encode_config(const std::map<std::string, std::string>& config, Bytes& out) {
  ByteWriter writer(out);
  writer.uvarint(config.size());
  for (const auto& [key, value] : config) {
    encode_text(key, writer);
    encode_text(value, writer);
  }
}

Result<std::map<std::string, std::string>> decode_config(ByteView bytes) {
  ByteReader reader(bytes);
  return read_config(reader);
}

void encode_topic(const TopicInfo& info, Bytes& out) {
  ByteWriter writer(out);
  encode_text(info.name, writer);
  writer.text({reinterpret_cast<const char*>(info.id.bytes.data()), info.id.bytes.size()});
  writer.fixed(info.partitions);
  encode_config(info.config, out);
}

Result<TopicInfo> decode_topic(ByteView bytes) {
  ByteReader reader(bytes);
  TopicInfo info;
  MILLRACE_ASSIGN_OR_RETURN(info.name, decode_text(reader));
  MILLRACE_ASSIGN_OR_RETURN(const ByteView id, reader.bytes(info.id.bytes.size()));
  std::memcpy(info.id.bytes.data(), id.data(), id.size());
  MILLRACE_ASSIGN_OR_RETURN(info.partitions, reader.fixed<int32_t>());
  if (info.partitions < 1 || info.partitions > kPartitionsMax) {
    return fail(Errc::kCorruption, fmt::format("a topic of {} partitions", info.partitions));
  }
  MILLRACE_ASSIGN_OR_RETURN(info.config, read_config(reader));
  return info;
}

Result<Bytes> read_batch_in_segment(env::FileSystem& files, const std::string& directory, const WalEntry& entry) {
  const std::string path = segment_path(directory, entry.segment, kLogSuffix);
  const auto damaged = [&](std::string_view what) {
    return fail(Errc::kCorruption, fmt::format("{} is damaged at byte {}: {}", path, entry.position, what));
  };
  const int64_t size = record::BatchView::size_field(entry.body);
  if (size < static_cast<int64_t>(record::kBatchHeaderBytes) || static_cast<uint64_t>(size) > kAppendBytesMax) {
    return damaged(fmt::format("the write-ahead log has a batch of {} bytes here", size));
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files.open(path, env::OpenMode::kRead));
  Bytes bytes(static_cast<size_t>(size));
  MILLRACE_ASSIGN_OR_RETURN(const size_t got, file->read_at(entry.position, bytes));
  if (got < bytes.size()) return damaged("the file ends before the durable batch that begins here");
  // The header has the checksum of the rest.
  const auto batch = record::BatchView::first_of(bytes);
  if (!batch || !std::ranges::equal(ByteView(bytes).first(entry.body.size()), entry.body)) {
    return damaged("another batch was durable here");
  }
  if (!batch->checksum_matches()) return damaged("the checksum of a record batch does not match");
  return bytes;
}

Result<std::map<uint64_t, std::string>> list_wal_files(env::FileSystem& files, const std::string& directory) {
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, files.list(directory));
  std::map<uint64_t, std::string> found;
  for (const auto& entry : entries) {
    std::string_view name = entry.name;
    if (!name.ends_with(kFileSuffix)) continue;
    name.remove_suffix(kFileSuffix.size());
    const auto start = parse_int64(name);
    if (start && *start >= 0 && wal_file_name(static_cast<uint64_t>(*start)) == entry.name) {
      found.emplace(static_cast<uint64_t>(*start), env::join_path(directory, entry.name));
    }
  }
  return found;
}

Result<uint64_t> read_wal(env::FileSystem& files, const std::string& directory, uint64_t from,
                          const std::function<Status(const WalEntry&)>& visit, std::optional<uint64_t> known_end) {
  MILLRACE_ASSIGN_OR_RETURN(const auto all, list_wal_files(files, directory));
  auto it = all.upper_bound(from);
  if (it == all.begin()) {
    return fail(Errc::kCorruption, fmt::format("{} has no file that holds position {}", directory, from),
                "restore the data folder from a copy; starting without it would lose acknowledged records");
  }
  --it;
  uint64_t position = from;
  Bytes frame;
  for (; it != all.end(); ++it) {
    MILLRACE_ASSIGN_OR_RETURN(const WalFile file, WalFile::open(files, it->second, it->first));
    while (position != known_end) {
      uint32_t entries = 0;
      MILLRACE_ASSIGN_OR_RETURN(const bool found, file.read_frame(position, frame, entries));
      if (!found) break;
      auto outcome = decode_entries(ByteView(frame).subspan(kFrameHeaderBytes), entries, visit);
      if (!outcome) {
        Error error = std::move(outcome).error();
        error.message = fmt::format("{} at byte {}: {}", file.path(), position - file.start(), error.message);
        return tl::unexpected(std::move(error));
      }
      position += padded_frame_bytes(frame.size());
    }
    // The next file begins where this one's frames end; only behind the last one may something be torn.
    const auto next = std::next(it);
    if (next != all.end()) {
      if (next->first != position) return damaged(file, position);
      continue;
    }
    if (position == known_end) continue;
    MILLRACE_ASSIGN_OR_RETURN(const bool more, file.has_frame_after(position));
    if (more || known_end) return damaged(file, position);
  }
  return position;
}

}  // namespace millrace::log
