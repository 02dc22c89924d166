#include <gtest/gtest.h>

#include <algorithm>

#include "log/inspect.h"
#include "log/internal/log_testing.h"
#include "log/internal/wal_format.h"

// Large batches, which are written into their segment alone: docs/adr/0011-large-batches-are-written-once.md.
namespace millrace::log {
namespace {

using Unsynced = env::FaultFileSystem::Unsynced;
using Strings = std::vector<std::string>;

class WrittenOnceTest : public testing::Test, protected TestStore {
 protected:
  static constexpr const char* kFirstSegment = "/data/topics/t-0/00000000000000000000.log";

  void SetUp() override {
    options.segment_bytes = 1u << 20;
    options.write_once_bytes = 1000;
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
  }

  // Of one record, `bytes` long, durable.
  void add(size_t bytes) {
    const std::string value = std::to_string(expected_.size()) + std::string(bytes, 'v');
    ASSERT_TRUE(append("t", {.values = {value}}));
    expected_.push_back(value + "@" + std::to_string(expected_.size()));
  }
  void expect_all() { EXPECT_EQ(read_all(*partition("t"), Offset{0}, 1u << 20).value(), expected_); }
  uint64_t wal_bytes() const { return store->statistics().wal_bytes; }

  Strings expected_;
};

TEST_F(WrittenOnceTest, ALargeBatchTakesABlockOfTheWriteAheadLogAndSurvives) {
  add(10);
  const uint64_t before = wal_bytes();
  add(20'000);
  EXPECT_EQ(wal_bytes() - before, kWalBlockBytes);
  EXPECT_GT(store->statistics().wal_replayable_bytes, 20'000U);
  add(10);
  expect_all();
  for (const Unsynced unsynced : {Unsynced::kDropped, Unsynced::kRandom, Unsynced::kKept}) {
    crash(unsynced);
    ASSERT_EQ(error_of(open()), "");
    expect_all();
  }
}

TEST_F(WrittenOnceTest, IsReadableOnlyWhenBothSyncsAreDone) {
  for (int held = 0; held < 2; ++held) {
    Bytes batch = make_batch({.values = {std::string(5000, 'v')}});
    files.hold_syncs();
    const Offset before = partition("t")->high_watermark();
    const auto appended = partition("t")->append(batch);
    ASSERT_TRUE(appended);
    files.await_held_sync();
    EXPECT_EQ(partition("t")->high_watermark(), before);
    files.release_syncs();
    ASSERT_EQ(error_of(store->wait_durable(appended->position)), "");
    EXPECT_EQ(partition("t")->high_watermark(), before + 1);
  }
}

// Whatever the last operation was that still happened, the batch is there whole, or nothing of it.
TEST_F(WrittenOnceTest, WhatWasWrittenBeforeTheLogKnewOfItIsCutOff) {
  add(10);
  bool came_back = false;
  bool was_cut = false;
  for (uint64_t at = 0; at < 12; ++at) {
    for (const Unsynced unsynced : {Unsynced::kDropped, Unsynced::kRandom, Unsynced::kKept}) {
      SCOPED_TRACE(testing::Message() << "power off after " << at << ", unsynced " << static_cast<int>(unsynced));
      Bytes batch = make_batch({.values = {std::string(3000, 'n')}});
      const size_t before = expected_.size();
      files.power_off_after(at);
      const auto appended = partition("t")->append(batch);
      const bool durable = appended && store->wait_durable(appended->position);
      crash(unsynced);
      ASSERT_EQ(error_of(open()), "");
      const auto end = static_cast<size_t>(partition("t")->high_watermark().value());
      ASSERT_GE(end, before + (durable ? 1 : 0));
      ASSERT_LE(end, before + 1);
      if (end > before) expected_.push_back(std::string(3000, 'n') + "@" + std::to_string(before));
      expect_all();
      (end > before ? came_back : was_cut) = true;
      ASSERT_EQ(error_of(store->checkpoint()), "");
      EXPECT_EQ(files.content(kFirstSegment).size(), partition("t")->size_bytes());
    }
  }
  EXPECT_TRUE(came_back);
  EXPECT_TRUE(was_cut);
}

TEST_F(WrittenOnceTest, MuchThatNobodyWaitsForIsNotSyncedAlong) {
  options.write_once_bytes = 8000;
  ASSERT_EQ(error_of(open()), "");
  for (int i = 0; i < 5; ++i) add(3000);
  uint64_t before = wal_bytes();
  add(9000);
  EXPECT_GT(wal_bytes() - before, 9000U);
  ASSERT_EQ(error_of(store->checkpoint()), "");
  before = wal_bytes();
  add(9000);
  EXPECT_EQ(wal_bytes() - before, kWalBlockBytes);
  crash();
  ASSERT_EQ(error_of(open()), "");
  expect_all();
}

TEST_F(WrittenOnceTest, CountsForTheBufferAsIfItWereWrittenThere) {
  files.hold_syncs();
  int appended = 0;
  for (; appended < 100; ++appended) {
    Bytes batch = make_batch({.values = {std::string(20'000, 'v')}});
    const auto one = partition("t")->append(batch, {.when_full = WhenFull::kRefuse});
    ASSERT_TRUE(one);
    if (one->outcome == AppendOutcome::kNoRoom) break;
  }
  // The buffer of 64 KB holds three, and one may be on its way to the disk.
  EXPECT_GE(appended, 3);
  EXPECT_LE(appended, 8);
  files.release_syncs();
}

TEST_F(WrittenOnceTest, AFailedSyncOfTheSegmentEndsTheStore) {
  files.fail_sync(1);
  Bytes batch = make_batch({.values = {std::string(5000, 'v')}});
  const auto appended = partition("t")->append(batch);
  ASSERT_TRUE(appended);
  EXPECT_EQ(store->wait_durable(appended->position).error().code, Errc::kUnavailable);
  EXPECT_EQ(partition("t")->high_watermark(), Offset{0});
}

// Segments are begun by rules that a start does not know yet: where batches stand must not depend on them.
TEST_F(WrittenOnceTest, SegmentsAreLaidOutAsTheyWere) {
  options.closing_checkpoint_bytes = 0;
  for (int round = 0; round < 4; ++round) {
    store->set_policies([](const TopicInfo&) { return TopicPolicy{.segment_bytes = 5000}; });
    for (int i = 0; i < 30; ++i) add(static_cast<size_t>(random.below(2500)));
    EXPECT_GT(partition("t")->segment_count(), 5U);
    crash(round % 2 == 0 ? Unsynced::kDropped : Unsynced::kRandom);
    ASSERT_EQ(error_of(open()), "");
    expect_all();
  }
}

TEST_F(WrittenOnceTest, ATopicOfTheNameOfADeletedOneKeepsItsBatches) {
  add(5000);
  ASSERT_EQ(error_of(store->delete_topic("t")), "");
  make_topic("t");
  expected_.clear();
  add(6000);
  add(10);
  crash();
  ASSERT_EQ(error_of(open()), "");
  expect_all();
}

TEST_F(WrittenOnceTest, WhatTheLogStartHasLeftBehindMayBeGone) {
  store->set_policies([](const TopicInfo&) { return TopicPolicy{.segment_bytes = 5000}; });
  // Segments of a large batch, and of a small one before it.
  for (const size_t bytes : std::vector<size_t>{10, 4800, 4800, 10, 4800, 3000}) add(bytes);
  ASSERT_EQ(partition("t")->segment_count(), 4U);
  const auto position = partition("t")->advance_log_start(Offset{5});
  ASSERT_EQ(error_of(store->wait_durable(*position)), "");
  crash(Unsynced::kKept);
  for (const int i : {0, 2, 4}) {
    ASSERT_TRUE(files.remove_all("/data/topics/t-0/0000000000000000000" + std::to_string(i) + ".log"));
  }
  ASSERT_EQ(error_of(open()), "");
  EXPECT_FALSE(partition("t")->damage());
  EXPECT_EQ(partition("t")->log_start_offset(), Offset{5});
  EXPECT_EQ(read_all(*partition("t"), Offset{5}, 1u << 20).value(), Strings(expected_.begin() + 5, expected_.end()));
}

TEST_F(WrittenOnceTest, WhatIsDamagedBeforeTheLogStartIsNotMissed) {
  for (const size_t bytes : std::vector<size_t>{3000, 3000, 10, 3000}) add(bytes);
  ASSERT_EQ(error_of(store->wait_durable(*partition("t")->advance_log_start(Offset{2}))), "");
  crash(Unsynced::kKept);
  Bytes bad = files.content(kFirstSegment);
  bad[1000] ^= std::byte{1};
  files.set_content(kFirstSegment, bad);
  for (int start = 0; start < 3; ++start) {
    ASSERT_EQ(error_of(open()), "");
    EXPECT_FALSE(partition("t")->damage());
    EXPECT_EQ(read_all(*partition("t"), Offset{2}, 1u << 20).value(), Strings(expected_.begin() + 2, expected_.end()));
    add(2000);
    crash(Unsynced::kKept);
  }
}

// A large batch between two small ones, the store killed.
class WrittenOnceDamageTest : public WrittenOnceTest {
 protected:
  void SetUp() override {
    WrittenOnceTest::SetUp();
    add(10);
    begin_ = partition("t")->size_bytes();
    add(1200);
    end_ = partition("t")->size_bytes();
    add(10);
    crash(Unsynced::kKept);
    for (const std::string& path : {std::string(kFirstSegment), std::string("/data/checkpoint"),
                                    list_wal_files(files, "/data/wal")->begin()->second}) {
      good_[path] = files.content(path);
    }
  }
  void restore() {
    for (const auto& [path, content] : good_) files.set_content(path, content);
  }
  // What a start makes of it: the large batch cannot be read, what is around it can.
  void expect_quarantine() {
    ASSERT_EQ(error_of(open()), "");
    const auto t = partition("t");
    ASSERT_TRUE(t->damage());
    EXPECT_EQ(t->damage()->code, Errc::kCorruption);
    EXPECT_NE(t->damage()->message.find(kFirstSegment), std::string::npos) << t->damage()->message;
    EXPECT_EQ(t->high_watermark(), Offset{3});
    EXPECT_EQ(read_all(*t, Offset{2}).value(), Strings{expected_[2]});
    Bytes bytes;
    EXPECT_FALSE(t->read(Offset{1}, 1u << 20, true, bytes));
    Bytes batch = make_batch({.values = {"more"}});
    EXPECT_EQ(t->append(batch).error().code, Errc::kUnavailable);
    ASSERT_TRUE(t->advance_log_start(Offset{2}));
    EXPECT_FALSE(t->damage());
    ASSERT_TRUE(append("t", {.values = {"more"}}));
    EXPECT_EQ(read_all(*t, Offset{2}).value(), (Strings{expected_[2], "more@3"}));
  }
  void kill() {
    files.power_off_after(0);
    store.reset();
    files.crash(Unsynced::kKept, random);
  }

  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  std::map<std::string, Bytes> good_;
};

TEST_F(WrittenOnceDamageTest, EveryFlippedByteQuarantinesThePartition) {
  for (uint64_t at = begin_; at < end_; at += at < begin_ + 70 ? 1 : 13) {
    SCOPED_TRACE(testing::Message() << "flipped byte " << at);
    files.set_content(kFirstSegment, good_[kFirstSegment]);
    Bytes bad = good_[kFirstSegment];
    bad[at] ^= std::byte{0x10};
    const env::FaultFileSystem& disk = files;
    const uint64_t before = disk.operations();
    const WalEntry entry = [&] {
      WalEntry found;
      static Bytes header;
      EXPECT_TRUE(read_wal(files, "/data/wal", 0, [&](const WalEntry& one) -> Status {
        if (one.type != WalEntryType::kBatchInSegment) return {};
        header.assign(one.body.begin(), one.body.end());
        found = one;
        found.body = header;
        return {};
      }));
      return found;
    }();
    EXPECT_EQ(entry.position, begin_);
    ASSERT_EQ(error_of(read_batch_in_segment(files, "/data/topics/t-0", entry)), "");
    files.set_content(kFirstSegment, bad);
    EXPECT_EQ(read_batch_in_segment(files, "/data/topics/t-0", entry).error().code, Errc::kCorruption);
    EXPECT_EQ(disk.operations(), before);
  }
  Bytes bad = good_[kFirstSegment];
  bad[begin_ + 500] ^= std::byte{1};
  files.set_content(kFirstSegment, bad);
  expect_quarantine();
}

TEST_F(WrittenOnceDamageTest, ACutFileQuarantinesThePartition) {
  Bytes bad = good_[kFirstSegment];
  bad.resize(end_ - 1);
  files.set_content(kFirstSegment, bad);
  expect_quarantine();
}

TEST_F(WrittenOnceDamageTest, AMissingFileQuarantinesThePartition) {
  ASSERT_TRUE(files.remove(kFirstSegment));
  expect_quarantine();
}

TEST_F(WrittenOnceDamageTest, TheDoctorNamesTheFile) {
  auto report = inspect_folder(files, "/data", {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->partitions[0].findings.empty());
  EXPECT_EQ(report->partitions[0].records, 3);
  Bytes bad = good_[kFirstSegment];
  bad[begin_ + 500] ^= std::byte{1};
  files.set_content(kFirstSegment, bad);
  report = inspect_folder(files, "/data", {});
  ASSERT_TRUE(report);
  ASSERT_EQ(report->partitions[0].findings.size(), 1U);
  EXPECT_EQ(report->partitions[0].findings[0].severity, Severity::kDamage);
  EXPECT_NE(report->partitions[0].findings[0].what.find(kFirstSegment), std::string::npos);
}

// Beside damage nothing is written into files that were there: a start copies what stands only in them.
TEST_F(WrittenOnceTest, BesideOtherDamageItIsStillReadable) {
  store->set_policies([](const TopicInfo&) { return TopicPolicy{.segment_bytes = 4000}; });
  for (int i = 0; i < 4; ++i) add(1500);
  ASSERT_EQ(error_of(store->checkpoint()), "");
  add(1200);
  add(10);
  add(1300);
  crash(Unsynced::kKept);
  Bytes bad = files.content(kFirstSegment);
  bad.resize(bad.size() / 2);
  files.set_content(kFirstSegment, bad);
  for (int start = 0; start < 3; ++start) {
    ASSERT_EQ(error_of(open()), "");
    ASSERT_TRUE(partition("t")->damage());
    EXPECT_EQ(read_all(*partition("t"), Offset{4}, 1u << 20).value(), Strings(expected_.begin() + 4, expected_.end()));
    crash(Unsynced::kKept);
  }
  ASSERT_EQ(error_of(open()), "");
  ASSERT_TRUE(partition("t")->advance_log_start(Offset{4}));
  EXPECT_FALSE(partition("t")->damage());
  add(1400);
  crash();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t"), Offset{4}, 1u << 20).value(), Strings(expected_.begin() + 4, expected_.end()));
}

TEST(WrittenOnce, BesideOtherDamageItSurvivesWhereverThePowerGoes) {
  bool ran_through = false;
  for (uint64_t at = 0; !ran_through; at += 2) {
    SCOPED_TRACE(testing::Message() << "power off after " << at);
    TestStore t;
    t.random = Random(at);
    t.options.segment_bytes = 4000;
    t.options.write_once_bytes = 1000;
    ASSERT_EQ(error_of(t.open()), "");
    t.make_topic("t");
    Strings expected;
    for (const size_t bytes : std::vector<size_t>{1500, 1500, 1500, 1500, 1200, 10, 1300}) {
      if (expected.size() == 4) ASSERT_EQ(error_of(t.store->checkpoint()), "");
      ASSERT_TRUE(t.append("t", {.values = {std::string(bytes, 'v')}}));
      expected.push_back(std::string(bytes, 'v') + "@" + std::to_string(expected.size()));
    }
    t.crash(Unsynced::kKept);
    const std::string first = "/data/topics/t-0/00000000000000000000.log";
    Bytes bad = t.files.content(first);
    bad.resize(bad.size() / 2);
    t.files.set_content(first, bad);
    t.files.power_off_after(at);
    if (t.open()) {
      ASSERT_TRUE(t.partition("t")->damage());
      const auto moved = t.partition("t")->advance_log_start(Offset{4});
      ran_through = moved && t.store->wait_durable(*moved) && t.store->checkpoint();
    }
    t.crash(Unsynced::kRandom);
    ASSERT_EQ(error_of(t.open()), "");
    ASSERT_EQ(read_all(*t.partition("t"), Offset{4}, 1u << 20).value(), Strings(expected.begin() + 4, expected.end()));
  }
}

}  // namespace
}  // namespace millrace::log
