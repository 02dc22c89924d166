#include "log/store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "log/internal/log_testing.h"

namespace millrace::log {
namespace {

using Unsynced = env::FaultFileSystem::Unsynced;
using Strings = std::vector<std::string>;

class StoreTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override { ASSERT_EQ(error_of(open()), ""); }
};

TEST_F(StoreTest, GivesConsecutiveOffsetsAndReadsThemBack) {
  make_topic("t");
  EXPECT_EQ(append("t", {.values = {"a", "b"}})->base_offset, Offset{0});
  const auto second = append("t", {.values = {"c"}});
  EXPECT_EQ(second->base_offset, Offset{2});
  EXPECT_EQ(second->last_offset, Offset{2});
  EXPECT_EQ(partition("t")->high_watermark(), Offset{3});
  EXPECT_EQ(read_all(*partition("t")).value(), (Strings{"a@0", "b@1", "c@2"}));
}

TEST_F(StoreTest, ReadsTheWholeBatchFromAnOffsetInsideIt) {
  make_topic("t");
  ASSERT_TRUE(append("t", {.values = {"a", "b", "c"}}));
  ASSERT_TRUE(append("t", {.values = {"d"}}));
  EXPECT_EQ(read_all(*partition("t"), Offset{1}).value(), (Strings{"a@0", "b@1", "c@2", "d@3"}));
  EXPECT_EQ(read_all(*partition("t"), Offset{3}).value(), (Strings{"d@3"}));
}

TEST_F(StoreTest, FirstBatchComesEvenIfLargerThanTheMaximumWhereAskedFor) {
  make_topic("t");
  ASSERT_TRUE(append("t", {.values = {std::string(300, 'x')}}));
  ASSERT_TRUE(append("t", {.values = {std::string(9000, 'y')}}));
  Bytes out;
  EXPECT_EQ(partition("t")->read(Offset{0}, 100, false, out)->bytes, 0U);
  EXPECT_GT(partition("t")->read(Offset{0}, 100, true, out)->bytes, 300U);
  out.clear();
  const size_t large = partition("t")->read(Offset{1}, 100, true, out)->bytes;
  EXPECT_GT(large, 9000U);
  EXPECT_EQ(large, out.size());
  EXPECT_EQ(records_in(out)->size(), 1U);
}

TEST_F(StoreTest, RefusesOffsetsOutsideTheLog) {
  make_topic("t");
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  Bytes out;
  EXPECT_EQ(partition("t")->read(Offset{-1}, 100, true, out).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(partition("t")->read(Offset{2}, 100, true, out).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(partition("t")->read(Offset{1}, 100, true, out)->bytes, 0U);
}

TEST_F(StoreTest, ReadsAcrossManySegmentsWithAnyReadSize) {
  make_topic("t");
  Strings expected;
  for (int i = 0; i < 400; ++i) {
    const std::string value = "value " + std::to_string(i) + std::string(static_cast<size_t>(i % 97), '.');
    ASSERT_TRUE(append("t", {.values = {value}}));
    expected.push_back(value + "@" + std::to_string(i));
  }
  EXPECT_GT(files.list("/data/topics/t-0")->size(), 5U);
  for (const size_t bytes_max : {1U, 150U, 1000U, 5000U, 100'000U}) {
    EXPECT_EQ(read_all(*partition("t"), Offset{0}, bytes_max).value(), expected) << bytes_max;
  }
  for (int from = 0; from < 400; from += 37) {
    EXPECT_EQ(read_all(*partition("t"), Offset{from})->front(), expected[static_cast<size_t>(from)]);
  }
  // The same from the files alone.
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), expected);
  for (int from = 0; from < 400; from += 37) {
    EXPECT_EQ(read_all(*partition("t"), Offset{from})->front(), expected[static_cast<size_t>(from)]);
  }
}

TEST_F(StoreTest, KeepsEverythingOverACleanStopWithNothingToReplay) {
  make_topic("t", 2);
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  ASSERT_TRUE(append("t", {.values = {"b"}}, 1));
  const Uuid cluster = store->cluster_id();
  ASSERT_TRUE(store->close());
  EXPECT_EQ(append("t", {.values = {"late"}}).error().code, Errc::kUnavailable);
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"a@0"});
  ASSERT_EQ(error_of(open()), "");
  EXPECT_FALSE(store->recovered_from_crash());
  EXPECT_EQ(store->cluster_id(), cluster);
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"a@0"});
  EXPECT_EQ(read_all(*partition("t", 1)).value(), Strings{"b@0"});
  EXPECT_EQ(partition("t")->leader_epoch(), LeaderEpoch{0});
  EXPECT_EQ(append("t", {.values = {"c"}})->base_offset, Offset{1});
}

