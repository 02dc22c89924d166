#include <gtest/gtest.h>

#include <map>

#include "log/internal/log_testing.h"

// Flipped bits in the base offsets of batches, which are under no checksum.
namespace millrace::log {
namespace {

using Strings = std::vector<std::string>;
using Folder = std::map<std::string, Bytes>;

constexpr const char* kFolder = "/data/topics/t-0/";

class OffsetDamageTest : public testing::Test {
 protected:
  struct Place {
    std::string path;
    size_t position = 0;
    Offset base{0};
    Offset last{0};
  };

  // Note what `test` has, as it lies on the disk when the store is closed.
  void take(TestStore& test) {
    options_ = test.options;
    records_ = read_all(*test.partition("t")).value();
    high_watermark_ = test.partition("t")->high_watermark();
    ASSERT_EQ(error_of(test.store->close()), "");
    test.store.reset();
    add_files(test.files, "/data");
    for (const auto& [path, content] : folder_) {
      if (!path.starts_with(kFolder) || !path.ends_with(".log")) continue;
      for (size_t at = 0; at < content.size();) {
        const auto batch = record::BatchView::first_of(ByteView(content).subspan(at)).value();
        places_.push_back({path, at, batch.base_offset(), batch.last_offset()});
        at += batch.size_bytes();
      }
    }
  }
  void add_files(env::FaultFileSystem& files, const std::string& directory) {
    const auto entries = files.list(directory).value();
    for (const auto& entry : entries) {
      const std::string path = env::join_path(directory, entry.name);
      if (entry.is_directory) {
        add_files(files, path);
      } else {
        folder_[path] = files.content(path);
      }
    }
  }
  static Offset flipped(Offset offset, int bit) {
    return Offset{static_cast<int64_t>(static_cast<uint64_t>(offset.value()) ^ uint64_t{1} << bit)};
  }

  // What take() found, but for one bit.
  Folder with_flipped(const Place& place, int bit) const {
    Folder folder = folder_;
    record::set_base_offset(std::span(folder.at(place.path)).subspan(place.position), flipped(place.base, bit));
    return folder;
  }
  void start(TestStore& test, const Folder& folder) const {
    test.options = options_;
    for (const auto& [path, content] : folder) {
      ASSERT_TRUE(test.files.make_directories(env::parent_directory(path)));
      ASSERT_TRUE(test.files.open(path, env::OpenMode::kCreateEmpty));
      test.files.set_content(path, content);
    }
    ASSERT_EQ(error_of(test.open()), "");
  }

  // All records from `from` on. Where a read has none before the end, it ends there: too early.
  static Result<Strings> read_on(const Partition& log, Offset from, size_t bytes_max, bool with_ranges,
                                 size_t* ranges = nullptr) {
    Strings all;
    while (from < log.high_watermark()) {
      Bytes bytes;
      std::optional<env::FileRange> range;
      MILLRACE_ASSIGN_OR_RETURN(
          const ReadInfo info,
          with_ranges ? log.read_or_locate(from, bytes_max, true, bytes, range, Isolation::kReadUncommitted)
                      : log.read(from, bytes_max, true, bytes));
      if (info.bytes == 0) return all;
      if (range) {
        bytes.resize(range->bytes);
        MILLRACE_RETURN_IF_ERROR(range->file->read_at(range->position, bytes));
        if (ranges != nullptr) ++*ranges;
      }
      MILLRACE_ASSIGN_OR_RETURN(const Strings some, records_in(bytes));
      all.insert(all.end(), some.begin(), some.end());
      from = info.next;
    }
    return all;
  }

  // It is damage, and says in which file and where.
  static void expect_named(const Error& error) {
    EXPECT_EQ(error.code, Errc::kCorruption) << error.message;
    EXPECT_NE(error.message.find(kFolder), std::string::npos) << error.message;
    EXPECT_NE(error.message.find(" byte "), std::string::npos) << error.message;
    EXPECT_NE(error.hint, "");
  }
  void expect_records_or_named(const Result<Strings>& got, Offset from) const {
    if (!got) return expect_named(got.error());
    // Records stand at consecutive offsets here, of whole batches.
    ASSERT_LE(got->size(), records_.size());
    const auto first = std::find_if(places_.begin(), places_.end(), [&](const Place& one) { return one.last >= from; });
    const Strings expected(records_.begin() + first->base.value(), records_.end());
    EXPECT_TRUE(*got == expected) << got->size() << " records from " << from.value() << " on, the first "
                                  << (got->empty() ? "" : got->front().substr(got->front().rfind('@')));
  }

