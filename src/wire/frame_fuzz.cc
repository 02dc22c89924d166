// Any message and any version from hostile bytes: two bytes choose them, the rest is decoded. What decodes must encode
// in the same version, and from then on stay the same.
#include "base/check.h"
#include "wire/frame.h"
#include "wire/messages.h"

using namespace millrace;  // NOLINT(google-build-using-namespace)

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto messages = wire::all_messages();
  const wire::MessageInfo& message = messages[data[0] % messages.size()];
  const auto version = static_cast<int16_t>(message.min + data[1] % (message.max - message.min + 1));
  const ByteView bytes(reinterpret_cast<const std::byte*>(data) + 2, size - 2);

  const auto once = message.recode(bytes, version);
  if (once) {
    const auto twice = message.recode(*once, version);
    MILLRACE_CHECK(twice && *twice == *once, message.name);
  } else {
    MILLRACE_CHECK(once.error().code == Errc::kCorruption, once.error().message);
  }

  ByteReader in(bytes);
  (void)wire::decode_request_header(in);
  return 0;
}
