#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/byte_writer.h"
#include "base/result.h"

namespace millrace::record {

// The codecs of record batches; the values are those of the attributes' lowest three bits.
enum class Codec : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };
inline constexpr int kCodecs = 5;

// Kafka's names: none, gzip, snappy, lz4, zstd.
const char* codec_name(Codec codec);
Result<Codec> parse_codec(std::string_view name);

// Append the compressed form of `plain` to `out`: gzip (RFC 1952), Snappy blocks of 32 KB in the xerial stream framing
// that Java clients read and write, LZ4 frame, Zstandard frame. kNone copies. Thread-safe.
Status compress(Codec codec, ByteView plain, Bytes& out);

// Append the plain form of `packed` to `out`. Takes what clients are known to send: Snappy both framed and as one bare
// block, concatenated gzip members, LZ4 and Zstandard frames. `packed` may be hostile: malformed input is kCorruption,
// and kTooLarge comes before `out` has grown by more than `plain_bytes_max`. Thread-safe.
Status decompress(Codec codec, ByteView packed, size_t plain_bytes_max, Bytes& out);

}  // namespace millrace::record
