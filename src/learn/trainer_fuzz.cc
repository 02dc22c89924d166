#include <cstddef>
#include <cstdint>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "learn/trainer.h"

// Trainer::deserialize() over any bytes; with each page's checksum made right, so that what is behind it is reached.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  Bytes bytes(reinterpret_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(data) + size);
  ByteReader in(bytes);
  while (in.remaining() > 0) {
    if (!in.fixed<uint32_t>()) break;
    const auto page_bytes = in.uvarint();
    if (!page_bytes) break;
    const size_t begin = in.position();
    if (!in.skip(*page_bytes)) break;
    if (*page_bytes < sizeof(uint32_t)) continue;
    const size_t sealed = *page_bytes - sizeof(uint32_t);
    ByteWriter(bytes).patch(begin + sealed, crc32c(ByteView(bytes).subspan(begin, sealed)));
  }
  const auto trainer = learn::Trainer::deserialize(bytes);
  if (!trainer) return 0;
  static_cast<void>(trainer->metrics().total());
  static_cast<void>(trainer->metrics().window());
  MILLRACE_CHECK(learn::Trainer::deserialize(trainer->serialize()).has_value());
  return 0;
}
