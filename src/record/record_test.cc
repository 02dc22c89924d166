#include <gtest/gtest.h>
#include <snappy.h>

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "record/batch.h"
#include "record/internal/golden_batches.h"
#include "record/records.h"

namespace millrace::record {
namespace {

constexpr size_t kPlainBytesMax = 1 << 20;

std::string text_of(const std::optional<ByteView>& bytes) { return bytes ? std::string(as_text(*bytes)) : "(null)"; }

// Records as comparable values.
struct Plain {
  int64_t offset;
  int64_t timestamp_ms;
  std::string key;
  std::string value;
  std::vector<std::pair<std::string, std::string>> headers;
  bool operator==(const Plain&) const = default;
};

Result<std::vector<Plain>> records_of(const BatchView& batch, size_t plain_bytes_max = kPlainBytesMax) {
  MILLRACE_ASSIGN_OR_RETURN(RecordReader reader, RecordReader::open(batch, plain_bytes_max));
  std::vector<Plain> all;
  Record record;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const bool more, reader.next(record));
    if (!more) return all;
    Plain plain{record.offset.value(), record.timestamp_ms, text_of(record.key), text_of(record.value), {}};
    for (const RecordHeader& header : record.headers) plain.headers.emplace_back(header.key, text_of(header.value));
    all.push_back(std::move(plain));
  }
}

const std::vector<Plain> kGoldenRecords{
    {0, 1700000000123, "key", "value", {{"h1", "one"}, {"h2", "(null)"}}},
    {1, 1700000000100, "(null)", std::string(200, 'x'), {}},
    {2, 1700000000456, std::string("\x00\xff", 2), "(null)", {}},
};

class GoldenBatchTest : public testing::TestWithParam<GoldenBatch> {};
INSTANTIATE_TEST_SUITE_P(Codecs, GoldenBatchTest, testing::ValuesIn(kGoldenBatches),
                         [](const auto& info) { return codec_name(info.param.codec); });

TEST_P(GoldenBatchTest, ReadsWhatKafkaPythonWrote) {
  const Bytes bytes = bytes_of_hex(GetParam().hex);
  const auto batch = check_batch(bytes);
  ASSERT_TRUE(batch) << batch.error().message;
  EXPECT_EQ(batch->codec(), GetParam().codec);
  EXPECT_EQ(batch->record_count(), 3);
  EXPECT_EQ(batch->base_timestamp_ms(), 1700000000123);
  EXPECT_EQ(batch->max_timestamp_ms(), 1700000000456);
  EXPECT_EQ(batch->last_offset(), Offset{2});
  if (GetParam().codec != Codec::kNone) {
    EXPECT_EQ(batch->producer_id(), ProducerId{4711});
    EXPECT_EQ(batch->producer_epoch(), ProducerEpoch{3});
    EXPECT_EQ(batch->base_sequence(), 17);
    EXPECT_EQ(batch->last_sequence(), 19);
  }
  EXPECT_EQ(records_of(*batch).value(), kGoldenRecords);
}

TEST_P(GoldenBatchTest, BuildsABatchThatReadsBackTheSame) {
  BatchBuilder builder({.codec = GetParam().codec, .base_offset = Offset{40}, .leader_epoch = LeaderEpoch{7}});
  const std::vector<RecordHeader> headers{{"h1", as_byte_view("one")}, {"h2", std::nullopt}};
  const std::string long_value(200, 'x');
  builder.add(1700000000123, as_byte_view("key"), as_byte_view("value"), headers);
  builder.add(1700000000100, std::nullopt, as_byte_view(long_value));
  builder.add(1700000000456, as_byte_view(std::string_view("\x00\xff", 2)), std::nullopt);
  const Bytes bytes = builder.finish().value();
  EXPECT_TRUE(builder.empty());
  const auto batch = check_batch(bytes);
  ASSERT_TRUE(batch) << batch.error().message;
  EXPECT_EQ(batch->leader_epoch(), LeaderEpoch{7});
  auto expected = kGoldenRecords;
  for (Plain& record : expected) record.offset += 40;
  EXPECT_EQ(records_of(*batch).value(), expected);
}

TEST_P(GoldenBatchTest, FindsEveryFlippedBitUnderTheChecksum) {
  const Bytes good = bytes_of_hex(GetParam().hex);
  for (size_t i = 17; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= std::byte{0x10};
    ASSERT_EQ(check_batch(bad).error().defect, BatchDefect::kBadChecksum) << i;
  }
}

TEST_P(GoldenBatchTest, RefusesEveryTruncation) {
  const Bytes good = bytes_of_hex(GetParam().hex);
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_EQ(check_batch(ByteView(good).first(size)).error().defect, BatchDefect::kTruncated) << size;
  }
}

TEST_P(GoldenBatchTest, SurvivesDamageBehindAGoodChecksum) {
  const Bytes good = bytes_of_hex(GetParam().hex);
  Random random(7);
  for (int round = 0; round < 3000; ++round) {
    Bytes bad = good;
    for (int i = 0; i < 3; ++i)
      bad[kBatchHeaderBytes + random.below(bad.size() - kBatchHeaderBytes)] = std::byte(random.next());
    static_cast<void>(records_of(*BatchView::first_of(bad)));
  }
}

