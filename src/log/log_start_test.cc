#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "log/internal/log_testing.h"
#include "record/marker.h"

namespace millrace::log {
namespace {

using Strings = std::vector<std::string>;
using Unsynced = env::FaultFileSystem::Unsynced;

// A partition of many segments: records stamped 1000 + their offset, ten to a segment or so.
class LogStartTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    options.segment_bytes = 2000;
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
    fill(60);
  }
  void fill(int records) {
    for (int i = 0; i < records; ++i) {
      const int64_t offset = partition("t")->log_end_offset().value();
      const std::string value = std::to_string(offset) + std::string(100, '.');
      ASSERT_TRUE(append("t", {.values = {value}, .timestamp_ms = 1000 + offset}));
    }
  }
  void begin_at(int64_t offset) {
    const auto position = partition("t")->advance_log_start(Offset{offset});
    ASSERT_TRUE(position) << position.error().message;
    ASSERT_TRUE(store->wait_durable(*position));
  }
  // The log has exactly the records [from, end).
  void expect_range(int64_t from, int64_t end) {
    EXPECT_EQ(partition("t")->log_start_offset(), Offset{from});
    EXPECT_EQ(partition("t")->high_watermark(), Offset{end});
    const auto records = read_all(*partition("t"), Offset{from}).value();
    ASSERT_EQ(records.size(), static_cast<size_t>(end - from));
    for (const std::string& record : records) {
      EXPECT_TRUE(record.starts_with(std::to_string(from) + ".") && record.ends_with("@" + std::to_string(from)));
      ++from;
    }
  }
  std::set<std::string> segment_files() {
    std::set<std::string> names;
    const auto entries = files.list("/data/topics/t-0").value();
    for (const auto& entry : entries) {
      if (entry.name.starts_with("0000")) names.insert(entry.name);
    }
    return names;
  }
  // The files of segments that end at or before `offset` go in the background: waits for it.
  void wait_until_first_segment_is(const std::string& least) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    // One look at a time: between two the last file may have gone.
    for (auto names = segment_files(); !names.empty() && *names.begin() < least; names = segment_files()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << *names.begin();
      std::this_thread::yield();
    }
  }
};

TEST_F(LogStartTest, WhatIsBeforeIsOutOfRangeAtOnce) {
  ASSERT_TRUE(partition("t")->advance_log_start(Offset{25}));
  Bytes out;
  EXPECT_EQ(partition("t")->read(Offset{24}, 1000, true, out).error().code, Errc::kInvalidArgument);
  expect_range(25, 60);
}

TEST_F(LogStartTest, LookupsByTimeFollow) {
  begin_at(25);
  EXPECT_EQ(partition("t")->offset_for_time(0).value()->offset, Offset{25});
  EXPECT_EQ(partition("t")->offset_for_time(1040).value()->offset, Offset{40});
  EXPECT_EQ(partition("t")->offset_of_max_timestamp().value()->offset, Offset{59});
  begin_at(60);
  EXPECT_FALSE(partition("t")->offset_for_time(0).value());
  EXPECT_FALSE(partition("t")->offset_of_max_timestamp().value());
}

TEST_F(LogStartTest, LookupsInTheBatchThatHoldsTheStartFindWhatIsLeft) {
  make_topic("u");
  ASSERT_TRUE(append("u", {.values = {"a", "b", "c"}, .timestamp_ms = 1000}));
  ASSERT_TRUE(append("u", {.values = {"d"}, .timestamp_ms = 500}));
  ASSERT_TRUE(partition("u")->advance_log_start(Offset{2}));
  EXPECT_EQ(partition("u")->offset_for_time(0).value()->offset, Offset{2});
  EXPECT_EQ(partition("u")->offset_of_max_timestamp().value()->offset, Offset{2});
  ASSERT_TRUE(partition("u")->advance_log_start(Offset{3}));
  EXPECT_EQ(partition("u")->offset_for_time(0).value()->offset, Offset{3});
  EXPECT_EQ(partition("u")->offset_of_max_timestamp().value()->timestamp_ms, 500);
}

