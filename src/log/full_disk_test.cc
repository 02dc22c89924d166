#include <gtest/gtest.h>

#include <thread>

#include "log/internal/log_testing.h"
#include "log/internal/wal.h"

namespace millrace::log {
namespace {

using Strings = std::vector<std::string>;

class FullDiskTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    // Room for 64 syncs in a file, of which the last 16 are the reserve.
    options.wal_file_bytes = 256u << 10;
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
  }
  // Append until the disk is full; everything that was accepted becomes durable.
  void fill(const AppendOptions& append_options = {}) {
    for (int i = 0; i < 10'000; ++i) {
      const std::string value = "v" + std::to_string(expected_.size()) + std::string(400, '.');
      Bytes batch = make_batch({.values = {value}});
      const auto appended = partition("t")->append(batch, append_options);
      if (!appended) {
        EXPECT_EQ(appended.error().code, Errc::kOutOfSpace) << appended.error().message;
        return;
      }
      ASSERT_EQ(error_of(store->wait_durable(appended->position)), "");
      expected_.push_back(value + "@" + std::to_string(expected_.size()));
    }
    FAIL() << "the disk never filled up";
  }

  Strings expected_;
};

TEST_F(FullDiskTest, AppendsAreRefusedReadsGoOnAndRoomIsEnoughToGoOn) {
  leave_room(20'000);
  fill();
  ASSERT_GT(expected_.size(), 5U);
  EXPECT_EQ(read_all(*partition("t")).value(), expected_);
  Bytes batch = make_batch({.values = {"refused"}});
  EXPECT_EQ(partition("t")->append(batch).error().code, Errc::kOutOfSpace);
  EXPECT_EQ(partition("t")->log_end_offset(), Offset{static_cast<int64_t>(expected_.size())});

  give_room();
  // The first attempts may still find the log without its next file.
  Result<Appended> again = partition("t")->append(batch);
  while (!again) {
    ASSERT_EQ(again.error().code, Errc::kOutOfSpace);
    clock.advance(Wal::kFullDiskRetry);
    again = partition("t")->append(batch);
  }
  ASSERT_EQ(error_of(store->wait_durable(again->position)), "");
  expected_.push_back("refused@" + std::to_string(expected_.size()));
  EXPECT_EQ(read_all(*partition("t")).value(), expected_);
  crash();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), expected_);
}

