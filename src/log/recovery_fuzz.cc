#include <cstdint>

#include "base/fake_clock.h"
#include "env/fault_file_system.h"
#include "log/internal/checkpoint_file.h"
#include "log/internal/wal_format.h"
#include "log/store.h"

// Recovery of a folder whose write-ahead log is the input: as it stands, and as the payload of a frame with a good
// checksum, so that what lies behind is reached. The same for the checkpoint's decoder.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  using namespace millrace::log;
  const Bytes input(reinterpret_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(data) + size);
  static_cast<void>(decode_checkpoint(input));
  for (const bool framed : {false, true}) {
    Bytes wal = input;
    if (framed) {
      // The first byte is the number of entries.
      const uint32_t entries = input.empty() ? 0 : std::to_integer<uint32_t>(input[0]);
      wal.assign(kFrameHeaderBytes, std::byte{0});
      if (!input.empty()) wal.insert(wal.end(), input.begin() + 1, input.end());
      seal_frame(wal, 0, entries);
    }
    env::FaultFileSystem files;
    const FakeClock clock;
    Random random(1);
    StoreOptions options{.dir = "/data"};
    options.wal_file_bytes = 8192;
    if (!Store::open(options, files, clock, random)) return 0;
    files.set_content("/data/wal/" + wal_file_name(0), wal);
    const auto store = Store::open(options, files, clock, random);
    if (!store) continue;
    for (const auto& topic : (*store)->topics()) {
      for (const auto& partition : topic->partitions) {
        Bytes out;
        static_cast<void>(partition->read(Offset{0}, 1000, true, out));
        static_cast<void>(partition->offset_for_time(0));
      }
    }
  }
  return 0;
}
