#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "learn/model.h"

// Model::deserialize() over any bytes; with the checksum made right, so that what is behind it is reached.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  Bytes bytes(reinterpret_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(data) + size);
  constexpr size_t kHeaderBytes = 10;
  if (size >= kHeaderBytes) {
    ByteWriter(bytes).patch(kHeaderBytes - sizeof(uint32_t), crc32c(ByteView(bytes).subspan(kHeaderBytes)));
  }
  const auto model = learn::Model::deserialize(bytes);
  if (!model) return 0;
  const Bytes again = model->serialize();
  MILLRACE_CHECK(learn::Model::deserialize(again)->serialize() == again);
  const std::vector<double> row(model->spec().features.size(), 1.5);
  double score = 0;
  model->predict_batch({row.data(), 1, row.size()}, std::span(&score, 1));
  return 0;
}