// The none golden batch, changed by `change` and with its checksum made good again.
template <typename Change>
Bytes altered(Change change) {
  Bytes bytes = bytes_of_hex(kGoldenBatches[0].hex);
  ByteWriter writer(bytes);
  change(writer);
  // Setting the append time recomputes the checksum; clear its flag again.
  set_log_append_time(bytes, 1700000000456);
  return bytes;
}

BatchDefect defect_of(const Bytes& bytes) {
  const auto batch = check_batch(bytes);
  EXPECT_FALSE(batch);
  return batch ? BatchDefect::kTruncated : batch.error().defect;
}

TEST(CheckBatch, TellsOldFormatsFromUnknownOnes) {
  Bytes bytes = bytes_of_hex(kGoldenBatches[0].hex);
  bytes[16] = std::byte{0};
  EXPECT_EQ(defect_of(bytes), BatchDefect::kOldFormat);
  EXPECT_EQ(check_batch(ByteView(bytes).first(30)).error().defect, BatchDefect::kOldFormat);
  bytes[16] = std::byte{1};
  EXPECT_EQ(defect_of(bytes), BatchDefect::kOldFormat);
  bytes[16] = std::byte{3};
  EXPECT_EQ(defect_of(bytes), BatchDefect::kUnknownFormat);
}

TEST(CheckBatch, RefusesHeadersThatContradictThemselves) {
  EXPECT_TRUE(check_batch(altered([](ByteWriter&) {})));
  EXPECT_EQ(defect_of(altered([](ByteWriter& w) { w.patch(57, int32_t{4}); })), BatchDefect::kBadCounts);
  EXPECT_EQ(defect_of(altered([](ByteWriter& w) { w.patch(23, int32_t{-1}), w.patch(57, int32_t{0}); })),
            BatchDefect::kBadCounts);
  EXPECT_EQ(defect_of(altered([](ByteWriter& w) { w.patch(23, int32_t{9999}), w.patch(57, int32_t{10000}); })),
            BatchDefect::kBadCounts);
  EXPECT_EQ(defect_of(altered([](ByteWriter& w) { w.patch(43, int64_t{5}); })), BatchDefect::kBadCounts);
  EXPECT_EQ(defect_of(altered([](ByteWriter& w) { w.patch(21, int16_t{0x10}); })), BatchDefect::kBadCounts);
  EXPECT_EQ(defect_of(altered([](ByteWriter& w) { w.patch(21, int16_t{0x20}); })), BatchDefect::kControlBatch);
  EXPECT_EQ(defect_of(altered([](ByteWriter& w) { w.patch(21, int16_t{5}); })), BatchDefect::kUnknownCodec);
}

TEST(CheckBatch, RefusesImpossibleLengths) {
  for (const int32_t length : {-1, 0, 48, -2147483647}) {
    Bytes bytes = bytes_of_hex(kGoldenBatches[0].hex);
    ByteWriter(bytes).patch(8, length);
    EXPECT_EQ(defect_of(bytes), BatchDefect::kBadLength) << length;
  }
  Bytes bytes = bytes_of_hex(kGoldenBatches[0].hex);
  ByteWriter(bytes).patch(8, int32_t{2147483647});
  EXPECT_EQ(defect_of(bytes), BatchDefect::kTruncated);
}

TEST(CheckBatches, CountsSeveralAndWantsProducersAlone) {
  Bytes two = bytes_of_hex(kGoldenBatches[0].hex);
  const Bytes first = two;
  two.insert(two.end(), first.begin(), first.end());
  const auto arrived = check_batches(two);
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->batches, 2);
  EXPECT_EQ(arrived->records, 6);
  EXPECT_EQ(arrived->largest_batch_bytes, first.size());

  const Bytes with_producer = bytes_of_hex(kGoldenBatches[4].hex);
  EXPECT_TRUE(check_batches(with_producer)->uses_zstd);
  two.insert(two.end(), with_producer.begin(), with_producer.end());
  EXPECT_EQ(check_batches(two).error().defect, BatchDefect::kBadCounts);
  EXPECT_EQ(check_batches({}).error().defect, BatchDefect::kTruncated);
}

TEST(Batch, ChangesOffsetAndEpochWithoutTheChecksum) {
  Bytes bytes = bytes_of_hex(kGoldenBatches[1].hex);
  set_base_offset(bytes, Offset{123456789012});
  set_leader_epoch(bytes, LeaderEpoch{42});
  const auto batch = check_batch(bytes);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->base_offset(), Offset{123456789012});
  EXPECT_EQ(batch->last_offset(), Offset{123456789014});
  EXPECT_EQ(batch->leader_epoch(), LeaderEpoch{42});
}