TEST_F(StoreTest, AStopWithMuchToCheckpointLeavesItToTheNextStart) {
  options.closing_checkpoint_bytes = 16u << 10;
  ASSERT_EQ(error_of(open()), "");
  make_topic("t");
  ASSERT_EQ(error_of(store->checkpoint()), "");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(append("t", {.values = {std::string(3000, 'x')}}));
  const auto written = read_all(*partition("t"));
  const uint64_t checkpoints = store->statistics().checkpoints;
  ASSERT_EQ(error_of(store->close()), "");
  EXPECT_EQ(store->statistics().checkpoints, checkpoints);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_TRUE(store->recovered_from_crash());
  EXPECT_EQ(read_all(*partition("t")), written);
}

TEST_F(StoreTest, AStopMakesDurableWhatNobodyWaitedFor) {
  options.closing_checkpoint_bytes = 0;
  ASSERT_EQ(error_of(open()), "");
  make_topic("t");
  Bytes batch = make_batch({.values = {"a"}});
  const auto appended = partition("t")->append(batch);
  ASSERT_TRUE(appended);
  ASSERT_EQ(error_of(store->close()), "");
  EXPECT_TRUE(store->wait_durable(appended->position));
  crash();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"a@0"});
}

TEST_F(StoreTest, KeepsWhatWasDurableOverACrashAndBeginsANewLeaderEpoch) {
  make_topic("t");
  ASSERT_TRUE(append("t", {.values = {"a", "b"}}));
  crash();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_TRUE(store->recovered_from_crash());
  EXPECT_EQ(read_all(*partition("t")).value(), (Strings{"a@0", "b@1"}));
  EXPECT_EQ(partition("t")->leader_epoch(), LeaderEpoch{1});
  ASSERT_TRUE(append("t", {.values = {"c"}}));
  EXPECT_EQ(partition("t")->epoch_end_offset(LeaderEpoch{0}).end_offset, Offset{2});
  EXPECT_EQ(partition("t")->epoch_end_offset(LeaderEpoch{1}).end_offset, Offset{3});
  EXPECT_EQ(partition("t")->epoch_end_offset(LeaderEpoch{2}).epoch, LeaderEpoch{-1});
  Bytes out;
  ASSERT_TRUE(partition("t")->read(Offset{2}, 1000, true, out));
  EXPECT_EQ(record::BatchView::first_of(out)->leader_epoch(), LeaderEpoch{1});
  crash(Unsynced::kKept);
  ASSERT_EQ(error_of(open()), "");
  // The checkpoint after the first crash runs beside the append, and may have left nothing to recover.
  EXPECT_EQ(partition("t")->leader_epoch(), LeaderEpoch{store->recovered_from_crash() ? 2 : 1});
  EXPECT_EQ(partition("t")->epoch_end_offset(LeaderEpoch{0}).end_offset, Offset{2});
  EXPECT_EQ(partition("t")->epoch_end_offset(LeaderEpoch{1}).end_offset, Offset{3});
}

TEST_F(StoreTest, NothingIsReadableBeforeItIsDurable) {
  make_topic("t");
  files.fail_sync(1);
  Bytes batch = make_batch({.values = {"a"}});
  const auto appended = partition("t")->append(batch);
  ASSERT_TRUE(appended);
  EXPECT_EQ(store->wait_durable(appended->position).error().code, Errc::kUnavailable);
  EXPECT_EQ(partition("t")->high_watermark(), Offset{0});
  EXPECT_EQ(partition("t")->log_end_offset(), Offset{1});
  EXPECT_TRUE(read_all(*partition("t"))->empty());
}

