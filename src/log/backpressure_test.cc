#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "log/internal/log_testing.h"

// What appends do while the disk is slower than those who append.
namespace millrace::log {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class Backpressure : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    options.wal_buffer_bytes = kBufferBytes;
    ASSERT_EQ(error_of(open()), "");
    make_topic("t", 2);
  }
  void TearDown() override {
    files.release_syncs();
    static_cast<void>(store->close());
    {
      MutexLock lock(mutex_);
      served_.clear();
    }
    store.reset();
  }

  Result<Appended> try_append(AppendOptions append_options = {}, size_t number = 0) {
    append_options.when_full = WhenFull::kRefuse;
    Bytes batch = batch_;
    return partition("t", number)->append(batch, append_options);
  }
  AppendOutcome outcome(AppendOptions append_options = {}, size_t number = 0) {
    const auto appended = try_append(append_options, number);
    EXPECT_EQ(error_of(appended), "");
    return appended ? appended->outcome : AppendOutcome::kInvalidTxnState;
  }
  // A sync that does not end, and behind it a buffer that takes no more.
  void fill() {
    files.hold_syncs();
    ASSERT_EQ(outcome(), AppendOutcome::kAppended);
    files.await_held_sync();
    int appended = 0;
    while (outcome() == AppendOutcome::kAppended) ++appended;
    ASSERT_EQ(appended, static_cast<int>(kBufferBytes / batch_.size()));
  }
  // Stand in line; when the turn has come, `name` is in served_.
  void line_up(const std::string& name) {
    store->when_room(batch_.size(), [this, name](Room room) {
      MutexLock lock(mutex_);
      served_.emplace_back(name, std::move(room));
      changed_.notify_all();
    });
  }
  std::vector<std::string> served() {
    MutexLock lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, room] : served_) names.push_back(room.is_empty() ? name + " without room" : name);
    return names;
  }
  // What the first `count` in line are given.
  std::vector<Room> take_rooms(size_t count) {
    std::vector<Room> rooms;
    MutexLock lock(mutex_);
    while (served_.size() < count) changed_.wait(mutex_);
    for (size_t i = 0; i < count; ++i) rooms.push_back(std::move(served_[i].second));
    served_.erase(served_.begin(), served_.begin() + static_cast<ptrdiff_t>(count));
    return rooms;
  }

  static constexpr uint64_t kBufferBytes = 8 << 10;
  const Bytes batch_ = make_batch({.values = {std::string(900, 'v')}});
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::pair<std::string, Room>> served_ GUARDED_BY(mutex_);
};

TEST_F(Backpressure, AFullBufferRefusesAtOnceAndChangesNothing) {
  fill();
  const Offset end = partition("t")->log_end_offset();
  EXPECT_EQ(outcome(), AppendOutcome::kNoRoom);
  EXPECT_EQ(outcome({}, 1), AppendOutcome::kNoRoom);
  EXPECT_EQ(partition("t")->log_end_offset(), end);
}

TEST_F(Backpressure, ThoseInLineAreServedInTheirOrder) {
  fill();
  for (const char* name : {"first", "second", "third"}) line_up(name);
  EXPECT_THAT(served(), IsEmpty());
  files.release_syncs();
  {
    MutexLock lock(mutex_);
    while (served_.size() < 3) changed_.wait(mutex_);
  }
  EXPECT_THAT(served(), ElementsAre("first", "second", "third"));
  auto rooms = take_rooms(3);
  EXPECT_EQ(outcome({.room = &rooms[0]}), AppendOutcome::kAppended);
  EXPECT_TRUE(rooms[0].is_empty());
}

TEST_F(Backpressure, ThoseOfTheReserveAreServedFirstAndAllTheirItemsFit) {
  fill();
  while (outcome({.from_reserve = true}) == AppendOutcome::kAppended) {
  }
  line_up("first");
  std::vector<Bytes> batches(2, batch_);
  std::vector<Store::Item> items;
  for (size_t i = 0; i < batches.size(); ++i)
    items.push_back({.partition = partition("t", i),
                     .batches = batches[i],
                     .options = {.from_reserve = true, .when_full = WhenFull::kRefuse}});
  ASSERT_EQ(store->append_all(items).at(0).value().outcome, AppendOutcome::kNoRoom);
  store->when_room(items, [this](Room room) {
    MutexLock lock(mutex_);
    served_.emplace_back("reserve", std::move(room));
    changed_.notify_all();
  });
  files.release_syncs();
  {
    MutexLock lock(mutex_);
    while (served_.size() < 2) changed_.wait(mutex_);
  }
  EXPECT_THAT(served(), ElementsAre("reserve", "first"));
  auto rooms = take_rooms(2);
  for (const auto& appended : store->append_all(items, &rooms[0]))
    EXPECT_EQ(appended.value().outcome, AppendOutcome::kAppended);
  EXPECT_TRUE(rooms[0].is_empty());
}

