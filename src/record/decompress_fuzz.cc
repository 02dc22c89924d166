#include <cstdint>

#include "base/check.h"
#include "record/compression.h"

// Each decompressor: the first byte names the codec, the second how much may come out (in 1/2 KB), the rest is what
// arrived. Whatever it is, no more than that comes out; and what comes out can be packed and unpacked again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  using namespace millrace::record;
  if (size < 2) return 0;
  const auto codec = static_cast<Codec>(data[0] % kCodecs);
  const size_t plain_bytes_max = size_t{data[1]} << 9;
  const ByteView packed(reinterpret_cast<const std::byte*>(data) + 2, size - 2);

  Bytes out{std::byte{7}};
  const Status unpacked = decompress(codec, packed, plain_bytes_max, out);
  MILLRACE_CHECK(out.front() == std::byte{7}, "what was there before stays");
  MILLRACE_CHECK(out.size() <= 1 + plain_bytes_max, "no more than allowed");
  if (!unpacked) {
    const Errc code = unpacked.error().code;
    MILLRACE_CHECK(code == Errc::kCorruption || code == Errc::kTooLarge, unpacked.error().message);
    return 0;
  }
  const Bytes plain(out.begin() + 1, out.end());
  Bytes again;
  Bytes repacked;
  MILLRACE_CHECK(compress(codec, plain, repacked));
  MILLRACE_CHECK(decompress(codec, repacked, plain.size(), again));
  MILLRACE_CHECK(again == plain, "packed and unpacked it is the same");
  return 0;
}