TEST_F(StoreTest, FailedSyncEndsTheStoreAndTellsTheProcessOnce) {
  make_topic("t");
  std::atomic<int> told = 0;
  store->set_fatal_callback([&](const Error&) { ++told; });
  files.fail_sync(1);
  EXPECT_FALSE(append("t", {.values = {"a"}}));
  const auto refused = append("t", {.values = {"b"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kUnavailable);
  EXPECT_NE(refused.error().message.find("sync"), std::string::npos);
  EXPECT_FALSE(store->close());
  EXPECT_EQ(told, 1);
}

TEST_F(StoreTest, CallbacksComeOnceEachWithTheirOutcome) {
  make_topic("t");
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> outcomes;
  const auto note = [&](const Status& status) {
    const std::lock_guard lock(mutex);
    outcomes.push_back(status.has_value());
    changed.notify_one();
  };
  Bytes batch = make_batch({.values = {"a"}});
  const auto appended = partition("t")->append(batch);
  store->when_durable(appended->position, note);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return outcomes.size() == 1; });
  }
  store->when_durable(appended->position, note);
  EXPECT_EQ(outcomes, (std::vector<bool>{true, true}));
}

TEST_F(StoreTest, ObserverHearsOfEachAdvanceAndNoneAfterItIsTakenAway) {
  make_topic("t");
  std::mutex mutex;
  std::vector<int64_t> seen;
  store->set_advance_observer([&](std::span<const std::shared_ptr<Partition>> advanced) {
    const std::lock_guard lock(mutex);
    for (const auto& one : advanced) seen.push_back(one->high_watermark().value());
  });
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(append("t", {.values = {"a"}}));
  store->set_advance_observer(nullptr);
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2, 3, 4, 5}));
}

TEST_F(StoreTest, ManyThreadsShareSyncsAndKeepTheirOrder) {
  constexpr int kThreads = 4;
  constexpr int kAppends = 200;
  make_topic("t", kThreads);
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&, n] {
      WalPosition last{0};
      for (int i = 0; i < kAppends; ++i) {
        Bytes batch = make_batch({.values = {std::to_string(i)}});
        last = partition("t", static_cast<size_t>(n))->append(batch)->position;
      }
      EXPECT_TRUE(store->wait_durable(last));
    });
  }
  for (auto& thread : threads) thread.join();
  const auto statistics = store->statistics();
  EXPECT_LT(statistics.wal_syncs, static_cast<uint64_t>(kThreads * kAppends));
  EXPECT_EQ(statistics.wal_sync_times.count, statistics.wal_syncs);
  crash();
  ASSERT_EQ(error_of(open()), "");
  for (int n = 0; n < kThreads; ++n) {
    const auto all = read_all(*partition("t", static_cast<size_t>(n))).value();
    ASSERT_EQ(all.size(), static_cast<size_t>(kAppends));
    for (int i = 0; i < kAppends; ++i)
      EXPECT_EQ(all[static_cast<size_t>(i)], std::to_string(i) + "@" + std::to_string(i));
  }
}

TEST_F(StoreTest, StampsTheAppendTimeWhereAsked) {
  make_topic("t");
  Bytes batch = make_batch({.values = {"a"}});
  const auto appended =
      partition("t")->append(batch, {.timestamp_type = record::TimestampType::kLogAppendTime}).value();
  EXPECT_EQ(appended.log_append_time_ms, to_unix_ms(clock.wall_now()));
  ASSERT_TRUE(store->wait_durable(appended.position));
  Bytes out;
  ASSERT_TRUE(partition("t")->read(Offset{0}, 1000, true, out));
  const auto stored = record::BatchView::first_of(out).value();
  EXPECT_EQ(stored.max_timestamp_ms(), appended.log_append_time_ms);
  EXPECT_TRUE(stored.checksum_matches());
}