  void expect_never_others(const Place& place, int bit) const {
    SCOPED_TRACE(place.path + ", byte " + std::to_string(place.position) + ", bit " + std::to_string(bit));
    TestStore test;
    ASSERT_NO_FATAL_FAILURE(start(test, with_flipped(place, bit)));
    const auto log = test.partition("t");
    // First from beside it, where no earlier read has noted a position.
    for (const Offset from : {place.base, place.last, place.last + 1, std::max(place.base + -1, Offset{0})}) {
      if (from >= high_watermark_) continue;
      for (const size_t bytes_max : {size_t{1}, size_t{1} << 20}) {
        expect_records_or_named(read_on(*log, from, bytes_max, false), from);
        expect_records_or_named(read_on(*log, from, bytes_max, true), from);
      }
      const auto found = log->offset_for_time(1000 + from.value());
      if (!found) expect_named(found.error());
      if (found) EXPECT_EQ(found->value_or(TimestampedOffset{}).offset, from);
    }
    const auto newest = log->offset_of_max_timestamp();
    if (!newest) expect_named(newest.error());
    if (newest) EXPECT_EQ(newest->value_or(TimestampedOffset{}).offset, high_watermark_ + -1);
    // Whoever reads everything comes upon it, and the partition takes nothing more.
    EXPECT_FALSE(read_on(*log, Offset{0}, 700, false));
    EXPECT_FALSE(read_on(*log, Offset{0}, 1u << 20, false));
    EXPECT_FALSE(read_on(*log, Offset{0}, 1u << 20, true));
    ASSERT_TRUE(log->damage());
    expect_named(*log->damage());
  }

  // Batches of three records, each a millisecond later than the one before.
  static void fill(TestStore& test, int batches, size_t value_bytes) {
    ASSERT_EQ(error_of(test.open()), "");
    test.make_topic("t");
    for (int i = 0; i < batches; ++i) {
      const std::string value = std::to_string(i) + std::string(value_bytes, '.');
      ASSERT_EQ(error_of(test.append("t", {.values = {value, value, value}, .timestamp_ms = 1000 + 3 * i})), "");
    }
  }

