#include "log/internal/checkpoint_file.h"

#include <fmt/format.h>

#include "base/byte_reader.h"
#include "base/crc32c.h"
#include "log/internal/wal_format.h"

namespace millrace::log {

namespace {

constexpr uint32_t kMagic = 0x4d52434b;  // "MRCK"
constexpr uint32_t kVersion = 3;
// The first with open transactions. Before it there were none.
constexpr uint32_t kTransactionsFrom = 2;
// The first that says what is compacted. Before it nothing was.
constexpr uint32_t kCleanedFrom = 3;
constexpr size_t kHeaderBytes = 16;
constexpr size_t kChecksummedAt = 12;
constexpr uint64_t kFileBytesMax = 4ull << 30;

void encode_partition(const PartitionSnapshot& partition, ByteWriter& writer) {
  writer.fixed(static_cast<uint8_t>(partition.has_directory ? 1 : 0));
  writer.fixed(partition.log_start_offset.value());
  writer.fixed(partition.log_end_offset.value());
  writer.fixed(partition.leader_epoch.value());
  writer.uvarint(partition.epochs.size());
  for (const EpochStart& start : partition.epochs) {
    writer.fixed(start.epoch.value());
    writer.fixed(start.start_offset.value());
  }
  const SegmentEnd& active = partition.active;
  writer.fixed(active.base_offset.value());
  writer.fixed(active.bytes);
  writer.fixed(active.index_entries);
  writer.fixed(active.time_index_entries);
  writer.fixed(active.max_timestamp_ms);
  writer.fixed(active.max_timestamp_offset.value());
  writer.uvarint(partition.producers.size());
  writer.bytes(partition.producers);
  writer.uvarint(partition.open_transactions.size());
  writer.bytes(partition.open_transactions);
  writer.fixed(partition.cleaned_offset.value());
}

Result<Bytes> read_sized(ByteReader& reader) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, reader.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const ByteView bytes, reader.bytes(size));
  return to_bytes(bytes);
}

Result<Offset> read_offset(ByteReader& reader) {
  MILLRACE_ASSIGN_OR_RETURN(const auto value, reader.fixed<int64_t>());
  return Offset{value};
}

Result<PartitionSnapshot> decode_partition(ByteReader& reader, uint32_t version) {
  PartitionSnapshot partition;
  MILLRACE_ASSIGN_OR_RETURN(const auto flags, reader.fixed<uint8_t>());
  partition.has_directory = (flags & 1) != 0;
  MILLRACE_ASSIGN_OR_RETURN(partition.log_start_offset, read_offset(reader));
  MILLRACE_ASSIGN_OR_RETURN(partition.log_end_offset, read_offset(reader));
  MILLRACE_ASSIGN_OR_RETURN(const auto leader_epoch, reader.fixed<int32_t>());
  partition.leader_epoch = LeaderEpoch{leader_epoch};
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t epochs, reader.uvarint());
  for (uint64_t i = 0; i < epochs; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const auto epoch, reader.fixed<int32_t>());
    MILLRACE_ASSIGN_OR_RETURN(const Offset start, read_offset(reader));
    partition.epochs.push_back({LeaderEpoch{epoch}, start});
  }
  SegmentEnd& active = partition.active;
  MILLRACE_ASSIGN_OR_RETURN(active.base_offset, read_offset(reader));
  MILLRACE_ASSIGN_OR_RETURN(active.bytes, reader.fixed<uint64_t>());
  MILLRACE_ASSIGN_OR_RETURN(active.index_entries, reader.fixed<uint64_t>());
  MILLRACE_ASSIGN_OR_RETURN(active.time_index_entries, reader.fixed<uint64_t>());
  MILLRACE_ASSIGN_OR_RETURN(active.max_timestamp_ms, reader.fixed<int64_t>());
  MILLRACE_ASSIGN_OR_RETURN(active.max_timestamp_offset, read_offset(reader));
  if (active.index_entries > active.bytes || active.time_index_entries > active.bytes) {
    return fail(Errc::kCorruption, "more index entries than bytes");
  }
  MILLRACE_ASSIGN_OR_RETURN(partition.producers, read_sized(reader));
  if (version >= kTransactionsFrom) {
    MILLRACE_ASSIGN_OR_RETURN(partition.open_transactions, read_sized(reader));
  }
  if (version >= kCleanedFrom) {
    MILLRACE_ASSIGN_OR_RETURN(partition.cleaned_offset, read_offset(reader));
  }
  return partition;
}

}  // namespace

