#include "record/compression.h"

#include <fmt/format.h>
#include <lz4frame.h>
#include <snappy-sinksource.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "base/byte_reader.h"
#include "base/check.h"

namespace millrace::record {

namespace {

// snappy-java's stream: this header, then blocks, each a length (i32) and a raw Snappy block.
constexpr std::array<std::byte, 16> kXerialHeader{std::byte{0x82}, std::byte{'S'}, std::byte{'N'}, std::byte{'A'},
                                                  std::byte{'P'},  std::byte{'P'}, std::byte{'Y'}, std::byte{0},
                                                  std::byte{0},    std::byte{0},   std::byte{0},   std::byte{1},
                                                  std::byte{0},    std::byte{0},   std::byte{0},   std::byte{1}};
constexpr size_t kXerialMagicBytes = 8;
constexpr size_t kXerialBlockBytes = 32u << 10;

constexpr size_t kFirstRoomBytes = 4096;

tl::unexpected<Error> malformed(Codec codec, std::string_view what) {
  return fail(Errc::kCorruption, fmt::format("the {} data are malformed: {}", codec_name(codec), what));
}

tl::unexpected<Error> too_large(size_t plain_bytes_max) {
  return fail(Errc::kTooLarge, fmt::format("decompresses to more than the {} bytes allowed", plain_bytes_max));
}

// The end of `out`, growing as a decoder fills it, up to a limit.
class Output {
 public:
  Output(Bytes& out, size_t bytes_max, size_t first_room)
      : out_(out), start_(out.size()), bytes_max_(bytes_max), next_room_(std::max(first_room, kFirstRoomBytes)) {}

  // Where to write next: never empty. At the limit it is a byte aside, so that a decoder that is about to end can say
  // so, and one that is not is found out by took().
  std::span<std::byte> room() {
    const size_t used = out_.size() - start_;
    if (used == bytes_max_) return {&aside_, 1};
    out_.resize(out_.size() + std::min(next_room_, bytes_max_ - used));
    return std::span(out_).subspan(start_ + used);
  }
  // `count` bytes of `room` were written.
  Status took(std::span<std::byte> room, size_t count) {
    if (room.data() == &aside_) {
      if (count > 0) return too_large(bytes_max_);
      return {};
    }
    out_.resize(out_.size() - (room.size() - count));
    next_room_ = std::min<size_t>(next_room_ * 2, 1u << 20);
    return {};
  }

