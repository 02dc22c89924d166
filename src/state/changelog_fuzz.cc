#include <cstddef>
#include <cstdint>

#include "base/byte_writer.h"
#include "state/changelog.h"

// Records of any bytes, one after another: a length byte, a key of that length, a length byte, a value.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::ByteView rest(reinterpret_cast<const std::byte*>(data), size);
  const auto take = [&rest] {
    if (rest.empty()) return rest;
    const size_t length = std::min<size_t>(std::to_integer<size_t>(rest.front()), rest.size() - 1);
    const millrace::ByteView part = rest.subspan(1, length);
    rest = rest.subspan(1 + length);
    return part;
  };
  millrace::state::Restorer restorer(1 << 20);
  while (!rest.empty()) {
    const millrace::ByteView key = take();
    const millrace::ByteView value = take();
    (void)restorer.feed(key, value);
  }
  return 0;
}
