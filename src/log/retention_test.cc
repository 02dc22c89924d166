#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "log/internal/log_testing.h"
#include "log/internal/partition_log.h"

namespace millrace::log {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// What the tests' topics mean by their configuration.
TopicPolicy policy_of(const TopicInfo& topic) {
  const auto number = [&](const char* name, int64_t otherwise) {
    const auto found = topic.config.find(name);
    return found == topic.config.end() ? otherwise : parse_int64(found->second).value_or(otherwise);
  };
  TopicPolicy policy;
  policy.segment_bytes = static_cast<uint64_t>(number("segment.bytes", 4096));
  policy.segment_ms = number("segment.ms", policy.segment_ms);
  policy.index_interval_bytes = 200;
  policy.deletes = true;
  policy.retention_ms = number("retention.ms", -1);
  policy.retention_bytes = number("retention.bytes", -1);
  return policy;
}

class Retention : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    ASSERT_EQ(error_of(disk.open()), "");
    disk.store->set_policies(policy_of);
  }
  int64_t now_ms() const { return to_unix_ms(disk.clock.wall_now()); }
  void configure(std::map<std::string, std::string> config) {
    ASSERT_EQ(error_of(disk.store->set_topic_config("t", std::move(config))), "");
  }
  // A record of about `bytes`, stamped now.
  void append(size_t bytes = 1000) { append_stamped(now_ms(), bytes); }
  void append_stamped(int64_t timestamp_ms, size_t bytes = 10) {
    const BatchSpec spec{.values = {std::string(bytes, 'x')}, .timestamp_ms = timestamp_ms, .options = {}};
    ASSERT_EQ(error_of(disk.append("t", spec)), "");
  }
  size_t segments() { return disk.partition("t")->segment_count(); }
  std::vector<std::string> segment_files() {
    std::vector<std::string> names;
    const auto entries = disk.files.list("/data/topics/t-0");
    if (!entries) return names;
    for (const auto& entry : *entries)
      if (entry.name.ends_with(".log")) names.push_back(entry.name);
    std::ranges::sort(names);
    return names;
  }

  TestStore disk;
  Bytes scratch;
};

TEST_F(Retention, ConfigurationsHoldAtOnceAndSurviveACrashAndACheckpoint) {
  disk.make_topic("t");
  configure({{"retention.ms", "5"}, {"segment.bytes", "2000"}});
  EXPECT_EQ(disk.store->find_topic("t")->info.config.at("retention.ms"), "5");
  EXPECT_EQ(disk.partition("t")->impl().policy().segment_bytes, 2000u);
  disk.crash();
  open();
  EXPECT_EQ(disk.store->find_topic("t")->info.config,
            (std::map<std::string, std::string>{{"retention.ms", "5"}, {"segment.bytes", "2000"}}));
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  configure({});
  disk.crash();
  open();
  EXPECT_THAT(disk.store->find_topic("t")->info.config, IsEmpty());
  EXPECT_EQ(disk.store->set_topic_config("nowhere", {}).error().code, Errc::kNotFound);
}

TEST_F(Retention, WholeSegmentsGoOnceAllTheirRecordsAreOld) {
  disk.make_topic("t");
  configure({{"retention.ms", "60000"}});
  for (int i = 0; i < 6; ++i) append();
  disk.clock.advance(std::chrono::seconds(50));
  for (int i = 0; i < 6; ++i) append();
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_EQ(disk.partition("t")->log_start_offset(), Offset{0});
  disk.clock.advance(std::chrono::seconds(20));
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  const Offset start = disk.partition("t")->log_start_offset();
  EXPECT_GT(start, Offset{0});
  EXPECT_LE(start, Offset{6}) << "a segment with a younger record stays";
  EXPECT_EQ(disk.partition("t")->high_watermark(), Offset{12});
  EXPECT_EQ(disk.partition("t")->read(Offset{0}, 100, true, scratch).error().code, Errc::kInvalidArgument);
  disk.crash();
  open();
  EXPECT_EQ(disk.partition("t")->log_start_offset(), start);
  EXPECT_THAT(*read_all(*disk.partition("t"), start), SizeIs(static_cast<size_t>(12 - start.value())));
}

