#include <cstdint>

#include "base/crc32c.h"
#include "record/batch.h"
#include "record/records.h"

// One arrived batch, checked as it stands and again with its checksum made good, so that what lies behind is reached.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  Bytes bytes(reinterpret_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(data) + size);
  static_cast<void>(record::check_batches(bytes));
  if (bytes.size() > record::kBatchHeaderBytes) {
    ByteWriter writer(bytes);
    bytes[16] = std::byte{2};
    writer.patch(8, static_cast<int32_t>(bytes.size() - record::kBatchPrefixBytes));
    writer.patch(17, crc32c(ByteView(bytes).subspan(21)));
  }
  static_cast<void>(record::check_batch(bytes));
  const auto batch = record::BatchView::first_of(bytes);
  if (!batch) return 0;
  auto reader = record::RecordReader::open(*batch, 1u << 20);
  if (!reader) return 0;
  record::Record record;
  while (true) {
    const auto more = reader->next(record);
    if (!more || !*more) return 0;
  }
}
