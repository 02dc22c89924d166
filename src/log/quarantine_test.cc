#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "log/internal/log_testing.h"
#include "record/marker.h"

namespace millrace::log {
namespace {

using Strings = std::vector<std::string>;

constexpr const char* kFolder = "/data/topics/t-0/";

// A partition of several segments, and one beside it.
class QuarantineTest : public testing::Test, protected TestStore {
 protected:
  static constexpr int kRecords = 100;

  void SetUp() override {
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
    make_topic("other");
    for (int i = 0; i < kRecords; ++i) ASSERT_NO_FATAL_FAILURE(append_one());
    ASSERT_TRUE(append("other", {.values = {"whole"}}));
  }
  void append_one() {
    const size_t i = expected_.size();
    const std::string value = std::to_string(i) + std::string(100, '.');
    ASSERT_EQ(error_of(append("t", {.values = {value}, .timestamp_ms = 1000 + static_cast<int64_t>(i)})), "");
    expected_.push_back(value + "@" + std::to_string(i));
  }
  std::vector<std::string> logs() {
    std::vector<std::string> found;
    const auto entries = files.list(kFolder).value();
    for (const auto& entry : entries) {
      if (entry.name.ends_with(".log")) found.push_back(kFolder + entry.name);
    }
    std::ranges::sort(found);
    return found;
  }
  static int64_t base_of(const std::string& path) { return std::stoll(path.substr(path.rfind('/') + 1)); }

  std::map<std::string, Bytes> folder() {
    std::map<std::string, Bytes> all;
    const auto entries = files.list(kFolder).value();
    for (const auto& entry : entries) all[entry.name] = files.content(kFolder + entry.name);
    return all;
  }
  // Put back what was there, as one who restores from a copy: nothing that came since is taken away.
  void repair(const std::map<std::string, Bytes>& copy) {
    ASSERT_TRUE(files.make_directories(kFolder));
    for (const auto& [name, content] : copy) {
      ASSERT_TRUE(files.open(kFolder + name, env::OpenMode::kCreate));
      files.set_content(kFolder + name, content);
    }
  }

  // It says so with the file's name, takes nothing, and the partition beside it goes on.
  void expect_quarantined(const std::string& named) {
    ASSERT_EQ(error_of(open()), "");
    const auto damage = partition("t")->damage();
    ASSERT_TRUE(damage) << named;
    EXPECT_EQ(damage->code, Errc::kCorruption);
    EXPECT_NE(damage->message.find(named), std::string::npos) << damage->message;
    EXPECT_NE(damage->hint, "");
    Bytes batch = make_batch({.values = {"refused"}});
    EXPECT_EQ(partition("t")->append(batch).error().code, Errc::kUnavailable);
    EXPECT_FALSE(partition("other")->damage());
    ASSERT_TRUE(append("other", {.values = {"goes on"}}));
    EXPECT_EQ(read_all(*partition("other"))->front(), "whole@0");
  }
  void expect_all() {
    EXPECT_FALSE(partition("t")->damage());
    EXPECT_EQ(read_all(*partition("t")).value(), expected_);
    for (size_t i = 0; i < expected_.size(); i += 9) {
      const auto found = partition("t")->offset_for_time(1000 + static_cast<int64_t>(i)).value();
      EXPECT_EQ(found->offset, Offset{static_cast<int64_t>(i)});
    }
    EXPECT_EQ(partition("t")->offset_of_max_timestamp().value()->offset,
              Offset{static_cast<int64_t>(expected_.size()) - 1});
  }
  Errc read_error(Offset from, Isolation isolation = Isolation::kReadUncommitted) {
    Bytes bytes;
    const auto read = partition("t")->read(from, 1, true, bytes, isolation);
    return read ? Errc::kInternal : read.error().code;
  }

