#include "client/partitioner.h"

#include <gtest/gtest.h>

#include <string_view>
#include <utility>

namespace millrace::client {
namespace {

// From the Java client's own test of Utils.murmur2.
TEST(Partitioner, HashesAsJavasMurmur2) {
  const std::pair<std::string_view, int32_t> vectors[] = {
      {"21", -973932308},
      {"foobar", -790332482},
      {"a-little-bit-long-string", -985981536},
      {"a-little-bit-longer-string", -1486304829},
      {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
      {"abc", 479470107},
  };
  for (const auto& [text, hash] : vectors) EXPECT_EQ(static_cast<int32_t>(murmur2(as_byte_view(text))), hash) << text;
}

TEST(Partitioner, ClearsTheSignBeforeTheModulo) {
  EXPECT_EQ(partition_for_key(as_byte_view("21"), 7), PartitionId((-973932308 & 0x7fffffff) % 7));
  EXPECT_EQ(partition_for_key(as_byte_view("abc"), 1), PartitionId(0));
}

}  // namespace
}  // namespace millrace::client