TEST_F(LogStartTest, NeverMovesBackNorBeyondWhatIsDurable) {
  begin_at(25);
  begin_at(10);
  EXPECT_EQ(partition("t")->log_start_offset(), Offset{25});
  EXPECT_EQ(partition("t")->advance_log_start(Offset{61}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(partition("t")->advance_log_start(Offset{-1}).error().code, Errc::kInvalidArgument);
  expect_range(25, 60);
}

TEST_F(LogStartTest, WholeSegmentsBeforeItAreRemovedInTheBackground) {
  ASSERT_TRUE(store->checkpoint());
  const auto before = segment_files();
  ASSERT_TRUE(before.contains("00000000000000000000.timeindex"));
  const uint64_t bytes = partition("t")->size_bytes();
  begin_at(30);
  EXPECT_LT(partition("t")->size_bytes(), bytes);
  // Some segment begins at or before 30, the next one behind it.
  std::string kept;
  for (const std::string& name : before) {
    if (name.ends_with(".log") && name <= "00000000000000000030.log") kept = name;
  }
  wait_until_first_segment_is(kept.substr(0, 20));
  for (const std::string& name : before) EXPECT_EQ(segment_files().contains(name), name >= kept.substr(0, 20)) << name;
  expect_range(30, 60);
}

TEST_F(LogStartTest, WithEverythingGoneNoRecordStaysOnDisk) {
  ASSERT_TRUE(store->checkpoint());
  begin_at(60);
  EXPECT_EQ(partition("t")->size_bytes(), 0U);
  wait_until_first_segment_is("00000000000000000060");
  fill(3);
  expect_range(60, 63);
  crash();
  ASSERT_EQ(error_of(open()), "");
  expect_range(60, 63);
}

TEST_F(LogStartTest, SurvivesCrashesAndStopsWhereverTheLastCheckpointWas) {
  for (const bool checkpoint_before : {false, true}) {
    for (const bool checkpoint_after : {false, true}) {
      for (const int64_t step : {5, 23, 60}) {
        SCOPED_TRACE(testing::Message() << checkpoint_before << checkpoint_after << " " << step);
        if (checkpoint_before) ASSERT_TRUE(store->checkpoint());
        fill(40);
        const int64_t start = partition("t")->log_start_offset().value() + step;
        begin_at(start);
        if (checkpoint_after) ASSERT_TRUE(store->checkpoint());
        fill(2);
        const int64_t end = partition("t")->high_watermark().value();
        crash(step == 23 ? Unsynced::kRandom : Unsynced::kDropped);
        ASSERT_EQ(error_of(open()), "");
        expect_range(start, end);
        ASSERT_EQ(error_of(store->close()), "");
        ASSERT_EQ(error_of(open()), "");
        expect_range(start, end);
      }
    }
  }
}

TEST_F(LogStartTest, WorksOnAFullDisk) {
  files.set_capacity(1);
  Result<Appended> appended;
  do {
    appended = append("t", {.values = {std::string(3000, 'x')}});
  } while (appended);
  ASSERT_EQ(appended.error().code, Errc::kOutOfSpace);
  begin_at(50);
  EXPECT_EQ(partition("t")->log_start_offset(), Offset{50});
}

TEST_F(LogStartTest, EpochsAndUndecidedTransactionsBeginNoEarlier) {
  crash();
  ASSERT_EQ(error_of(open()), "");
  fill(10);
  const LeaderEpoch epoch = partition("t")->leader_epoch();
  begin_at(65);
  EXPECT_EQ(partition("t")->epoch_end_offset(LeaderEpoch{0}).end_offset, Offset{65});
  EXPECT_EQ(partition("t")->epoch_end_offset(epoch).end_offset, Offset{70});

  partition("t")->admit(ProducerId{7}, ProducerEpoch{0});
  const record::BatchOptions transactional{
      .producer_id = ProducerId{7}, .producer_epoch = ProducerEpoch{0}, .base_sequence = 0, .transactional = true};
  ASSERT_TRUE(append("t", {.values = {"a"}, .options = transactional}));
  fill(4);
  EXPECT_EQ(partition("t")->last_stable_offset(), Offset{70});
  begin_at(72);
  EXPECT_EQ(partition("t")->last_stable_offset(), Offset{72});
  // A retry of what is gone is a retry still.
  EXPECT_EQ(append("t", {.values = {"a"}, .options = transactional})->outcome, AppendOutcome::kDuplicate);

  Bytes marker = record::marker_batch({.producer_id = ProducerId{7},
                                       .producer_epoch = ProducerEpoch{0},
                                       .type = record::MarkerType::kAbort,
                                       .timestamp_ms = 1000});
  const auto marked = partition("t")->append(marker);
  ASSERT_TRUE(marked && store->wait_durable(marked->position));
  EXPECT_EQ(partition("t")->aborted_transactions(Offset{72}, Offset{100}).size(), 1U);
  begin_at(76);
  EXPECT_TRUE(partition("t")->aborted_transactions(Offset{72}, Offset{100}).empty());
  EXPECT_EQ(partition("t")->last_stable_offset(), partition("t")->high_watermark());
}

TEST_F(LogStartTest, ADeletedTopicRefuses) {
  const auto old = partition("t");
  ASSERT_TRUE(store->delete_topic("t"));
  EXPECT_EQ(old->advance_log_start(Offset{1}).error().code, Errc::kNotFound);
}

class AddPartitionsTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override { ASSERT_EQ(error_of(open()), ""); }
};

TEST_F(AddPartitionsTest, TheNewOnesAreThereAndTheOldOnesAreTheSame) {
  const auto first = make_topic("t");
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  const auto before = store->find_topic("t");
  const auto grown = store->add_partitions("t", 3);
  ASSERT_TRUE(grown);
  EXPECT_EQ((*grown)->info.partitions, 3);
  EXPECT_EQ((*grown)->partitions.size(), 3U);
  EXPECT_EQ((*grown)->partitions[0], first);
  EXPECT_EQ(before->partitions.size(), 1U);
  EXPECT_EQ(store->find_topic("t"), *grown);
  EXPECT_EQ(store->find_topic(first->topic_id()), *grown);
  ASSERT_TRUE(append("t", {.values = {"b"}}, 2));
  EXPECT_EQ(read_all(*partition("t", 2)).value(), Strings{"b@0"});
}

TEST_F(AddPartitionsTest, SurvivesCrashesAndStopsWhereverTheLastCheckpointWas) {
  for (const bool checkpoint_before : {false, true}) {
    for (const bool checkpoint_after : {false, true}) {
      const std::string name = std::to_string(checkpoint_before) + std::to_string(checkpoint_after);
      SCOPED_TRACE(name);
      make_topic(name);
      ASSERT_TRUE(append(name, {.values = {"old"}}));
      if (checkpoint_before) ASSERT_TRUE(store->checkpoint());
      ASSERT_TRUE(store->add_partitions(name, 2));
      ASSERT_TRUE(append(name, {.values = {"new"}}, 1));
      if (checkpoint_after) ASSERT_TRUE(store->checkpoint());
      crash();
      ASSERT_EQ(error_of(open()), "");
      ASSERT_EQ(store->find_topic(name)->partitions.size(), 2U);
      EXPECT_EQ(read_all(*partition(name, 0)).value(), Strings{"old@0"});
      EXPECT_EQ(read_all(*partition(name, 1)).value(), Strings{"new@0"});
      ASSERT_EQ(error_of(store->close()), "");
      ASSERT_EQ(error_of(open()), "");
      EXPECT_EQ(read_all(*partition(name, 1)).value(), Strings{"new@0"});
    }
  }
}

TEST_F(AddPartitionsTest, ADeletedTopicTakesThemAlong) {
  make_topic("t");
  ASSERT_TRUE(store->add_partitions("t", 2));
  ASSERT_TRUE(append("t", {.values = {std::string(2000, 'x')}}, 1));
  ASSERT_TRUE(store->delete_topic("t"));
  crash(Unsynced::kKept);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(store->find_topic("t"), nullptr);
  EXPECT_FALSE(files.exists("/data/topics/t-1").value());
}

TEST_F(AddPartitionsTest, RefusesWhatCannotBe) {
  make_topic("t", 2);
  EXPECT_EQ(store->add_partitions("u", 2).error().code, Errc::kNotFound);
  EXPECT_EQ(store->add_partitions("t", 2).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(store->add_partitions("t", 1).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(store->add_partitions("t", kPartitionsMax + 1).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(store->find_topic("t")->partitions.size(), 2U);
}

}  // namespace
}  // namespace millrace::log
