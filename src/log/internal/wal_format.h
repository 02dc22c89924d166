#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"
#include "env/file_system.h"
#include "log/store.h"

namespace millrace::log {

// The write-ahead log's bytes; docs/formats/wal.md has the same with reasons. All numbers in network byte order.
//
// Files "wal/<first position, 20 digits>.wal" hold frames. A frame is one group commit, all of it or nothing, begins at
// a multiple of kWalBlockBytes and is padded with zeros to the next:
//
//    0 magic u32 "MRW1"    8 position u64         20 entries u32      32 entries
//    4 checksum u32        16 length u32 (32..)   24 reserved u64
//
// The checksum (CRC-32C) covers everything from byte 8 to the last entry. An entry is a type u8 and
//   kBatches      topic u32, partition i32, size u32, record batches with their offsets
//   kCreateTopic  topic u32, size u32, topic as in encode_topic()
//   kDeleteTopic  topic u32
//   kAddPartitions    topic u32, partitions i32: as many as the topic has from now on
//   kAdvanceLogStart  topic u32, partition i32, offset i64: where the partition begins from now on
//   kTopicConfig      topic u32, size u32, configuration as in encode_config(): what the topic has from now on
//   kBatchInSegment   topic u32, partition i32, segment i64, position u64, batch header: the batch stands whole in the
//                     file of the segment of that base offset, at that byte, durable before this entry was written
// where `topic` is a number that the store gives each topic once and never again.
inline constexpr uint64_t kWalBlockBytes = 4096;
inline constexpr size_t kFrameHeaderBytes = 32;

enum class WalEntryType : uint8_t {
  kBatches = 1,
  kCreateTopic = 2,
  kDeleteTopic = 3,
  kAddPartitions = 4,
  kAdvanceLogStart = 5,
  kTopicConfig = 6,
  kBatchInSegment = 7,
};

struct WalEntry {
  WalEntryType type = WalEntryType::kBatches;
  uint32_t topic = 0;
  int32_t partition = 0;
  ByteView body;           // batches, an encoded topic or configuration, the header of kBatchInSegment
  int32_t partitions = 0;  // of kAddPartitions
  Offset log_start{0};     // of kAdvanceLogStart
  Offset segment{0};       // of kBatchInSegment: the base offset of the segment
  uint64_t position = 0;   // of kBatchInSegment: in its file
};

// What `entry` takes in a frame.
size_t encoded_size(const WalEntry& entry);
// The same of kBatches with a body of so many bytes.
size_t encoded_batches_size(size_t bytes);
// Adds everything of an entry but its body, which stands behind it.
void encode_entry_head(const WalEntry& entry, Bytes& out);
// What it takes of the write-ahead log's buffer: the bytes that must reach the disk, wherever they go, before what
// comes after it can. encoded_batches_size() of a batch's whole size for kBatchInSegment.
size_t admitted_size(const WalEntry& entry);
// Every entry of a frame's payload, in order. Stops at the first error, of `visit` or kCorruption.
Status decode_entries(ByteView payload, uint32_t entries, const std::function<Status(const WalEntry&)>& visit);

// Fill in the header of a frame whose payload stands behind kFrameHeaderBytes of room.
void seal_frame(std::span<std::byte> frame, uint64_t position, uint32_t entries);

uint64_t padded_frame_bytes(uint64_t frame_bytes);
std::string wal_file_name(uint64_t position);

void encode_topic(const TopicInfo& info, Bytes& out);
Result<TopicInfo> decode_topic(ByteView bytes);
void encode_config(const std::map<std::string, std::string>& config, Bytes& out);
Result<std::map<std::string, std::string>> decode_config(ByteView bytes);

// Call `visit` with each entry from `from` on, to the end of what was durable, which is returned: where the last whole
// frame ends. A torn frame at the very end is ignored. kCorruption names file and byte of damage before that: a frame
// that is not whole though a later one is there, or a missing file. kUnsupported: an entry of a later version.
// `known_end`: what an earlier call has returned, so that what lies behind it is not searched again.
Result<uint64_t> read_wal(env::FileSystem& files, const std::string& directory, uint64_t from,
                          const std::function<Status(const WalEntry&)>& visit,
                          std::optional<uint64_t> known_end = std::nullopt);

// The batch of a kBatchInSegment, whole, from the file of its segment in `directory`. kCorruption where another one, or
// none, is there, or its checksum is wrong; kNotFound where there is no file. Names file and byte.
Result<Bytes> read_batch_in_segment(env::FileSystem& files, const std::string& directory, const WalEntry& entry);

// The write-ahead log's files by first position.
Result<std::map<uint64_t, std::string>> list_wal_files(env::FileSystem& files, const std::string& directory);

}  // namespace millrace::log
