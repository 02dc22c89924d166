#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "log/internal/log_testing.h"

// Reading for who sends on: ranges of segment files in place of bytes.
namespace millrace::log {
namespace {

class ReadOrLocateTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    options.segment_bytes = 400'000;
    options.index_interval_bytes = 4096;
    options.wal_file_bytes = 4u << 20;
    options.wal_buffer_bytes = 4u << 20;
    options.tail_bytes = 20'000;
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
  }
  std::shared_ptr<Partition> log() const { return partition("t"); }

  // Batches of all sizes, `count` of them; the last few small, so that they are still in memory.
  void fill(int count) {
    for (int i = 0; i < count; ++i) {
      const size_t bytes = i + 5 >= count ? 100 : std::array<size_t, 4>{10, 1000, 30'000, 90'000}.at(random.below(4));
      std::vector<std::string> values;
      for (uint64_t record = 0; record <= random.below(3); ++record)
        values.emplace_back(bytes, static_cast<char>('a' + random.below(26)));
      ASSERT_EQ(error_of(append("t", {.values = values})), "");
    }
  }

  static Bytes content(const env::FileRange& range) {
    Bytes bytes(range.bytes);
    EXPECT_EQ(range.file->read_at(range.position, bytes).value(), range.bytes);
    return bytes;
  }

  // What an answer of `bytes_max` holds, with ranges or without.
  struct Answer {
    Bytes bytes;
    size_t ranges = 0;
  };
  Answer take(Offset from, size_t bytes_max, bool at_least_one, bool with_ranges) const {
    Answer answer;
    while (answer.bytes.size() < bytes_max || (at_least_one && answer.bytes.empty())) {
      const size_t left = bytes_max - std::min(bytes_max, answer.bytes.size());
      Bytes fresh;
      std::optional<env::FileRange> range;
      const bool first = at_least_one && answer.bytes.empty();
      const auto info = with_ranges
                            ? log()->read_or_locate(from, left, first, fresh, range, Isolation::kReadUncommitted)
                            : log()->read(from, left, first, fresh);
      EXPECT_EQ(error_of(info), "");
      if (!info || info->bytes == 0) break;
      if (range) {
        EXPECT_TRUE(fresh.empty());
        ++answer.ranges;
        fresh = content(*range);
      }
      EXPECT_EQ(info->bytes, fresh.size());
      record::BatchReader batches(fresh);
      int64_t records = 0;
      while (const auto batch = batches.next().value()) {
        records += batch->record_count();
        EXPECT_GE(batch->last_offset(), from);
        from = batch->last_offset() + 1;
      }
      EXPECT_EQ(info->next, from);
      EXPECT_EQ(info->records, records);
      answer.bytes.insert(answer.bytes.end(), fresh.begin(), fresh.end());
    }
    return answer;
  }

  // The range that holds offset 0, and its bytes.
  std::pair<env::FileRange, Bytes> first_range() const {
    Bytes out;
    std::optional<env::FileRange> range;
    EXPECT_TRUE(log()->read_or_locate(Offset{0}, 1u << 20, true, out, range, Isolation::kReadUncommitted));
    EXPECT_TRUE(range);
    return {*range, content(*range)};
  }
  void wait_until_gone(const std::string& path) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (files.exists(path).value()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << path;
      std::this_thread::yield();
    }
  }

  const std::string first_segment = "/data/topics/t-0/00000000000000000000.log";
};

TEST_F(ReadOrLocateTest, GivesTheBatchesThatReadGivesWhereverTheyLie) {
  constexpr uint64_t kSeed = 20261121;
  SCOPED_TRACE(kSeed);
  random = Random(kSeed);
  fill(120);
  size_t ranges = 0;
  size_t in_memory_only = 0;
  for (int i = 0; i < 300; ++i) {
    const Offset from{static_cast<int64_t>(random.below(static_cast<uint64_t>(log()->high_watermark().value()) + 1))};
    const size_t bytes_max = std::array<size_t, 5>{0, 1000, 40'000, 200'000, 4'000'000}.at(random.below(5));
    const bool at_least_one = random.chance(0.5);
    const Answer located = take(from, bytes_max, at_least_one, true);
    ASSERT_EQ(located.bytes, take(from, bytes_max, at_least_one, false).bytes) << from.value() << " " << bytes_max;
    ranges += located.ranges;
    in_memory_only += located.ranges == 0 && !located.bytes.empty() ? 1 : 0;
  }
  EXPECT_GT(ranges, 100u);
  EXPECT_GT(in_memory_only, 20u);
}