TEST_F(StoreTest, FindsOffsetsByTimeToTheRecord) {
  make_topic("t");
  // Timestamps rise and fall: 40 batches of 3 records, some of them earlier than those before.
  std::vector<int64_t> timestamps;
  for (int i = 0; i < 40; ++i) {
    const int64_t base = 1000 + i * 100 - (i % 7 == 3 ? 550 : 0);
    ASSERT_TRUE(append("t", {.values = {"a", std::string(90, 'b'), "c"}, .timestamp_ms = base}));
    for (int64_t r = 0; r < 3; ++r) timestamps.push_back(base + r);
  }
  for (const bool reopened : {false, true}) {
    if (reopened) ASSERT_EQ(error_of(open()), "");
    for (int64_t wanted = 900; wanted < 5100; wanted += 13) {
      const auto first = std::ranges::find_if(timestamps, [&](int64_t t) { return t >= wanted; });
      const auto found = partition("t")->offset_for_time(wanted).value();
      ASSERT_EQ(found.has_value(), first != timestamps.end()) << wanted;
      if (!found) continue;
      EXPECT_EQ(found->offset.value(), first - timestamps.begin()) << wanted;
      EXPECT_EQ(found->timestamp_ms, *first);
    }
    const auto greatest = std::ranges::max_element(timestamps);
    const auto found = partition("t")->offset_of_max_timestamp().value();
    EXPECT_EQ(found->offset.value(), greatest - timestamps.begin());
    EXPECT_EQ(found->timestamp_ms, *greatest);
  }
}

TEST_F(StoreTest, AnEmptyPartitionHasNoOffsetForATime) {
  make_topic("t");
  EXPECT_FALSE(partition("t")->offset_for_time(0).value());
  EXPECT_FALSE(partition("t")->offset_of_max_timestamp().value());
}

TEST_F(StoreTest, TopicsAreDurableWithTheirIdsAndConfiguration) {
  const Uuid id = Uuid::random(random);
  ASSERT_TRUE(store->create_topic({.name = "t", .id = id, .partitions = 3, .config = {{"retention.ms", "5"}}}));
  EXPECT_EQ(store->create_topic({.name = "t", .id = Uuid::random(random), .config = {}}).error().code,
            Errc::kAlreadyExists);
  for (const bool checkpointed : {false, true}) {
    if (checkpointed) ASSERT_TRUE(store->checkpoint());
    crash();
    ASSERT_EQ(error_of(open()), "");
    const auto topic = store->find_topic(id);
    ASSERT_NE(topic, nullptr);
    EXPECT_EQ(topic->info.name, "t");
    EXPECT_EQ(topic->partitions.size(), 3U);
    EXPECT_EQ(topic->info.config.at("retention.ms"), "5");
  }
}

TEST_F(StoreTest, RefusesNamesThatKafkaDoesNotAllow) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("ü"), std::string(250, 'a')}) {
    EXPECT_EQ(store->create_topic({.name = name, .id = Uuid::random(random), .config = {}}).error().code,
              Errc::kInvalidArgument)
        << name;
  }
  EXPECT_TRUE(store->create_topic({.name = std::string(249, 'a'), .id = Uuid::random(random), .config = {}}));
}

TEST_F(StoreTest, ARecreatedTopicIsEmptyAndTheOldHandlesRefuse) {
  const auto old = make_topic("t");
  ASSERT_TRUE(append("t", {.values = {std::string(2000, 'x')}}));
  ASSERT_TRUE(store->checkpoint());
  ASSERT_TRUE(append("t", {.values = {"y"}}));
  ASSERT_TRUE(store->delete_topic("t"));
  EXPECT_EQ(store->delete_topic("t").error().code, Errc::kNotFound);
  Bytes batch = make_batch({.values = {"late"}});
  EXPECT_EQ(old->append(batch).error().code, Errc::kNotFound);
  Bytes out;
  EXPECT_EQ(old->read(Offset{0}, 100, true, out).error().code, Errc::kNotFound);

  const Uuid old_id = old->topic_id();
  make_topic("t");
  EXPECT_NE(partition("t")->topic_id(), old_id);
  ASSERT_TRUE(append("t", {.values = {std::string(2000, 'n')}}));
  crash(Unsynced::kKept);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), (Strings{std::string(2000, 'n') + "@0"}));
}