  Strings expected_;
};

// Every segment is cut, emptied, taken away or scrambled in turn; each time the file is put back and all is well again.
TEST_F(QuarantineTest, AnySegmentThatIsCutOrMissingQuarantinesItsPartitionUntilItIsRestored) {
  ASSERT_EQ(error_of(store->close()), "");
  const std::vector<std::string> paths = logs();
  ASSERT_GT(paths.size(), 3U);
  for (const std::string& path : paths) {
    for (const std::string how : {"cut by a byte", "cut by half", "empty", "missing"}) {
      SCOPED_TRACE(path + " is " + how);
      store.reset();
      const auto copy = folder();
      Bytes content = files.content(path);
      if (how == "missing") {
        ASSERT_TRUE(files.remove(path));
      } else {
        content.resize(how == "empty" ? 0 : how == "cut by half" ? content.size() / 2 : content.size() - 1);
        files.set_content(path, content);
      }
      // Of the first one nothing is left that could say its name.
      const bool unnamed = how == "missing" && path == paths.front();
      ASSERT_NO_FATAL_FAILURE(expect_quarantined(unnamed ? "/data/topics/t-0 holds offset 0" : path));
      const int64_t end = path == paths.back() ? kRecords : base_of(*std::ranges::upper_bound(paths, path));
      EXPECT_EQ(read_error(Offset{end - 1}), Errc::kCorruption);
      EXPECT_EQ(partition("t")->high_watermark(), Offset{kRecords});
      // Before it everything can be read.
      Bytes bytes;
      if (base_of(path) > 0) EXPECT_TRUE(partition("t")->read(Offset{0}, 1u << 20, true, bytes));
      EXPECT_FALSE(partition("t")->offset_of_max_timestamp());
      store.reset();
      ASSERT_NO_FATAL_FAILURE(repair(copy));
      ASSERT_EQ(error_of(open()), "");
      ASSERT_NO_FATAL_FAILURE(expect_all());
    }
  }
  append_one();
  expect_all();
}

TEST_F(QuarantineTest, NoFileThatWasThereIsChanged) {
  ASSERT_EQ(error_of(store->close()), "");
  files.set_content(logs()[1], {});
  auto before = folder();
  ASSERT_NO_FATAL_FAILURE(expect_quarantined(logs()[1]));
  ASSERT_EQ(error_of(store->checkpoint()), "");
  ASSERT_EQ(error_of(store->tidy()), "");
  ASSERT_EQ(error_of(store->close()), "");
  EXPECT_EQ(folder(), before);
}

TEST_F(QuarantineTest, AFlippedBitIsFoundWhereTheIndexIsBuiltAnew) {
  ASSERT_EQ(error_of(store->close()), "");
  const std::string path = logs()[1];
  Bytes bad = files.content(path);
  const size_t at = bad.size() / 2;
  bad[at] ^= std::byte{1};
  files.set_content(path, bad);
  ASSERT_TRUE(files.remove(path.substr(0, path.size() - 4) + ".index"));
  ASSERT_NO_FATAL_FAILURE(expect_quarantined(path + " is damaged at byte "));
}

TEST_F(QuarantineTest, AMissingFolderQuarantinesItsPartition) {
  ASSERT_EQ(error_of(store->close()), "");
  const auto copy = folder();
  ASSERT_TRUE(files.remove_all("/data/topics/t-0"));
  ASSERT_NO_FATAL_FAILURE(expect_quarantined("/data/topics/t-0"));
  ASSERT_EQ(error_of(store->checkpoint()), "");
  ASSERT_EQ(error_of(store->close()), "");
  ASSERT_NO_FATAL_FAILURE(repair(copy));
  ASSERT_EQ(error_of(open()), "");
  expect_all();
}

// What only the write-ahead log has when the damage is found must not go with the next checkpoint.
TEST_F(QuarantineTest, RecordsBehindTheLastCheckpointOutliveTheQuarantine) {
  ASSERT_EQ(error_of(store->checkpoint()), "");
  const std::string active = logs().back();
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(append_one());
  for (const bool whole_folder : {false, true}) {
    SCOPED_TRACE(whole_folder ? "the folder" : active);
    crash(env::FaultFileSystem::Unsynced::kKept);
    const auto copy = folder();
    if (whole_folder) {
      ASSERT_TRUE(files.remove_all("/data/topics/t-0"));
    } else {
      ASSERT_TRUE(files.remove(active));
    }
    ASSERT_NO_FATAL_FAILURE(expect_quarantined(whole_folder ? "/data/topics/t-0" : active));
    const Offset end{static_cast<int64_t>(expected_.size())};
    EXPECT_EQ(partition("t")->high_watermark(), end);
    EXPECT_EQ(read_all(*partition("t"), end + -1).value(), Strings{expected_.back()});
    ASSERT_EQ(error_of(store->checkpoint()), "");
    ASSERT_EQ(error_of(store->close()), "");
    // Once more, to be sure that it stays as it is.
    ASSERT_EQ(error_of(open()), "");
    EXPECT_TRUE(partition("t")->damage());
    ASSERT_EQ(error_of(store->close()), "");
    ASSERT_NO_FATAL_FAILURE(repair(copy));
    ASSERT_EQ(error_of(open()), "");
    ASSERT_NO_FATAL_FAILURE(expect_all());
    ASSERT_NO_FATAL_FAILURE(append_one());
  }
  expect_all();
}

TEST_F(QuarantineTest, ADeletedTopicIsGoneAndCanBeMadeAgain) {
  ASSERT_EQ(error_of(store->close()), "");
  ASSERT_TRUE(files.remove(logs()[1]));
  ASSERT_EQ(error_of(open()), "");
  ASSERT_TRUE(partition("t")->damage());
  ASSERT_EQ(error_of(store->delete_topic("t")), "");
  make_topic("t");
  ASSERT_TRUE(append("t", {.values = {"new"}}));
  ASSERT_EQ(error_of(open()), "");
  EXPECT_FALSE(partition("t")->damage());
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"new@0"});
}