 private:
  Bytes& out_;
  const size_t start_;
  const size_t bytes_max_;
  size_t next_room_;
  std::byte aside_{};
};

struct Deflater {
  z_stream stream{};
  ~Deflater() { deflateEnd(&stream); }
};
struct Inflater {
  z_stream stream{};
  ~Inflater() { inflateEnd(&stream); }
};
constexpr int kGzipWindowBits = 15 + 16;

Status gzip_compress(ByteView plain, Bytes& out) {
  Deflater deflater;
  z_stream& stream = deflater.stream;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return fail(Errc::kInternal, "zlib cannot start compressing");
  }
  const size_t start = out.size();
  out.resize(start + deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data() + start);
  stream.avail_out = static_cast<uInt>(out.size() - start);
  const int outcome = deflate(&stream, Z_FINISH);
  MILLRACE_CHECK(outcome == Z_STREAM_END, "deflateBound was too small");
  out.resize(start + stream.total_out);
  return {};
}

Status gzip_decompress(ByteView packed, size_t plain_bytes_max, Bytes& out) {
  Inflater inflater;
  z_stream& stream = inflater.stream;
  if (inflateInit2(&stream, kGzipWindowBits) != Z_OK) return fail(Errc::kInternal, "zlib cannot start decompressing");
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  Output output(out, plain_bytes_max, packed.size());
  while (true) {
    const std::span<std::byte> room = output.room();
    stream.next_out = reinterpret_cast<Bytef*>(room.data());
    stream.avail_out = static_cast<uInt>(room.size());
    const int outcome = inflate(&stream, Z_NO_FLUSH);
    const size_t count = room.size() - stream.avail_out;
    MILLRACE_RETURN_IF_ERROR(output.took(room, count));
    if (outcome == Z_STREAM_END) {
      if (stream.avail_in == 0) return {};
      // Another member follows.
      if (inflateReset(&stream) != Z_OK) return malformed(Codec::kGzip, "cannot read the next member");
    } else if (outcome != Z_OK) {
      return malformed(Codec::kGzip, stream.msg != nullptr ? stream.msg : "ends too early");
    }
  }
}

Status snappy_compress(ByteView plain, Bytes& out) {
  ByteWriter writer(out);
  writer.bytes(kXerialHeader);
  std::array<char, 64 << 10> block;
  MILLRACE_CHECK(snappy::MaxCompressedLength(kXerialBlockBytes) <= block.size());
  while (!plain.empty()) {
    const ByteView piece = plain.first(std::min(plain.size(), kXerialBlockBytes));
    size_t block_bytes = 0;
    snappy::RawCompress(reinterpret_cast<const char*>(piece.data()), piece.size(), block.data(), &block_bytes);
    writer.fixed(static_cast<int32_t>(block_bytes));
    writer.text({block.data(), block_bytes});
    plain = plain.subspan(piece.size());
  }
  return {};
}

Status snappy_block(ByteView block, size_t room, size_t plain_bytes_max, Bytes& out) {
  const auto* data = reinterpret_cast<const char*>(block.data());
  size_t plain_bytes = 0;
  if (!snappy::GetUncompressedLength(data, block.size(), &plain_bytes)) return malformed(Codec::kSnappy, "no length");
  if (plain_bytes > room) return too_large(plain_bytes_max);
  // A false claim should not cost memory, either: an element takes at least two bytes and makes at most 64.
  if (plain_bytes > block.size() * 64) return malformed(Codec::kSnappy, "claims more than it can hold");
  const size_t start = out.size();
  out.resize(start + plain_bytes);
  if (!snappy::RawUncompress(data, block.size(), reinterpret_cast<char*>(out.data() + start))) {
    out.resize(start);
    return malformed(Codec::kSnappy, "a block cannot be decoded");
  }
  return {};
}

Status snappy_decompress(ByteView packed, size_t plain_bytes_max, Bytes& out) {
  const size_t start = out.size();
  const bool framed =
      packed.size() >= kXerialHeader.size() &&
      std::ranges::equal(packed.first(kXerialMagicBytes), std::span(kXerialHeader).first(kXerialMagicBytes));
  if (!framed) return snappy_block(packed, plain_bytes_max, plain_bytes_max, out);
  ByteReader reader(packed.subspan(kXerialHeader.size()));
  while (reader.remaining() > 0) {
    MILLRACE_ASSIGN_OR_RETURN(const auto size, reader.fixed<int32_t>());
    if (size < 0) return malformed(Codec::kSnappy, "negative block length");
    MILLRACE_ASSIGN_OR_RETURN(const ByteView block, reader.bytes(static_cast<size_t>(size)));
    MILLRACE_RETURN_IF_ERROR(snappy_block(block, plain_bytes_max - (out.size() - start), plain_bytes_max, out));
  }
  return {};
}

Status lz4_compress(ByteView plain, Bytes& out) {
  // The Java client's reader takes independent blocks only.
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  const size_t start = out.size();
  out.resize(start + LZ4F_compressFrameBound(plain.size(), &preferences));
  const size_t size =
      LZ4F_compressFrame(out.data() + start, out.size() - start, plain.data(), plain.size(), &preferences);
  if (LZ4F_isError(size)) return fail(Errc::kInternal, fmt::format("LZ4: {}", LZ4F_getErrorName(size)));
  out.resize(start + size);
  return {};
}

struct Lz4ContextDeleter {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

Status lz4_decompress(ByteView packed, size_t plain_bytes_max, Bytes& out) {
  LZ4F_dctx* created = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&created, LZ4F_VERSION))) {
    return fail(Errc::kInternal, "LZ4 cannot start decompressing");
  }
  const std::unique_ptr<LZ4F_dctx, Lz4ContextDeleter> context(created);
  Output output(out, plain_bytes_max, packed.size() * 2);
  while (true) {
    const std::span<std::byte> room = output.room();
    size_t written = room.size();
    size_t taken = packed.size();
    const size_t hint = LZ4F_decompress(context.get(), room.data(), &written, packed.data(), &taken, nullptr);
    if (LZ4F_isError(hint)) return malformed(Codec::kLz4, LZ4F_getErrorName(hint));
    MILLRACE_RETURN_IF_ERROR(output.took(room, written));
    packed = packed.subspan(taken);
    if (hint == 0 && packed.empty()) return {};
    if (taken == 0 && written == 0) return malformed(Codec::kLz4, "ends too early");
  }
}