TEST_F(Backpressure, NobodyTakesTheRoomOfThoseInLine) {
  fill();
  const size_t fitting = kBufferBytes / batch_.size();
  for (size_t i = 0; i < fitting + 2; ++i) line_up(std::to_string(i));
  files.release_syncs();
  auto rooms = take_rooms(fitting);
  EXPECT_THAT(served(), IsEmpty());
  EXPECT_EQ(outcome(), AppendOutcome::kNoRoom);
  Appended appended;
  for (Room& room : rooms) {
    appended = try_append({.room = &room}).value();
    EXPECT_EQ(appended.outcome, AppendOutcome::kAppended);
  }
  EXPECT_EQ(error_of(store->wait_durable(appended.position)), "");
  const auto last = take_rooms(2);
  EXPECT_EQ(outcome(), AppendOutcome::kAppended);
}

TEST_F(Backpressure, RoomThatIsNotUsedGoesToTheNext) {
  fill();
  const size_t fitting = kBufferBytes / batch_.size();
  for (size_t i = 0; i < 2 * fitting; ++i) line_up(std::to_string(i));
  files.release_syncs();
  take_rooms(fitting).clear();
  take_rooms(fitting).clear();
  EXPECT_EQ(outcome(), AppendOutcome::kAppended);
}

TEST_F(Backpressure, AnAppendThatWaitsStandsInTheSameLine) {
  fill();
  line_up("first");
  std::atomic<bool> appended = false;
  std::thread waiting([&] {
    Bytes batch = batch_;
    EXPECT_EQ(error_of(partition("t", 1)->append(batch)), "");
    appended = true;
  });
  files.release_syncs();
  const auto rooms = take_rooms(1);
  waiting.join();
  EXPECT_TRUE(appended);
}

TEST_F(Backpressure, WhatMustGoOnHasASecondBufferPastTheLine) {
  fill();
  line_up("in line");
  const AppendOptions urgent{.from_reserve = true};
  int appended = 0;
  while (outcome(urgent) == AppendOutcome::kAppended) ++appended;
  EXPECT_GE(appended, static_cast<int>(kBufferBytes / batch_.size()));
  EXPECT_LE(appended, static_cast<int>(kBufferBytes / batch_.size()) + 1);
  EXPECT_THAT(served(), IsEmpty());
}

TEST_F(Backpressure, AppendsToSeveralPartitionsAreRefusedTogether) {
  fill();
  Bytes one = batch_;
  Bytes two = batch_;
  const std::vector<Store::Item> items = {
      {partition("t", 0), one, {.when_full = WhenFull::kRefuse}},
      {partition("t", 1), two, {.when_full = WhenFull::kRefuse}},
  };
  const auto results = store->append_all(items);
  ASSERT_THAT(results, SizeIs(2));
  for (const auto& result : results) EXPECT_EQ(result.value().outcome, AppendOutcome::kNoRoom);
}

TEST_F(Backpressure, AFailureEndsTheLineAndTheAppendSaysWhy) {
  fill();
  line_up("first");
  line_up("second");
  files.fail_sync(1);
  files.release_syncs();
  take_rooms(2).clear();
  const auto appended = try_append();
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code, Errc::kUnavailable);
  line_up("too late");
  EXPECT_THAT(served(), ElementsAre("too late without room"));
}

TEST_F(Backpressure, CloseEndsTheLine) {
  fill();
  line_up("first");
  std::thread closing([&] { EXPECT_EQ(error_of(store->close()), ""); });
  EXPECT_TRUE(take_rooms(1)[0].is_empty());
  files.release_syncs();
  closing.join();
}

TEST_F(Backpressure, AFullDiskEndsTheLine) {
  store.reset();
  // What is in the buffer needs another file.
  options.wal_file_bytes = 8 << 10;
  options.write_once_bytes = 1u << 20;
  ASSERT_EQ(error_of(open()), "");
  fill();
  const size_t fitting = kBufferBytes / batch_.size();
  for (size_t i = 0; i <= fitting; ++i) line_up(std::to_string(i));
  leave_room(0);
  files.release_syncs();
  {
    const auto rooms = take_rooms(fitting + 1);
    EXPECT_FALSE(rooms.front().is_empty());
    EXPECT_TRUE(rooms.back().is_empty());
  }
  const auto appended = try_append();
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code, Errc::kOutOfSpace);
  give_room();
}

}  // namespace
}  // namespace millrace::log