  StoreOptions options_;
  Folder folder_;
  std::vector<Place> places_;
  Strings records_;
  Offset high_watermark_{0};
};

TEST_F(OffsetDamageTest, NoFlippedBitGivesAReaderOtherRecordsOrFewer) {
  TestStore test;
  test.options.segment_bytes = 1500;
  test.options.index_interval_bytes = 600;
  ASSERT_NO_FATAL_FAILURE(fill(test, 14, 60));
  ASSERT_GT(test.partition("t")->segment_count(), 2U);
  ASSERT_NO_FATAL_FAILURE(take(test));
  ASSERT_EQ(places_.size(), 14U);
  for (const Place& place : places_) {
    for (int bit = 0; bit < 64; ++bit) ASSERT_NO_FATAL_FAILURE(expect_never_others(place, bit));
    if (HasFailure()) return;
  }
}

TEST_F(OffsetDamageTest, NorWhereRangesOfTheFileAreSent) {
  TestStore test;
  test.options.segment_bytes = 50'000;
  test.options.index_interval_bytes = 20'000;
  test.options.tail_bytes = 20'000;
  ASSERT_NO_FATAL_FAILURE(fill(test, 12, 3000));
  ASSERT_NO_FATAL_FAILURE(take(test));
  TestStore whole;
  ASSERT_NO_FATAL_FAILURE(start(whole, folder_));
  size_t ranges = 0;
  EXPECT_EQ(read_on(*whole.partition("t"), Offset{0}, 1u << 20, true, &ranges).value(), records_);
  EXPECT_GT(ranges, 1U);
  for (const Place& place : places_) {
    // All of the lower half, where offsets are, and some that no offset has.
    for (int bit = 0; bit < 64; bit += bit < 32 ? 1 : 7) ASSERT_NO_FATAL_FAILURE(expect_never_others(place, bit));
    if (HasFailure()) return;
  }
}

TEST_F(OffsetDamageTest, NorDoesAFlippedBitOfAnIndex) {
  TestStore test;
  test.options.segment_bytes = 3000;
  test.options.index_interval_bytes = 400;
  ASSERT_NO_FATAL_FAILURE(fill(test, 14, 60));
  ASSERT_NO_FATAL_FAILURE(take(test));
  const std::string path = std::string(kFolder) + "00000000000000000000.index";
  const size_t bits = folder_.at(path).size() * 8;
  ASSERT_GE(bits, 3 * 64U);
  size_t failed = 0;
  for (size_t bit = 0; bit < bits; ++bit) {
    SCOPED_TRACE("bit " + std::to_string(bit));
    Folder folder = folder_;
    folder.at(path)[bit / 8] ^= std::byte{1} << bit % 8;
    TestStore damaged;
    ASSERT_NO_FATAL_FAILURE(start(damaged, folder));
    for (const Place& place : places_) {
      const auto got = read_on(*damaged.partition("t"), place.base, 1u << 20, false);
      expect_records_or_named(got, place.base);
      failed += got ? 0 : 1;
    }
  }
  EXPECT_GT(failed, 0U);
}

TEST_F(OffsetDamageTest, InACompactedLogOnlyAMoveWithinTheGapBesideABatchIsNotTold) {
  TestStore test;
  test.options.cleaner_backoff = std::chrono::hours(10'000);
  ASSERT_EQ(error_of(test.open()), "");
  test.store->set_policies([](const TopicInfo&) {
    TopicPolicy policy;
    policy.segment_bytes = 2048;
    policy.index_interval_bytes = 600;
    policy.compacts = true;
    policy.min_cleanable_dirty_ratio = 0;
    return policy;
  });
  test.make_topic("t");
  constexpr int kWritten = 80;
  for (int i = 0; i < kWritten; ++i) {
    record::BatchBuilder builder({});
    const std::string key = i % 5 == 0 ? "key" + std::to_string(i) : "again and again";
    builder.add(1000 + i, as_byte_view(key), as_byte_view(std::to_string(i) + std::string(80, '.')));
    Bytes batch = builder.finish().value();
    const auto appended = test.partition("t")->append(batch);
    ASSERT_EQ(error_of(appended), "");
    ASSERT_EQ(error_of(test.store->wait_durable(appended->position)), "");
  }
  ASSERT_EQ(error_of(test.store->checkpoint()), "");
  ASSERT_EQ(error_of(test.store->tidy()), "");
  ASSERT_NO_FATAL_FAILURE(take(test));
  ASSERT_LT(places_.size(), size_t{kWritten} / 2);
  {
    TestStore whole;
    ASSERT_NO_FATAL_FAILURE(start(whole, folder_));
    EXPECT_EQ(read_on(*whole.partition("t"), Offset{0}, 1, false).value(), records_);
    EXPECT_EQ(read_on(*whole.partition("t"), Offset{0}, 1u << 20, true).value(), records_);
    for (const Place& place : places_) {
      const Offset behind = place.last + 1;
      EXPECT_EQ(error_of(read_on(*whole.partition("t"), behind, 1u << 20, false)), "");
    }
  }
  size_t told = 0;
  size_t not_told = 0;
  for (size_t i = 0; i < places_.size(); ++i) {
    const Offset end = i + 1 < places_.size() ? places_[i + 1].base : high_watermark_;
    const Offset begin = i == 0 ? Offset{0} : places_[i - 1].last + 1;
    for (int bit = 0; bit < 64; bit += bit < 16 ? 1 : 5) {
      const Offset moved = flipped(places_[i].base, bit);
      SCOPED_TRACE(places_[i].path + ", byte " + std::to_string(places_[i].position) + ": offset " +
                   std::to_string(moved.value()));
      TestStore damaged;
      ASSERT_NO_FATAL_FAILURE(start(damaged, with_flipped(places_[i], bit)));
      const bool in_gap = moved >= begin && moved < end;
      for (const bool with_ranges : {false, true}) {
        const auto got = read_on(*damaged.partition("t"), Offset{0}, 1u << 20, with_ranges);
        if (!got) expect_named(got.error());
        if (!in_gap) EXPECT_FALSE(got);
        ++(got ? not_told : told);
      }
    }
  }
  EXPECT_GT(told, not_told);
  EXPECT_GT(not_told, 0U);
}

}  // namespace
}  // namespace millrace::log
