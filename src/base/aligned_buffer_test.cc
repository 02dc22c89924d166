#include "base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/random.h"

namespace millrace {
namespace {

bool is_aligned(const void* address) { return reinterpret_cast<uintptr_t>(address) % AlignedBuffer::kAlignment == 0; }

TEST(AlignedBuffer, HoldsWhatWasAppendedAndZerosUpToTheNextBlock) {
  Random random(7);
  for (int round = 0; round < 50; ++round) {
    AlignedBuffer buffer;
    Bytes model;
    for (int step = 0; step < 20; ++step) {
      if (random.chance(0.2)) {
        const size_t size = random.below(3 * AlignedBuffer::kAlignment);
        buffer.resize(size);
        model.resize(size);
      } else {
        const Bytes piece(random.below(6000), static_cast<std::byte>(1 + random.below(255)));
        buffer.append(piece);
        model.insert(model.end(), piece.begin(), piece.end());
      }
      ASSERT_TRUE(std::ranges::equal(buffer.bytes(), model));
      const size_t more = random.below(3) * AlignedBuffer::kAlignment;
      const ByteView padded = buffer.padded(more);
      ASSERT_TRUE(is_aligned(padded.data()));
      ASSERT_EQ(padded.size() % AlignedBuffer::kAlignment, 0U);
      ASSERT_LT(padded.size() - model.size() - more, AlignedBuffer::kAlignment);
      ASSERT_TRUE(std::ranges::equal(padded.first(model.size()), model));
      ASSERT_TRUE(std::ranges::all_of(padded.subspan(model.size()), [](std::byte b) { return b == std::byte{0}; }));
    }
  }
}

TEST(AlignedBuffer, BytesThatComeBackAreZeros) {
  AlignedBuffer buffer;
  buffer.append(as_byte_view("what was here before"));
  buffer.resize(4);
  buffer.resize(8);
  EXPECT_EQ(as_text(buffer.bytes()), std::string_view("what\0\0\0\0", 8));
}

TEST(AlignedBuffer, MovesWithWhatItHolds) {
  AlignedBuffer first;
  first.append(as_byte_view("first"));
  AlignedBuffer second;
  second.append(as_byte_view("second"));
  second = std::move(first);
  EXPECT_EQ(as_text(second.bytes()), "first");
  const AlignedBuffer third = std::move(second);
  EXPECT_EQ(third.size(), 5U);
}

TEST(AlignedBuffer, OneThatIsEmptyHasNoMemory) {
  AlignedBuffer buffer;
  EXPECT_TRUE(buffer.padded().empty());
  EXPECT_EQ(buffer.capacity(), 0U);
}

}  // namespace
}  // namespace millrace
