#include "record/rewrite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace::record {
namespace {

using testing::ElementsAre;

constexpr size_t kPlainMax = 1u << 20;

// Records at 100..103: one a tombstone.
Bytes four_records(Codec codec, TimestampType type = TimestampType::kCreateTime) {
  BatchBuilder builder({.codec = codec,
                        .base_offset = Offset{100},
                        .leader_epoch = LeaderEpoch{3},
                        .timestamp_type = type,
                        .producer_id = ProducerId{9},
                        .producer_epoch = ProducerEpoch{1},
                        .base_sequence = 40});
  const std::vector<RecordHeader> headers = {{"h", as_byte_view("1")}, {"null", std::nullopt}};
  builder.add(5000, as_byte_view("a"), as_byte_view("one"), headers);
  builder.add(7000, as_byte_view("b"), std::nullopt);
  builder.add(6000, as_byte_view("c"), as_byte_view("three"));
  builder.add(4000, as_byte_view("d"), as_byte_view("four"));
  return builder.finish().value();
}

std::vector<std::string> shown(const BatchView& batch) {
  std::vector<std::string> all;
  auto reader = RecordReader::open(batch, kPlainMax);
  Record record;
  while (reader && reader->next(record).value_or(false)) {
    all.push_back(std::to_string(record.offset.value()) + " " + std::to_string(record.timestamp_ms) + " " +
                  std::string(as_text(*record.key)) + "=" + (record.value ? std::string(as_text(*record.value)) : "-") +
                  (record.headers.empty() ? "" : " with headers"));
  }
  return all;
}

Filter keeping(const std::string& keys, int64_t delete_horizon_ms = 90'000) {
  return {.keep = [keys](const Record& record) { return keys.find(as_text(*record.key)) != std::string::npos; },
          .delete_horizon_ms = delete_horizon_ms,
          .plain_bytes_max = kPlainMax};
}

TEST(Rewrite, KeptRecordsStayAtTheirOffsetsAndTimes) {
  for (int codec = 0; codec < kCodecs; ++codec) {
    const Bytes bytes = four_records(static_cast<Codec>(codec));
    Bytes out;
    EXPECT_EQ(append_filtered(*BatchView::first_of(bytes), keeping("ad"), out).value(), Kept::kSome);
    const auto batch = BatchView::first_of(out);
    ASSERT_TRUE(batch);
    EXPECT_TRUE(batch->checksum_matches());
    EXPECT_THAT(shown(*batch), ElementsAre("100 5000 a=one with headers", "103 4000 d=four"));
    EXPECT_EQ(batch->codec(), static_cast<Codec>(codec));
    EXPECT_EQ(batch->last_offset(), Offset{103});
    EXPECT_EQ(batch->record_count(), 2);
    EXPECT_EQ(batch->max_timestamp_ms(), 5000);
    EXPECT_EQ(batch->leader_epoch(), LeaderEpoch{3});
    EXPECT_EQ(batch->base_sequence(), 40);
    EXPECT_EQ(batch->last_sequence(), 43);
    EXPECT_EQ(delete_horizon_ms(*batch), std::nullopt);
  }
}

TEST(Rewrite, ATombstoneThatIsKeptGetsItsHorizonOnce) {
  const Bytes bytes = four_records(Codec::kLz4);
  Bytes out;
  EXPECT_EQ(append_filtered(*BatchView::first_of(bytes), keeping("abcd"), out).value(), Kept::kAll);
  const auto batch = BatchView::first_of(out);
  EXPECT_TRUE(batch->checksum_matches());
  EXPECT_EQ(delete_horizon_ms(*batch), 90'000);
  EXPECT_EQ(shown(*batch), shown(*BatchView::first_of(bytes)));
  Bytes again;
  EXPECT_EQ(append_filtered(*batch, keeping("abcd", 95'000), again).value(), Kept::kAll);
  EXPECT_EQ(again, out);
}

TEST(Rewrite, WithNothingToChangeTheBytesStay) {
  Bytes bytes = four_records(Codec::kGzip);
  Bytes without_tombstone;
  ASSERT_TRUE(append_filtered(*BatchView::first_of(bytes), keeping("acd"), without_tombstone));
  Bytes out;
  EXPECT_EQ(append_filtered(*BatchView::first_of(without_tombstone), keeping("acd"), out).value(), Kept::kAll);
  EXPECT_EQ(out, without_tombstone);
  EXPECT_EQ(append_filtered(*BatchView::first_of(bytes), keeping("x"), out).value(), Kept::kNone);
  EXPECT_EQ(out, without_tombstone) << "nothing was added";
}

TEST(Rewrite, AnEmptiedBatchKeepsItsPlace) {
  const Bytes bytes = four_records(Codec::kZstd);
  Bytes out;
  append_emptied(*BatchView::first_of(bytes), out);
  const auto batch = BatchView::first_of(out);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->size_bytes(), kBatchHeaderBytes);
  EXPECT_TRUE(batch->checksum_matches());
  EXPECT_EQ(batch->base_offset(), Offset{100});
  EXPECT_EQ(batch->last_offset(), Offset{103});
  EXPECT_EQ(batch->max_timestamp_ms(), 7000);
  EXPECT_THAT(shown(*batch), ElementsAre());
}

TEST(Rewrite, RecompressingChangesTheCodecAndNothingElse) {
  for (int from = 0; from < kCodecs; ++from) {
    for (int to = 0; to < kCodecs; ++to) {
      const Bytes bytes = four_records(static_cast<Codec>(from), TimestampType::kLogAppendTime);
      Bytes out;
      ASSERT_TRUE(recompress(*BatchView::first_of(bytes), static_cast<Codec>(to), kPlainMax, out));
      const auto batch = BatchView::first_of(out);
      EXPECT_TRUE(batch->checksum_matches());
      EXPECT_EQ(batch->codec(), static_cast<Codec>(to));
      EXPECT_EQ(batch->timestamp_type(), TimestampType::kLogAppendTime);
      EXPECT_EQ(shown(*batch), shown(*BatchView::first_of(bytes)));
    }
  }
  const Bytes packed = four_records(Codec::kLz4);
  Bytes out;
  EXPECT_EQ(recompress(*BatchView::first_of(packed), Codec::kNone, 10, out).error().code, Errc::kTooLarge);
}

}  // namespace
}  // namespace millrace::record