TEST_F(QuarantineTest, DeletingTheRecordsBeforeItsEndLiftsIt) {
  ASSERT_EQ(error_of(store->close()), "");
  const std::vector<std::string> paths = logs();
  ASSERT_TRUE(files.remove(paths[1]));
  ASSERT_EQ(error_of(open()), "");
  const Offset end{base_of(paths[2])};
  ASSERT_TRUE(partition("t")->advance_log_start(end + -1));
  EXPECT_TRUE(partition("t")->damage());
  ASSERT_TRUE(partition("t")->advance_log_start(end));
  EXPECT_FALSE(partition("t")->damage());
  append_one();
  const Strings left(expected_.begin() + end.value(), expected_.end());
  EXPECT_EQ(read_all(*partition("t"), end).value(), left);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_FALSE(partition("t")->damage());
  EXPECT_EQ(read_all(*partition("t"), end).value(), left);
}

TEST_F(QuarantineTest, DamageThatAReaderMeetsQuarantinesToo) {
  ASSERT_EQ(error_of(store->checkpoint()), "");
  const std::string path = logs()[1];
  files.set_content(path, Bytes(files.content(path).size(), std::byte{0}));
  EXPECT_FALSE(partition("t")->damage());
  EXPECT_EQ(read_error(Offset{base_of(path)}), Errc::kCorruption);
  const auto damage = partition("t")->damage();
  ASSERT_TRUE(damage);
  EXPECT_NE(damage->message.find(path + " is damaged at byte 0"), std::string::npos) << damage->message;
  Bytes batch = make_batch({.values = {"refused"}});
  EXPECT_EQ(partition("t")->append(batch).error().code, Errc::kUnavailable);
  EXPECT_TRUE(append("other", {.values = {"goes on"}}));
}

TEST_F(QuarantineTest, WhatTheCoordinatorsWriteIsStillTaken) {
  ASSERT_EQ(error_of(store->close()), "");
  ASSERT_TRUE(files.remove(logs()[1]));
  ASSERT_EQ(error_of(open()), "");
  Bytes batch = make_batch({.values = {"marker"}});
  const auto appended = partition("t")->append(batch, {.from_reserve = true});
  ASSERT_EQ(error_of(appended), "");
  ASSERT_EQ(error_of(store->wait_durable(appended->position)), "");
  EXPECT_EQ(read_all(*partition("t"), Offset{kRecords}).value(), Strings{"marker@" + std::to_string(kRecords)});
}

TEST_F(QuarantineTest, NobodyTakesAbortedRecordsForCommittedOnes) {
  const ProducerId producer{7};
  partition("t")->admit(producer, ProducerEpoch{0});
  const auto transactional = [&](const std::string& value) {
    return append(
        "t",
        {.values = {value},
         .options = {
             .producer_id = producer, .producer_epoch = ProducerEpoch{0}, .base_sequence = 0, .transactional = true}});
  };
  ASSERT_EQ(error_of(transactional("aborted")), "");
  ASSERT_EQ(error_of(store->checkpoint()), "");
  // The marker comes into a segment of its own, which is lost with its transaction index.
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(append("t", {.values = {std::string(100, 'x')}}));
  Bytes marker = record::marker_batch({.producer_id = producer,
                                       .producer_epoch = ProducerEpoch{0},
                                       .type = record::MarkerType::kAbort,
                                       .timestamp_ms = 5000});
  const auto ended = partition("t")->append(marker);
  ASSERT_EQ(error_of(ended), "");
  ASSERT_EQ(error_of(store->wait_durable(ended->position)), "");
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(append("t", {.values = {std::string(100, 'x')}}));
  ASSERT_EQ(error_of(store->close()), "");
  for (const std::string& path : logs()) {
    if (base_of(path) <= kRecords) continue;
    static_cast<void>(files.remove(path));
    static_cast<void>(files.remove(path.substr(0, path.size() - 4) + ".txnindex"));
    break;
  }
  for (const std::string& path : logs()) {
    if (base_of(path) > kRecords) static_cast<void>(files.remove(path.substr(0, path.size() - 4) + ".txnindex"));
  }
  ASSERT_EQ(error_of(open()), "");
  ASSERT_TRUE(partition("t")->damage());
  EXPECT_EQ(read_error(Offset{kRecords}), Errc::kInternal);  // it was read
  EXPECT_EQ(read_error(Offset{kRecords}, Isolation::kReadCommitted), Errc::kCorruption);
  EXPECT_EQ(read_error(Offset{0}, Isolation::kReadCommitted), Errc::kInternal);
}

TEST_F(QuarantineTest, TheWriteAheadLogIsNoPartition) {
  crash(env::FaultFileSystem::Unsynced::kKept);
  const auto entries = files.list("/data/wal").value();
  for (const auto& entry : entries) {
    if (entry.name.ends_with(".wal")) ASSERT_TRUE(files.remove("/data/wal/" + entry.name));
  }
  const auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kCorruption);
  EXPECT_NE(opened.error().hint, "");
}

}  // namespace
}  // namespace millrace::log