TEST_F(StoreTest, AppendAllIsAllOrNothing) {
  make_topic("t", 3);
  Bytes a = make_batch({.values = {"a"}});
  Bytes b = make_batch({.values = {"b"}});
  const std::vector<Store::Item> two{{partition("t", 2), a, {}}, {partition("t", 0), b, {}}};
  const auto done = store->append_all(two);
  ASSERT_EQ(done.size(), 2U);
  EXPECT_EQ(done[0]->base_offset, Offset{0});
  EXPECT_EQ(done[0]->position, done[1]->position);
  ASSERT_TRUE(store->wait_durable(done[0]->position));

  // A sequence out of order in one refuses the other.
  record::BatchOptions producer{.producer_id = ProducerId{1}, .producer_epoch = ProducerEpoch{0}, .base_sequence = 0};
  ASSERT_TRUE(append("t", {.values = {"p"}, .options = producer}, 1));
  producer.base_sequence = 7;
  Bytes bad = make_batch({.values = {"q"}, .options = producer});
  const std::vector<Store::Item> refused{{partition("t", 0), a, {}}, {partition("t", 1), bad, {}}};
  const auto not_done = store->append_all(refused);
  EXPECT_EQ(not_done[0].error().code, Errc::kCancelled);
  EXPECT_EQ(not_done[1]->outcome, AppendOutcome::kOutOfOrderSequence);
  EXPECT_EQ(partition("t", 0)->log_end_offset(), Offset{1});
  const std::vector<Store::Item> twice{{partition("t", 0), a, {}}, {partition("t", 0), b, {}}};
  EXPECT_EQ(store->append_all(twice)[0].error().code, Errc::kInvalidArgument);
}

TEST_F(StoreTest, CheckpointDropsTheWriteAheadLogBeforeIt) {
  make_topic("t");
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(append("t", {.values = {std::string(3000, 'x')}}));
  const auto wal_files = [&] {
    size_t count = 0;
    const auto entries = files.list("/data/wal").value();
    for (const auto& entry : entries) count += entry.name.ends_with(".wal") ? 1 : 0;
    return count;
  };
  EXPECT_GT(wal_files(), 3U);
  ASSERT_TRUE(store->checkpoint());
  EXPECT_EQ(wal_files(), 1U);
  crash();
  ASSERT_EQ(error_of(open()), "");
  EXPECT_FALSE(store->recovered_from_crash());
  EXPECT_EQ(read_all(*partition("t"))->size(), 60U);
}

TEST_F(StoreTest, CheckpointsOnItsOwnAfterEnoughLog) {
  options.checkpoint_bytes = 64u << 10;
  ASSERT_EQ(error_of(open()), "");
  make_topic("t");
  while (store->statistics().checkpoints == 0) ASSERT_TRUE(append("t", {.values = {std::string(3000, 'x')}}));
}

TEST_F(StoreTest, OneProcessAtATime) {
  const auto second = Store::open(options, files, clock, random);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kConflict);
}

TEST_F(StoreTest, RefusesAFolderOfAnotherVersionAndChangesNothing) {
  store.reset();
  files.set_content("/data/FORMAT",
                    Bytes(as_byte_view("millrace-data 2\n").begin(), as_byte_view("millrace-data 2\n").end()));
  const auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kConflict);
  EXPECT_NE(opened.error().message.find("version 2"), std::string::npos);
}

TEST_F(StoreTest, RefusesTopicsWithoutAFormatFile) {
  make_topic("t");
  ASSERT_TRUE(append("t", {.values = {"a"}}));
  store.reset();
  ASSERT_TRUE(files.remove("/data/FORMAT"));
  EXPECT_EQ(open().error().code, Errc::kCorruption);
}

// What simulations build on.
TEST(SingleThreadedStore, MakesAppendsDurableOnlyWhenAskedTo) {
  TestStore world;
  world.options.single_threaded = true;
  ASSERT_EQ(error_of(world.open()), "");
  const auto partition = world.make_topic("t");
  Bytes first = make_batch({.values = {"a"}});
  Bytes second = make_batch({.values = {"b"}});
  std::vector<std::string> heard;
  for (Bytes* batch : {&first, &second}) {
    const auto appended = partition->append(*batch);
    world.store->when_durable(appended->position, [&](const Status& durable) { heard.push_back(error_of(durable)); });
  }
  EXPECT_EQ(partition->high_watermark(), Offset{0});
  EXPECT_EQ(heard, Strings{});

  ASSERT_EQ(error_of(world.store->commit_group()), "");
  EXPECT_EQ(partition->high_watermark(), Offset{2});
  EXPECT_EQ(heard, (Strings{"", ""}));

  ASSERT_TRUE(world.append("t", {.values = {"c"}})) << "who waits writes";
  world.crash();
  ASSERT_EQ(error_of(world.open()), "");
  EXPECT_EQ(read_all(*world.partition("t")).value(), (Strings{"a@0", "b@1", "c@2"}));
}

