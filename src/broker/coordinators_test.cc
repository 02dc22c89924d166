// The coordinators' services over a log without threads: what they do where it cannot take their records at once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/fake_clock.h"
#include "base/random.h"
#include "broker/internal/coordinator_gate.h"
#include "broker/internal/group_service.h"
#include "broker/internal/producer_ids.h"
#include "broker/internal/simulation_executor.h"
#include "broker/internal/transaction_service.h"
#include "env/fault_file_system.h"
#include "log/store.h"

namespace millrace::broker {
namespace {

using coord::GroupError;
using coord::TransactionError;
using std::chrono::seconds;

class Coordinators : public testing::Test {
 protected:
  // A broker's life, as far as its coordinators go.
  struct Life {
    SimulatedExecutor executor;
    CoordinatorGate gate{executor};
    std::unique_ptr<log::Store> store;
    std::optional<Topics> topics;
    std::optional<GroupService> groups;
    std::optional<TransactionService> transactions;
  };

  void SetUp() override {
    start();
    for (const std::string_view name :
         {std::string_view("wide"), std::string_view("t"), kOffsetsTopic, kTransactionsTopic})
      ASSERT_TRUE(life->topics->create(std::string(name), 2, {}));
    ASSERT_TRUE(producer_ids.refill_if_empty());
  }

  void start() {
    life.reset();
    life = std::make_unique<Life>();
    log::StoreOptions options;
    options.dir = "/data";
    options.single_threaded = true;
    // So small that one write fills it, as any buffer is on a disk that is slow enough.
    options.wal_buffer_bytes = 4096;
    options.wal_file_bytes = 1u << 20;
    auto opened = log::Store::open(options, files, clock, random);
    ASSERT_TRUE(opened) << opened.error().message;
    life->store = std::move(*opened);
    life->topics.emplace(*life->store, settings, DynamicSettings{}, random.fork());
    life->groups.emplace(*life->store, *life->topics, settings, clock, random.fork());
    ASSERT_TRUE(life->groups->load(life->gate));
    life->transactions.emplace(*life->store, *life->topics, *life->groups, producer_ids, settings, clock);
    ASSERT_TRUE(life->transactions->load(life->gate));
  }
  void crash_and_start() {
    files.crash(env::FaultFileSystem::Unsynced::kDropped, random);
    start();
  }

  void run_tasks() {
    while (life->executor.has_work()) life->executor.run_one();
  }
  // The disk takes what the log's buffer holds.
  void sync() {
    const auto synced = life->store->commit_group();
    ASSERT_TRUE(synced) << synced.error().message;
    run_tasks();
  }
  void sync_until_idle() {
    for (int i = 0; i < 100 && (i == 0 || !life->gate.is_open()); ++i) sync();
    ASSERT_TRUE(life->gate.is_open());
    sync();
  }
  void pass(seconds time) {
    clock.advance(time);
    while (life->executor.run_due(clock.mono_now())) run_tasks();
    run_tasks();
  }