Bytes encode_checkpoint(const CheckpointContent& content) {
  Bytes out;
  ByteWriter writer(out);
  writer.fixed(kMagic);
  writer.fixed(kVersion);
  writer.fixed(uint32_t{0});  // checksum, below
  writer.fixed(uint32_t{0});  // reserved
  writer.fixed(content.position);
  writer.fixed(content.next_topic_number);
  writer.uvarint(content.topics.size());
  Bytes encoded;
  for (const TopicSnapshot& topic : content.topics) {
    writer.fixed(topic.number);
    encoded.clear();
    encode_topic(topic.info, encoded);
    writer.uvarint(encoded.size());
    writer.bytes(encoded);
    for (const PartitionSnapshot& partition : topic.partitions) encode_partition(partition, writer);
  }
  writer.patch(8, crc32c(ByteView(out).subspan(kChecksummedAt)));
  return out;
}

Result<CheckpointContent> decode_checkpoint(ByteView bytes) {
  ByteReader reader(bytes);
  if (bytes.size() < kHeaderBytes || reader.fixed<uint32_t>() != kMagic)
    return fail(Errc::kCorruption, "not a checkpoint");
  MILLRACE_ASSIGN_OR_RETURN(const auto version, reader.fixed<uint32_t>());
  if (version == 0 || version > kVersion)
    return fail(Errc::kConflict, fmt::format("a checkpoint of version {}", version));
  MILLRACE_ASSIGN_OR_RETURN(const auto checksum, reader.fixed<uint32_t>());
  if (crc32c(bytes.subspan(kChecksummedAt)) != checksum) return fail(Errc::kCorruption, "the checksum does not match");
  MILLRACE_RETURN_IF_ERROR(reader.skip(4));
  CheckpointContent content;
  MILLRACE_ASSIGN_OR_RETURN(content.position, reader.fixed<uint64_t>());
  MILLRACE_ASSIGN_OR_RETURN(content.next_topic_number, reader.fixed<uint32_t>());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t topics, reader.uvarint());
  for (uint64_t i = 0; i < topics; ++i) {
    TopicSnapshot topic;
    MILLRACE_ASSIGN_OR_RETURN(topic.number, reader.fixed<uint32_t>());
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t info_bytes, reader.uvarint());
    MILLRACE_ASSIGN_OR_RETURN(const ByteView info, reader.bytes(info_bytes));
    MILLRACE_ASSIGN_OR_RETURN(topic.info, decode_topic(info));
    for (int32_t p = 0; p < topic.info.partitions; ++p) {
      MILLRACE_ASSIGN_OR_RETURN(PartitionSnapshot partition, decode_partition(reader, version));
      topic.partitions.push_back(std::move(partition));
    }
    content.topics.push_back(std::move(topic));
  }
  if (reader.remaining() > 0) return fail(Errc::kCorruption, "bytes after the last topic");
  return content;
}

Status write_checkpoint(env::FileSystem& files, const std::string& path, const CheckpointContent& content) {
  return env::write_file_atomically(files, path, encode_checkpoint(content));
}

Result<CheckpointContent> read_checkpoint(env::FileSystem& files, const std::string& path) {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes bytes, env::read_file(files, path, kFileBytesMax));
  auto content = decode_checkpoint(bytes);
  if (!content) {
    Error error = std::move(content).error();
    error.message = fmt::format("{} cannot be read: {}", path, error.message);
    error.hint = "restore the data folder from a copy";
    return tl::unexpected(std::move(error));
  }
  return content;
}

}  // namespace millrace::log