TEST_F(FullDiskTest, RoomIsSeenBeforeSomebodyAppends) {
  options.single_threaded = true;
  ASSERT_EQ(error_of(open()), "");
  leave_room(20'000);
  fill();
  give_room();
  clock.advance(Wal::kFullDiskRetry);
  ASSERT_EQ(error_of(store->commit_group()), "");
  EXPECT_EQ(error_of(append("t", {.values = {"taken"}})), "");
}

TEST_F(FullDiskTest, RoomIsLookedForInTheBackground) {
  options.checkpoint_interval = std::chrono::hours(1'000'000);  // which would leave a file to use again
  ASSERT_EQ(error_of(open()), "");
  const auto has_next_file = [&] {
    const auto entries = files.list("/data/wal").value();
    for (const auto& entry : entries) {
      if (!entry.name.starts_with("spare-")) continue;
      const auto spare = files.open("/data/wal/" + entry.name, env::OpenMode::kRead);
      if (spare && (*spare)->size() == options.wal_file_bytes) return true;
    }
    return false;
  };
  leave_room(20'000);
  fill();
  ASSERT_FALSE(has_next_file());
  give_room();
  while (!has_next_file()) {
    clock.advance(Wal::kFullDiskRetry);
    std::this_thread::yield();
  }
}

TEST_F(FullDiskTest, InternalTopicsHaveAReserve) {
  make_topic("internal");
  leave_room(20'000);
  fill();
  for (int i = 0; i < 5; ++i) {
    Bytes batch = make_batch({.values = {"offset"}});
    const auto appended = partition("internal")->append(batch, {.from_reserve = true});
    ASSERT_EQ(error_of(appended), "");
    ASSERT_EQ(error_of(store->wait_durable(appended->position)), "");
  }
  EXPECT_EQ(read_all(*partition("internal"))->size(), 5U);
}

TEST_F(FullDiskTest, DeletingATopicWorksAndFreesItsSpace) {
  leave_room(20'000);
  fill();
  const uint64_t before = files.free_bytes("/data").value();
  ASSERT_EQ(error_of(store->delete_topic("t")), "");
  while (files.free_bytes("/data").value() <= before) std::this_thread::yield();  // in the background
}

TEST_F(FullDiskTest, AStartOnAFullDiskServesWhatIsThere) {
  leave_room(20'000);
  fill();
  crash(env::FaultFileSystem::Unsynced::kKept);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), expected_);
}

TEST_F(FullDiskTest, AWriteThatFailsHalfwayIsNotSeen) {
  options.tail_bytes = 0;
  ASSERT_EQ(error_of(open()), "");
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  files.fail_write(1, env::FaultFileSystem::Fault::kOutOfSpace);
  Bytes batch = make_batch({.values = {"b"}});
  EXPECT_EQ(partition("t")->append(batch).error().code, Errc::kOutOfSpace);
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"a@0"});
  EXPECT_EQ(append("t", {.values = {"c"}})->base_offset, Offset{1});
  EXPECT_EQ(read_all(*partition("t")).value(), (Strings{"a@0", "c@1"}));
}

// What a refused append left behind the end is no part of the segment when that is closed.
TEST_F(FullDiskTest, AWriteThatFailsHalfwayDoesNoHarmToASegmentThatIsThenClosed) {
  options.tail_bytes = 0;
  ASSERT_EQ(error_of(open()), "");
  store->set_policies([](const TopicInfo&) { return TopicPolicy{.segment_ms = 60'000}; });
  const Strings expected{"a@0", "c@1"};
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  files.fail_write(1, env::FaultFileSystem::Fault::kOutOfSpace);
  Bytes batch = make_batch({.values = {std::string(1000, 'b')}});
  ASSERT_EQ(partition("t")->append(batch).error().code, Errc::kOutOfSpace);
  clock.advance(std::chrono::minutes(1));
  ASSERT_EQ(error_of(store->tidy()), "");
  ASSERT_EQ(partition("t")->segment_count(), 2U);
  const std::string closed = "/data/topics/t-0/00000000000000000000.log";
  EXPECT_EQ(records_in(files.content(closed)).value(), Strings{"a@0"});
  ASSERT_TRUE(append("t", {.values = {"c"}}));
  ASSERT_EQ(error_of(store->close()), "");
  ASSERT_EQ(error_of(open()), "");
  EXPECT_FALSE(partition("t")->damage().has_value());
  EXPECT_EQ(read_all(*partition("t")).value(), expected);

  // A folder from before they were cut off.
  ASSERT_EQ(error_of(store->close()), "");
  Bytes content = files.content(closed);
  content.insert(content.end(), batch.begin(), batch.begin() + 500);
  files.set_content(closed, content);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_FALSE(partition("t")->damage().has_value());
  EXPECT_EQ(read_all(*partition("t")).value(), expected);
  ASSERT_EQ(error_of(store->checkpoint()), "");
  EXPECT_EQ(records_in(files.content(closed)).value(), Strings{"a@0"});
}

// On file systems that cannot reserve space the log's own write may find none, when the append is already accepted.
TEST_F(FullDiskTest, AWriteOfTheLogThatFindsNoRoomIsTriedAgain) {
  files.fail_write(1, env::FaultFileSystem::Fault::kOutOfSpace);
  ASSERT_EQ(error_of(append("t", {.values = {"a"}})), "");
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"a@0"});
  crash();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"a@0"});
}

TEST_F(FullDiskTest, AWriteThatFindsNoRoomDoesNotKeepTheStoreFromClosing) {
  Bytes accepted = make_batch({.values = {std::string(100'000, 'a')}});  // more than a file of the log is made for
  options.wal_file_bytes = 32u << 10;
  options.tail_bytes = 1u << 20;
  ASSERT_EQ(error_of(open()), "");
  leave_room(0);
  const auto appended = partition("t")->append(accepted);
  ASSERT_EQ(error_of(appended), "");
  EXPECT_EQ(store->close().error().code, Errc::kUnavailable);
  give_room();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{});
}

TEST_F(FullDiskTest, ACheckpointThatFindsNoRoomChangesNothing) {
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  leave_room(0);
  EXPECT_EQ(store->checkpoint().error().code, Errc::kOutOfSpace);
  give_room();
  ASSERT_TRUE(append("t", {.values = {"b"}}));
  EXPECT_EQ(error_of(store->checkpoint()), "");
  crash();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), (Strings{"a@0", "b@1"}));
}

}  // namespace
}  // namespace millrace::log