TEST_F(Retention, SegmentsWithoutTimestampsGoByWhenTheyWereClosed) {
  disk.make_topic("t");
  configure({{"retention.ms", "60000"}, {"segment.ms", "1000"}});
  const auto append_unstamped = [&] {
    ASSERT_EQ(error_of(disk.append("t", {.values = {"x"}, .timestamp_ms = record::kNoTimestamp, .options = {}})), "");
    disk.clock.advance(std::chrono::seconds(2));
    ASSERT_EQ(error_of(disk.store->tidy()), "");
  };
  append_unstamped();
  append_unstamped();
  ASSERT_EQ(disk.partition("t")->segment_count(), 3u);
  disk.clock.advance(std::chrono::seconds(59));
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_EQ(disk.partition("t")->log_start_offset(), Offset{1});
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  disk.crash();
  open();
  disk.clock.advance(std::chrono::seconds(60));
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_EQ(disk.partition("t")->log_start_offset(), Offset{1}) << "it counts anew from a start on";
  disk.clock.advance(std::chrono::seconds(1));
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_EQ(disk.partition("t")->log_start_offset(), Offset{2});
}

TEST_F(Retention, WithEverythingOldTheLogIsEmptyAndGoesOn) {
  disk.make_topic("t");
  configure({{"retention.ms", "1000"}});
  for (int i = 0; i < 3; ++i) append();
  disk.clock.advance(std::chrono::seconds(2));
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_EQ(disk.partition("t")->log_start_offset(), Offset{3});
  EXPECT_THAT(*read_all(*disk.partition("t"), Offset{3}), IsEmpty());
  append(4);
  EXPECT_THAT(*read_all(*disk.partition("t"), Offset{3}), ElementsAre("xxxx@3"));
  disk.crash();
  open();
  EXPECT_THAT(*read_all(*disk.partition("t"), Offset{3}), ElementsAre("xxxx@3"));
}

TEST_F(Retention, BeyondItsSizeAPartitionLosesItsOldestSegments) {
  disk.make_topic("t");
  for (int i = 0; i < 20; ++i) append();
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_EQ(disk.partition("t")->log_start_offset(), Offset{0}) << "nothing bounds it";
  configure({{"retention.bytes", "8000"}});
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_GE(disk.partition("t")->size_bytes(), 8000u);
  EXPECT_LT(disk.partition("t")->size_bytes(), 8000u + 4096u);
  const auto statistics = disk.store->statistics();
  EXPECT_EQ(statistics.retention_runs, 2u);
  EXPECT_EQ(statistics.retention_failures, 0u);
  EXPECT_GT(statistics.removed_segments, 1u);
  EXPECT_NEAR(static_cast<double>(statistics.removed_bytes + disk.partition("t")->size_bytes()), 20 * 1070, 20 * 20);
  EXPECT_GT(disk.partition("t")->segment_count(), 1u);
}

TEST_F(Retention, WhatATransactionHasNotDecidedStays) {
  disk.make_topic("t");
  configure({{"retention.ms", "1000"}});
  disk.partition("t")->admit(ProducerId{7}, ProducerEpoch{0});
  ASSERT_EQ(error_of(disk.append("t", {.values = {"open"},
                                       .timestamp_ms = now_ms(),
                                       .options = {.producer_id = ProducerId{7},
                                                   .producer_epoch = ProducerEpoch{0},
                                                   .base_sequence = 0,
                                                   .transactional = true}})),
            "");
  disk.clock.advance(std::chrono::seconds(5));
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  EXPECT_EQ(disk.partition("t")->log_start_offset(), Offset{0});
}

TEST_F(Retention, ASegmentIsClosedWhenItsTimeHasCome) {
  disk.make_topic("t");
  configure({{"segment.ms", "60000"}});
  append(10);
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  append(10);
  disk.clock.advance(std::chrono::seconds(61));
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  append(10);
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  EXPECT_THAT(segment_files(), ElementsAre("00000000000000000000.log", "00000000000000000002.log"));
  EXPECT_THAT(*read_all(*disk.partition("t")), SizeIs(3));
}