TEST(SingleThreadedStore, TellsThoseWhoWaitThatItHasFailed) {
  TestStore world;
  world.options.single_threaded = true;
  ASSERT_EQ(error_of(world.open()), "");
  const auto partition = world.make_topic("t");
  Bytes batch = make_batch({.values = {"a"}});
  const auto appended = partition->append(batch);
  Status heard;
  world.store->when_durable(appended->position, [&](const Status& durable) { heard = durable; });
  world.files.fail_sync(1);
  EXPECT_EQ(world.store->commit_group().error().code, Errc::kUnavailable);
  EXPECT_EQ(heard.error().code, Errc::kUnavailable);
  EXPECT_EQ(partition->high_watermark(), Offset{0});
}

TEST(SingleThreadedStore, KeepsWhatAFullDiskDoesNotTakeUntilThereIsRoom) {
  TestStore world;
  world.options.single_threaded = true;
  ASSERT_EQ(error_of(world.open()), "");
  const auto partition = world.make_topic("t");
  std::vector<Bytes> batches = {make_batch({.values = {"a"}}), make_batch({.values = {"b"}})};
  const auto first = partition->append(batches[0]);
  for (int i = 0; i < 2; ++i) {
    world.files.fail_write(1, env::FaultFileSystem::Fault::kOutOfSpace);
    EXPECT_EQ(world.store->wait_durable(first->position).error().code, Errc::kOutOfSpace);
    EXPECT_EQ(partition->high_watermark(), Offset{0});
  }
  // The first write is of the log's next file, for which there is room already.
  world.files.fail_write(2, env::FaultFileSystem::Fault::kOutOfSpace);
  EXPECT_EQ(world.store->commit_group().error().code, Errc::kOutOfSpace);
  EXPECT_EQ(error_of(world.store->commit_group()), "");
  EXPECT_EQ(partition->high_watermark(), Offset{1});
  const auto second = partition->append(batches[1]);
  EXPECT_EQ(error_of(world.store->wait_durable(second->position)), "");
  EXPECT_EQ(read_all(*partition).value(), (Strings{"a@0", "b@1"}));
}

// A clock during whose n-th look at the time something else happens.
class HookedClock final : public Clock {
 public:
  WallTime wall_now() const override {
    if (looks_ > 0 && --looks_ == 0) std::exchange(hook_, {})();
    return clock_.wall_now();
  }
  MonoTime mono_now() const override { return clock_.mono_now(); }
  void at_look(int nth, std::function<void()> hook) {
    looks_ = nth;
    hook_ = std::move(hook);
  }

 private:
  FakeClock clock_;
  mutable int looks_ = 0;
  mutable std::function<void()> hook_;
};

// A checkpoint looks at one partition after the other. What is appended to two of them meanwhile it may see in one
// only: then it has to be in the write-ahead log before the checkpoint counts.
TEST(SingleThreadedStore, ACheckpointHoldsNoPartOfAnAppendThatTheLogHasNot) {
  HookedClock clock;
  TestStore world;
  world.options.single_threaded = true;
  const auto open = [&] {
    world.store.reset();
    auto opened = Store::open(world.options, world.files, clock, world.random);
    EXPECT_EQ(error_of(opened), "");
    if (opened) world.store = std::move(*opened);
  };
  open();
  world.make_topic("a");
  world.make_topic("b");
  world.make_topic("c");
  for (const char* topic : {"a", "b", "c"}) ASSERT_TRUE(world.append(topic, {.values = {"before"}}));
  Bytes first = make_batch({.values = {"x"}});
  Bytes second = make_batch({.values = {"y"}});
  bool is_appended = false;
  // The checkpoint is done with the first partition, and looks at the second.
  clock.at_look(2, [&] {
    std::vector<Store::Item> items{{world.partition("a"), first, {}}, {world.partition("c"), second, {}}};
    for (const auto& one : world.store->append_all(items)) is_appended = one.has_value();
  });
  ASSERT_EQ(error_of(world.store->checkpoint()), "");
  ASSERT_TRUE(is_appended);
  world.crash();
  open();
  EXPECT_EQ(read_all(*world.partition("a")).value(), (Strings{"before@0", "x@1"}));
  EXPECT_EQ(read_all(*world.partition("c")).value(), (Strings{"before@0", "y@1"}));
}

}  // namespace
}  // namespace millrace::log