  struct Outcome {
    bool answered = false;
    GroupError error = GroupError::kNone;
  };
  // Tombstones of this name are large, so that few of them are much.
  static std::string group(int i) { return std::string(30'000, 'g') + std::to_string(i); }
  std::shared_ptr<Outcome> commit(const std::string& name, const std::string& topic, int64_t offset,
                                  int32_t partitions = 1) {
    coord::CommitRequest request;
    request.group = name;
    for (int32_t p = 0; p < partitions; ++p)
      request.offsets.push_back(
          {.topic = topic, .partition = PartitionId{p}, .offset = Offset{offset}, .metadata = {}});
    auto outcome = std::make_shared<Outcome>();
    life->groups->post([this, request, outcome] {
      if (!life->groups->takes_records()) {
        *outcome = {.answered = true, .error = GroupError::kNotCoordinator};
        return;
      }
      life->groups->call<coord::CommitReply>(request, [outcome](const coord::CommitReply& reply) {
        outcome->answered = true;
        outcome->error = reply.errors.at(0);
      });
    });
    run_tasks();
    return outcome;
  }
  // More tombstones than one write has, of this topic.
  void fill_with_offsets_of(const std::string& topic) {
    for (int i = 0; i < kGroups; ++i) {
      const auto outcome = commit(group(i), topic, 3, kPartitions);
      sync_until_idle();
      ASSERT_TRUE(outcome->answered);
      ASSERT_EQ(outcome->error, GroupError::kNone);
    }
  }
  void delete_topic(const std::string& name) {
    ASSERT_TRUE(life->topics->remove(name));
    sync();
    life->groups->post([this, name] { life->groups->topic_deleted(name); });
    run_tasks();
  }
  Offset committed() const {
    const auto* found = life->groups->coordinator().committed_offset("g", "t", PartitionId{0});
    return found == nullptr ? Offset{-1} : found->offset;
  }
  int offsets_left() const {
    int left = 0;
    for (int i = 0; i < kGroups; ++i)
      left += static_cast<int>(life->groups->coordinator().committed_offsets(group(i)).size());
    return left;
  }

  static constexpr int kGroups = 12;
  static constexpr int kPartitions = 50;

  FakeClock clock;
  Random random{1};
  env::FaultFileSystem files;
  Settings settings;
  ProducerIds producer_ids{files, "/data"};
  std::unique_ptr<Life> life;
};

TEST_F(Coordinators, WhatATopicsEndLeavesToWriteWaitsForRoomAndOthersBehindIt) {
  fill_with_offsets_of("wide");
  delete_topic("wide");
  EXPECT_FALSE(life->gate.is_open()) << "there was room for everything";
  const auto late = commit("g", "t", 7);
  EXPECT_FALSE(late->answered);
  EXPECT_TRUE(life->groups->is_alive());
  sync_until_idle();
  EXPECT_TRUE(life->groups->is_alive());
  EXPECT_TRUE(late->answered);
  EXPECT_EQ(late->error, GroupError::kNone);

  crash_and_start();
  EXPECT_EQ(offsets_left(), 0);
  EXPECT_EQ(committed(), Offset{7});
}

TEST_F(Coordinators, WhatACrashLeavesOfADeletedTopicsOffsetsIsForgottenAtTheStart) {
  fill_with_offsets_of("wide");
  delete_topic("wide");
  ASSERT_FALSE(life->gate.is_open());
  crash_and_start();
  ASSERT_FALSE(life->gate.is_open()) << "there was nothing left to forget";
  const auto early = commit("g", "t", 8);
  sync_until_idle();
  EXPECT_TRUE(early->answered);
  EXPECT_EQ(offsets_left(), 0);

  crash_and_start();
  EXPECT_TRUE(life->gate.is_open());
  EXPECT_EQ(offsets_left(), 0);
  EXPECT_EQ(committed(), Offset{8});
}

TEST_F(Coordinators, OffsetsThatExpireWaitForRoom) {
  fill_with_offsets_of("wide");
  clock.advance(std::chrono::minutes{settings.offsets_retention_minutes + 1});
  pass(seconds{0});
  EXPECT_FALSE(life->gate.is_open());
  sync_until_idle();
  pass(seconds{1});
  sync_until_idle();
  EXPECT_TRUE(life->groups->is_alive());
  EXPECT_EQ(offsets_left(), 0);
}

TEST_F(Coordinators, GroupsThatAreDeletedTogetherWaitForRoom) {
  fill_with_offsets_of("wide");
  int deleted = 0;
  life->groups->post([&] {
    for (int i = 0; i < kGroups; ++i) {
      coord::DeleteGroupRequest request;
      request.group = group(i);
      life->groups->call<coord::DeleteGroupReply>(request, [&](const coord::DeleteGroupReply& reply) {
        if (reply.error == GroupError::kNone) ++deleted;
      });
    }
  });
  run_tasks();
  EXPECT_FALSE(life->gate.is_open());
  for (int i = 0; i < 2 * kGroups; ++i) sync();
  EXPECT_EQ(deleted, kGroups);
  EXPECT_TRUE(life->groups->is_alive());
}

TEST_F(Coordinators, WhoWaitsIsRefusedWhereTheDiskFillsUpMeanwhile) {
  fill_with_offsets_of("wide");
  delete_topic("wide");
  ASSERT_FALSE(life->gate.is_open());
  const auto waiting = commit("g", "t", 7);
  files.set_capacity(0);
  for (int i = 0; i < 100 && life->groups->is_alive(); ++i) {
    static_cast<void>(life->store->commit_group());
    run_tasks();
  }
  EXPECT_FALSE(life->groups->is_alive());
  EXPECT_TRUE(waiting->answered);
  EXPECT_EQ(waiting->error, GroupError::kNotCoordinator);

  files.set_capacity(std::numeric_limits<uint64_t>::max());
  for (int i = 0; i < 10 && !life->groups->is_alive(); ++i) {
    pass(seconds{1});
    sync();
  }
  ASSERT_TRUE(life->groups->is_alive());
  sync_until_idle();
  EXPECT_EQ(offsets_left(), 0);
  EXPECT_EQ(committed(), Offset{-1});
}

class TransactionsOnAFullDisk : public Coordinators {
 protected:
  template <typename Reply, typename Request>
  Reply ask(Request request) {
    std::optional<Reply> answer;
    life->transactions->post([&] { life->transactions->call<Reply>(request, [&](Reply reply) { answer = reply; }); });
    run_tasks();
    sync();
    return answer.value();
  }
  void begin() {
    const auto made = ask<coord::InitProducerReply>(
        coord::InitProducerRequest{{}, "tx", std::chrono::milliseconds{5'000}, std::nullopt});
    ASSERT_EQ(made.error, TransactionError::kNone);
    const auto added = ask<coord::AddPartitionsReply>(
        coord::AddPartitionsRequest{{}, "tx", made.producer, {{"t", PartitionId{0}}}, false});
    ASSERT_EQ(added.error, TransactionError::kNone);
  }
  // Until not even the coordinators' reserve has anything left.
  void fill_disk() {
    files.set_capacity(0);
    for (int i = 0; i < 10'000 && life->store->has_disk_room(1000); ++i) {
      static_cast<void>(commit("g", "t", i));
      static_cast<void>(life->store->commit_group());
      run_tasks();
    }
    ASSERT_FALSE(life->store->has_disk_room(1000));
  }
  coord::TransactionState state() const { return life->transactions->coordinator().describe("tx").value().value.state; }
};

TEST_F(TransactionsOnAFullDisk, ATimeoutWaitsForRoomWithoutEndingTheCoordinatorAgainAndAgain) {
  begin();
  fill_disk();
  int ends = 0;
  bool was_alive = true;
  for (int i = 0; i < 120; ++i) {
    pass(seconds{1});
    static_cast<void>(life->store->commit_group());
    run_tasks();
    const bool is_alive = life->transactions->is_alive();
    if (was_alive && !is_alive) ++ends;
    was_alive = is_alive;
  }
  EXPECT_LE(ends, 1);
  ASSERT_TRUE(life->transactions->is_alive());
  EXPECT_EQ(state(), coord::TransactionState::kOngoing);
  EXPECT_FALSE(life->transactions->takes_records());

  files.set_capacity(std::numeric_limits<uint64_t>::max());
  for (int i = 0; i < 5; ++i) {
    sync();
    pass(seconds{1});
  }
  sync();
  EXPECT_EQ(state(), coord::TransactionState::kCompleteAbort);
  EXPECT_TRUE(life->transactions->takes_records());
}

}  // namespace
}  // namespace millrace::broker