TEST(Batch, StampsTheAppendTimeOnEveryRecord) {
  Bytes bytes = bytes_of_hex(kGoldenBatches[3].hex);
  set_log_append_time(bytes, 1800000000000);
  const auto batch = check_batch(bytes);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->timestamp_type(), TimestampType::kLogAppendTime);
  const auto records = records_of(*batch).value();
  for (const Plain& record : records) EXPECT_EQ(record.timestamp_ms, 1800000000000);
}

TEST(Batch, SequencesWrapToZero) {
  EXPECT_EQ(sequence_after(5, 3), 8);
  EXPECT_EQ(sequence_after(2147483647, 1), 0);
  EXPECT_EQ(sequence_after(2147483645, 5), 2);
}

TEST(Batch, WalksBatchesAndStopsAtATornOne) {
  Bytes bytes = bytes_of_hex(kGoldenBatches[0].hex);
  const size_t size = bytes.size();
  bytes.insert(bytes.end(), bytes.begin(), bytes.end());
  bytes.pop_back();
  BatchReader reader(bytes);
  EXPECT_EQ(reader.next().value()->size_bytes(), size);
  EXPECT_EQ(reader.next().error().code, Errc::kCorruption);
}

TEST(Records, RefusesACountThatTheRecordsDoNotHave) {
  Bytes more = bytes_of_hex(kGoldenBatches[0].hex);
  ByteWriter(more).patch(57, int32_t{4});
  EXPECT_EQ(records_of(*BatchView::first_of(more)).error().code, Errc::kCorruption);
  Bytes fewer = bytes_of_hex(kGoldenBatches[0].hex);
  ByteWriter(fewer).patch(57, int32_t{2});
  EXPECT_EQ(records_of(*BatchView::first_of(fewer)).error().code, Errc::kCorruption);
}

class CompressionTest : public testing::TestWithParam<Codec> {};
INSTANTIATE_TEST_SUITE_P(Codecs, CompressionTest,
                         testing::Values(Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd),
                         [](const auto& info) { return codec_name(info.param); });

TEST_P(CompressionTest, RestoresWhatItCompressed) {
  Random random(3);
  for (const size_t size : {0U, 1U, 4096U, 100'000U, 1'000'000U}) {
    Bytes plain(size);
    for (std::byte& byte : plain) byte = std::byte(random.below(8));
    Bytes packed;
    ASSERT_TRUE(compress(GetParam(), plain, packed));
    Bytes restored{std::byte{9}};
    ASSERT_TRUE(decompress(GetParam(), packed, size, restored)) << size;
    restored.erase(restored.begin());
    EXPECT_EQ(restored, plain) << size;
  }
}

TEST_P(CompressionTest, StopsABombAtTheLimit) {
  Bytes packed;
  ASSERT_TRUE(compress(GetParam(), Bytes(50'000'000), packed));
  Bytes out;
  const auto outcome = decompress(GetParam(), packed, 100'000, out);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kTooLarge);
  EXPECT_LE(out.size(), 100'000U);
}

TEST_P(CompressionTest, RefusesEveryTruncation) {
  if (GetParam() == Codec::kNone) return;
  Bytes packed;
  ASSERT_TRUE(compress(GetParam(), as_byte_view("some text, some text, some text, and its end"), packed));
  for (size_t size = 0; size < packed.size(); ++size) {
    Bytes out;
    const auto outcome = decompress(GetParam(), ByteView(packed).first(size), 1000, out);
    // A framed Snappy stream may end after any block: its header alone is an empty stream.
    if (GetParam() == Codec::kSnappy && size == 16) continue;
    ASSERT_FALSE(outcome) << size;
  }
}

TEST(Compression, ReadsABareSnappyBlock) {
  const std::string plain(1000, 'y');
  std::string packed;
  snappy::Compress(plain.data(), plain.size(), &packed);
  Bytes out;
  ASSERT_TRUE(decompress(Codec::kSnappy, as_byte_view(packed), plain.size(), out));
  EXPECT_EQ(as_text(out), plain);
}

TEST(Compression, ReadsConcatenatedGzipMembers) {
  Bytes packed;
  ASSERT_TRUE(compress(Codec::kGzip, as_byte_view("one, "), packed));
  ASSERT_TRUE(compress(Codec::kGzip, as_byte_view("two"), packed));
  Bytes out;
  ASSERT_TRUE(decompress(Codec::kGzip, packed, 8, out));
  EXPECT_EQ(as_text(out), "one, two");
}

TEST(Compression, RefusesASnappyBlockThatClaimsMoreThanItHolds) {
  const Bytes claim = bytes_of_hex("ffffff7f00");
  Bytes out;
  EXPECT_EQ(decompress(Codec::kSnappy, claim, 1u << 30, out).error().code, Errc::kCorruption);
  EXPECT_TRUE(out.empty());
}

TEST(Compression, KnowsItsCodecsByName) {
  for (const char* name : {"none", "gzip", "snappy", "lz4", "zstd"}) {
    EXPECT_STREQ(codec_name(parse_codec(name).value()), name);
  }
  EXPECT_FALSE(parse_codec("brotli"));
}

}  // namespace
}  // namespace millrace::record
