#include "client/partitioner.h"

#include "base/check.h"

namespace millrace::client {

uint32_t murmur2(ByteView data) {
  constexpr uint32_t kSeed = 0x9747b28c;
  constexpr uint32_t kMultiplier = 0x5bd1e995;
  constexpr int kShift = 24;
  const auto byte_at = [data](size_t i) { return std::to_integer<uint32_t>(data[i]); };

  uint32_t hash = kSeed ^ static_cast<uint32_t>(data.size());
  size_t i = 0;
  for (; i + 4 <= data.size(); i += 4) {
    uint32_t word = byte_at(i) | byte_at(i + 1) << 8 | byte_at(i + 2) << 16 | byte_at(i + 3) << 24;
    word *= kMultiplier;
    word ^= word >> kShift;
    word *= kMultiplier;
    hash *= kMultiplier;
    hash ^= word;
  }
  const size_t rest = data.size() - i;
  if (rest == 3) hash ^= byte_at(i + 2) << 16;
  if (rest >= 2) hash ^= byte_at(i + 1) << 8;
  if (rest >= 1) {
    hash ^= byte_at(i);
    hash *= kMultiplier;
  }
  hash ^= hash >> 13;
  hash *= kMultiplier;
  hash ^= hash >> 15;
  return hash;
}

PartitionId partition_for_key(ByteView key, int32_t partitions) {
  MILLRACE_CHECK(partitions > 0, "a topic has at least one partition");
  constexpr uint32_t kPositive = 0x7fffffff;
  return PartitionId(static_cast<int32_t>((murmur2(key) & kPositive) % static_cast<uint32_t>(partitions)));
}

}  // namespace millrace::client