struct ZstdContextDeleter {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

Status zstd_compress(ByteView plain, Bytes& out) {
  const size_t start = out.size();
  out.resize(start + ZSTD_compressBound(plain.size()));
  const size_t size =
      ZSTD_compress(out.data() + start, out.size() - start, plain.data(), plain.size(), ZSTD_CLEVEL_DEFAULT);
  if (ZSTD_isError(size)) return fail(Errc::kInternal, fmt::format("Zstandard: {}", ZSTD_getErrorName(size)));
  out.resize(start + size);
  return {};
}

Status zstd_decompress(ByteView packed, size_t plain_bytes_max, Bytes& out) {
  const std::unique_ptr<ZSTD_DCtx, ZstdContextDeleter> context(ZSTD_createDCtx());
  if (context == nullptr) return fail(Errc::kInternal, "Zstandard cannot start decompressing");
  Output output(out, plain_bytes_max, packed.size() * 2);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  while (true) {
    const std::span<std::byte> room = output.room();
    ZSTD_outBuffer target{room.data(), room.size(), 0};
    const size_t taken_before = in.pos;
    const size_t hint = ZSTD_decompressStream(context.get(), &target, &in);
    if (ZSTD_isError(hint)) return malformed(Codec::kZstd, ZSTD_getErrorName(hint));
    MILLRACE_RETURN_IF_ERROR(output.took(room, target.pos));
    if (hint == 0 && in.pos == in.size) return {};
    if (in.pos == taken_before && target.pos == 0) return malformed(Codec::kZstd, "ends too early");
  }
}

}  // namespace

const char* codec_name(Codec codec) {
  switch (codec) {
    case Codec::kNone:
      return "none";
    case Codec::kGzip:
      return "gzip";
    case Codec::kSnappy:
      return "snappy";
    case Codec::kLz4:
      return "lz4";
    case Codec::kZstd:
      return "zstd";
  }
  return "unknown";
}

Result<Codec> parse_codec(std::string_view name) {
  for (int i = 0; i < kCodecs; ++i) {
    if (name == codec_name(static_cast<Codec>(i))) return static_cast<Codec>(i);
  }
  return fail(Errc::kInvalidArgument, fmt::format("no compression is called '{}'", name),
              "none, gzip, snappy, lz4 or zstd");
}

Status compress(Codec codec, ByteView plain, Bytes& out) {
  if (plain.size() > std::numeric_limits<int32_t>::max()) {
    return fail(Errc::kTooLarge, "a record batch is smaller than 2 GB");
  }
  switch (codec) {
    case Codec::kNone:
      out.insert(out.end(), plain.begin(), plain.end());
      return {};
    case Codec::kGzip:
      return gzip_compress(plain, out);
    case Codec::kSnappy:
      return snappy_compress(plain, out);
    case Codec::kLz4:
      return lz4_compress(plain, out);
    case Codec::kZstd:
      return zstd_compress(plain, out);
  }
  return fail(Errc::kInvalidArgument, "unknown codec");
}

Status decompress(Codec codec, ByteView packed, size_t plain_bytes_max, Bytes& out) {
  if (packed.size() > std::numeric_limits<int32_t>::max()) {
    return fail(Errc::kTooLarge, "a record batch is smaller than 2 GB");
  }
  switch (codec) {
    case Codec::kNone:
      if (packed.size() > plain_bytes_max) return too_large(plain_bytes_max);
      out.insert(out.end(), packed.begin(), packed.end());
      return {};
    case Codec::kGzip:
      return gzip_decompress(packed, plain_bytes_max, out);
    case Codec::kSnappy:
      return snappy_decompress(packed, plain_bytes_max, out);
    case Codec::kLz4:
      return lz4_decompress(packed, plain_bytes_max, out);
    case Codec::kZstd:
      return zstd_decompress(packed, plain_bytes_max, out);
  }
  return fail(Errc::kCorruption, "unknown codec");
}

}  // namespace millrace::record