TEST_F(ReadOrLocateTest, AClosedSegmentIsOneRangeWhateverItsBatches) {
  for (int i = 0; i < 600; ++i) ASSERT_EQ(error_of(append("t", {.values = {std::string(1000, 'v')}})), "");
  ASSERT_EQ(error_of(store->checkpoint()), "");
  const auto [range, bytes] = first_range();
  EXPECT_EQ(range.position, 0u);
  EXPECT_EQ(range.bytes, range.file->size().value());
  EXPECT_EQ(bytes, take(Offset{0}, range.bytes, true, false).bytes);
}

TEST_F(ReadOrLocateTest, WhatARangeHoldsStaysWhenMoreIsAppended) {
  ASSERT_EQ(error_of(append("t", {.values = {std::string(50'000, 'a')}})), "");
  const auto [range, bytes] = first_range();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(error_of(append("t", {.values = {std::string(50'000, 'b')}})), "");
  ASSERT_EQ(error_of(store->checkpoint()), "");
  EXPECT_EQ(content(range), bytes);
}

TEST_F(ReadOrLocateTest, WhatARangeHoldsStaysWhenItsRecordsAreDeleted) {
  fill(100);
  const auto [range, bytes] = first_range();
  ASSERT_TRUE(log()->advance_log_start(log()->high_watermark()));
  wait_until_gone(first_segment);
  EXPECT_EQ(content(range), bytes);
}

TEST_F(ReadOrLocateTest, WhatARangeHoldsStaysWhenItsTopicIsDeletedAndMadeAnew) {
  fill(100);
  const auto [range, bytes] = first_range();
  ASSERT_EQ(error_of(store->delete_topic("t")), "");
  make_topic("t");
  fill(20);
  EXPECT_EQ(content(range), bytes);
}

TEST_F(ReadOrLocateTest, WhatARangeHoldsStaysWhenItsSegmentIsCompacted) {
  store->set_policies(
      [this](const TopicInfo&) { return TopicPolicy{.segment_bytes = options.segment_bytes, .compacts = true}; });
  for (int i = 0; i < 40; ++i) {
    record::BatchBuilder builder({});
    builder.add(1000 + i, as_byte_view("key" + std::to_string(i % 3)), as_byte_view(std::string(50'000, 'v')));
    Bytes batch = builder.finish().value();
    ASSERT_EQ(error_of(store->wait_durable(log()->append(batch)->position)), "");
  }
  const auto [range, bytes] = first_range();
  const uint64_t before = log()->size_bytes();
  ASSERT_EQ(error_of(store->checkpoint()), "");
  ASSERT_EQ(error_of(store->tidy()), "");
  ASSERT_LT(log()->size_bytes(), before / 2);
  EXPECT_EQ(content(range), bytes);
}

TEST_F(ReadOrLocateTest, ASegmentFileThatEndsTooEarlyIsNamed) {
  fill(100);
  Bytes cut = files.content(first_segment);
  // In the middle of its last batch, and before all of its batches.
  for (const size_t bytes : {cut.size() - 10, size_t{100}}) {
    cut.resize(bytes);
    files.set_content(first_segment, cut);
    Bytes out;
    std::optional<env::FileRange> range;
    const auto read = log()->read_or_locate(Offset{1}, 1u << 20, true, out, range, Isolation::kReadUncommitted);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Errc::kCorruption);
    EXPECT_NE(read.error().message.find(first_segment), std::string::npos) << read.error().message;
    EXPECT_FALSE(range);
  }
}

}  // namespace
}  // namespace millrace::log
