#include "app/copy_marks.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace millrace::app {
namespace {

TEST(CopyMark, CountsByAddingWhereOffsetsHaveNoGaps) {
  CopyMark mark(Offset(100), Offset(0));
  for (int64_t i = 1; i <= 50; ++i) mark.advance(Offset(100 + 10 * i), Offset(10 * i));
  const auto [point, is_dense] = mark.nearest(Offset(257));
  EXPECT_TRUE(is_dense);
  EXPECT_EQ(point.destination + (257 - point.source), 157);
  // All of them lie on one line: two points say it.
  EXPECT_LT(mark.encode().size(), 100u);
}

TEST(CopyMark, NamesAPlaceToCountFromWhereThereAreGaps) {
  CopyMark mark(Offset(0), Offset(0));
  mark.advance(Offset(10), Offset(10));
  mark.advance(Offset(30), Offset(12));
  mark.advance(Offset(40), Offset(22));
  EXPECT_EQ(mark.nearest(Offset(20)).point, (CopyMark::Point{10, 10}));
  EXPECT_FALSE(mark.nearest(Offset(20)).is_dense);
  EXPECT_TRUE(mark.nearest(Offset(5)).is_dense);
  EXPECT_EQ(mark.nearest(Offset(35)).point, (CopyMark::Point{30, 12}));
  EXPECT_TRUE(mark.nearest(Offset(35)).is_dense);
}

// Whatever is forgotten, counting records from the named point gives the offset that the record got.
TEST(CopyMark, LeadsToTheRightOffsetHoweverManyPointsThereWere) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    std::set<int64_t> source;  // the offsets that have records, in the destination's order
    CopyMark mark(Offset(7), Offset(3));
    int64_t next = 7;
    for (int i = 0; i < 3000; ++i) {
      next += random.below(3) == 0 ? static_cast<int64_t>(random.below(5)) : 0;
      source.insert(next++);
      if (random.below(2) == 0) mark.advance(Offset(next), Offset(3 + static_cast<int64_t>(source.size())));
    }
    mark.advance(Offset(next), Offset(3 + static_cast<int64_t>(source.size())));
    const auto rank = [&](int64_t from, int64_t until) {
      return std::distance(source.lower_bound(from), source.lower_bound(until));
    };
    for (int64_t offset = 7; offset < next; offset += 13) {
      const auto [point, is_dense] = mark.nearest(Offset(offset));
      const int64_t expected = 3 + rank(7, offset);
      ASSERT_EQ(point.destination + rank(point.source, offset), expected) << offset;
      if (is_dense) ASSERT_EQ(point.destination + offset - point.source, expected) << offset;
    }
    EXPECT_LT(mark.encode().size(), 40 * CopyMark::kPointsMax);
  }
}

TEST(CopyMark, IsWrittenAndReadBack) {
  CopyMark mark(Offset(5), Offset(1));
  mark.advance(Offset(9), Offset(2));
  mark.advance(Offset(20), Offset(13));
  const auto read = CopyMark::decode(mark.encode());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->encode(), mark.encode());
  EXPECT_EQ(read->source(), Offset(20));
  EXPECT_EQ(read->destination(), Offset(13));
  for (const char* bad : {"", "{}", "[]", "{\"source\":1,\"destination\":2,\"points\":[]}",
                          "{\"source\":1,\"destination\":2,\"points\":[[1]]}"})
    EXPECT_FALSE(CopyMark::decode(bad)) << bad;
}

}  // namespace
}  // namespace millrace::app