TEST_F(Retention, AnAppendClosesASegmentWhoseTimeHasCome) {
  disk.make_topic("t");
  configure({{"segment.ms", "60000"}});
  append(10);
  disk.clock.advance(std::chrono::seconds(59));
  append(10);
  EXPECT_EQ(segments(), 1u);
  disk.clock.advance(std::chrono::seconds(1));
  append(10);
  EXPECT_EQ(segments(), 2u);
  append(10);
  EXPECT_EQ(segments(), 2u) << "the new one is young";
  disk.crash();
  open();
  EXPECT_THAT(*read_all(*disk.partition("t")), SizeIs(4));
}

TEST_F(Retention, ASegmentsRecordsLieNoFurtherApartThanItsTime) {
  disk.make_topic("t");
  configure({{"segment.ms", "60000"}});
  const int64_t first_ms = now_ms() - 10'000'000;
  append_stamped(first_ms);
  append_stamped(first_ms + 60'000);
  EXPECT_EQ(segments(), 1u);
  append_stamped(first_ms + 60'001);
  EXPECT_EQ(segments(), 2u);
  append_stamped(first_ms);
  EXPECT_EQ(segments(), 2u) << "a late one has no segment of its own";
}

TEST_F(Retention, AfterAStartASegmentIsAsOldAsItsFirstRecord) {
  disk.make_topic("t");
  configure({{"segment.ms", "60000"}});
  const int64_t first_ms = now_ms() - 30'000;
  append_stamped(first_ms);
  append_stamped(first_ms + 50'000);
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  disk.crash();
  open();
  append_stamped(first_ms + 60'000);
  EXPECT_EQ(segments(), 1u);
  append_stamped(first_ms + 60'001);
  EXPECT_EQ(segments(), 2u) << "by the records";
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  disk.crash();
  open();
  disk.clock.advance(std::chrono::seconds(100));
  append_stamped(first_ms + 60'001);
  EXPECT_EQ(segments(), 3u) << "by the clock";
}

TEST_F(Retention, AfterAStartASegmentWithoutTimestampsIsYoung) {
  disk.make_topic("t");
  configure({{"segment.ms", "60000"}});
  append_stamped(record::kNoTimestamp);
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  disk.crash();
  open();
  append_stamped(record::kNoTimestamp);
  EXPECT_EQ(segments(), 1u);
  disk.clock.advance(std::chrono::seconds(60));
  append_stamped(record::kNoTimestamp);
  EXPECT_EQ(segments(), 2u);
}

TEST_F(Retention, OfHistoryWrittenAtOnceWhatIsOldGoes) {
  disk.make_topic("t");
  configure({{"segment.ms", "10000"}, {"retention.ms", "60000"}});
  for (int64_t age_ms = 120'000; age_ms > 0; age_ms -= 1000) append_stamped(now_ms() - age_ms);
  ASSERT_EQ(error_of(disk.store->tidy()), "");
  const Offset start = disk.partition("t")->log_start_offset();
  EXPECT_LE(start, Offset{60});
  EXPECT_GE(start, Offset{49}) << "a segment's time late at most";
}

TEST_F(Retention, WithTooManyFilesToSyncASegmentOutlivesItsTime) {
  disk.options.open_files_max = 4;
  open();
  disk.make_topic("t");
  configure({{"segment.ms", "1"}});
  const auto append_many = [&] {
    for (int i = 0; i < 20; ++i) {
      append(10);
      disk.clock.advance(std::chrono::milliseconds(1));
    }
  };
  append_many();
  const size_t closed = segments();
  EXPECT_GT(closed, 4u);
  EXPECT_LT(closed, 8u);
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  append_many();
  EXPECT_GT(segments(), closed) << "what is synced may be closed";
  EXPECT_LT(segments(), closed + 8);
  EXPECT_THAT(*read_all(*disk.partition("t")), SizeIs(40));
}

TEST_F(Retention, OnAFullDiskASegmentOutlivesItsTime) {
  disk.make_topic("t");
  configure({{"segment.ms", "60000"}});
  append(10);
  disk.clock.advance(std::chrono::seconds(61));
  disk.leave_room(0);
  append(10);
  EXPECT_EQ(segments(), 1u);
  disk.give_room();
  append(10);
  EXPECT_EQ(segments(), 2u);
  EXPECT_THAT(*read_all(*disk.partition("t")), SizeIs(3));
}

}  // namespace
}  // namespace millrace::log
