// A small world around the broker, run from a seed: producers, only idempotent or in transactions of both versions,
// that crash, come back, go on as zombies and fall asleep; consumers of both isolation levels; a group's members, that
// join, commit, leave, die, and sleep through a rebalance; a network that delays, loses and repeats; a disk that
// forgets and tears what was not synced, and that is full at times; a broker that is killed at any moment and starts
// again. Everything behind the broker's network is the real thing, on one thread. After every step what is durable is
// held against what was sent and told; in the end, when the world calms down, everything must be decided and readable.
// base/seeds.h says how to run more worlds, or one again.

#include <gtest/gtest.h>

#include <deque>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/seeds.h"
#include "broker/internal/simulation_broker.h"
#include "broker/internal/simulation_group.h"
#include "broker/internal/simulation_member.h"
#include "broker/internal/simulation_network.h"
#include "broker/internal/simulation_producer.h"
#include "broker/internal/simulation_reader.h"
#include "broker/internal/simulation_referee.h"

namespace millrace::broker {
namespace {

using std::chrono::milliseconds;

constexpr int kSteps = 4000;
constexpr int kTransactionalIds = 3;
constexpr int kIdempotentProducers = 2;
constexpr int kMembers = 3;                     // of the consumer group, as many as there are partitions
constexpr milliseconds kLooksForRoomEach{250};  // how often the log does where the disk is full

Settings simulated_settings() {
  Settings settings;
  settings.group_initial_rebalance_delay_ms = 0;
  return settings;
}

class Simulation {
 public:
  Simulation(uint64_t seed, bool verbose)
      : random_(seed), trouble_(0.1 + 0.9 * random_.uniform()), verbose_(verbose), network_(random_) {
    start_broker();
    for (int i = 0; i < kTransactionalIds; ++i) add_producer("tx-" + std::to_string(i));
    for (int i = 0; i < kIdempotentProducers; ++i) add_producer("");
    for (const bool committed_only : {true, true, false}) {
      const std::string name = "r" + std::to_string(readers_.size());
      readers_.push_back(std::make_unique<SimulatedReader>(stage(), name, committed_only));
    }
    for (int i = 0; i < kMembers; ++i) {
      const std::string name = "m" + std::to_string(i);
      members_.push_back(std::make_unique<SimulatedMember>(stage(), name, i == 0 ? std::optional(name) : std::nullopt));
    }
  }

  void run() {
    for (int step = 0; step < kSteps && !failed(); ++step) {
      act();
      if (broker_->decision_waits()) ++steps_without_room_;
      if (!failed()) referee_.check();
    }
    if (!failed()) calm_down();
    if (failed())
      for (const std::string& line : recent_) std::cerr << "  " << line << "\n";
  }

  // Everything that happened, as a number.
  uint64_t digest() const { return digest_; }
  const SimulatedReferee& referee() const { return referee_; }
  const SimulatedGroup& group() const { return group_; }
  int kills() const { return kills_; }
  // In which a coordinator's write waited for room in the log's buffer.
  uint64_t steps_without_room() const { return steps_without_room_; }
  // What went on while the disk was full.
  struct WhileFull {
    uint64_t offsets = 0;
    uint64_t consumed = 0;
    uint64_t topics_deleted = 0;
  };
  const WhileFull& while_full() const { return while_full_; }

 private:
  static bool failed() { return testing::Test::HasFailure(); }

  SimulatedStage stage() { return {random_, clock_, network_, referee_, group_}; }

  // --- The broker

  void start_broker() {
    // The power may go while it starts, too.
    while (true) {
      if (broker_starts_ > 0 && !is_calm_ && random_.chance(0.1)) plan_power_cut(60);
      auto started = SimulatedBroker::start(settings_, files_, clock_, random_.fork(), worker_);
      if (started) {
        ++broker_starts_;
        broker_ = std::move(*started);
        // What was durable when the power went during the start is durable now.
        referee_.started(*broker_);
        group_.started();
        serves_groups_ = serves_transactions_ = false;
        if (!is_full_) unseen_room_since_.reset();
        return watch_coordinators();
      }
      if (started.error().code == Errc::kOutOfSpace && is_full_) {
        make_room();
        continue;
      }
      ASSERT_EQ(started.error().code, Errc::kIo) << started.error().message;
      cut_power();
      say("the power went while the broker started");
    }
  }

  env::FaultFileSystem::Unsynced any_damage() {
    using enum env::FaultFileSystem::Unsynced;
    const uint64_t dice = random_.below(10);
    return dice < 2 ? kKept : dice < 5 ? kDropped : kRandom;
  }

  // Before so many more changes of the disk.
  void plan_power_cut(uint64_t changes_max) {
    files_.power_off_after(random_.below(changes_max));
    power_cut_is_planned_ = true;
  }
  void cut_power() {
    files_.crash(any_damage(), random_);
    power_cut_is_planned_ = false;
    reads_fail_ = false;
  }

  void kill_broker(const char* how) {
    ++kills_;
    say(how);
    cut_power();
    network_.lose_all();
    broker_.reset();
    start_broker();
    say("the broker is back");
  }

  void sync_log() {
    if (random_.chance(0.01 * trouble_)) plan_power_cut(4);
    const Status synced = commit_log();
    if (synced) return say("the log is synced");
    if (synced.error().code == Errc::kOutOfSpace && is_full_) return say("the log waits for room");
    // Until the process has ended, which it does for that, it still answers.
    for (uint64_t i = random_.below(10); i > 0; --i) {
      run_task();
      note(network_.deliver_answer());
    }
    kill_broker("the power went while the log was written");
  }

  // The log's threads get their turn.
  Status commit_log() {
    const Status synced = broker_->store().commit_group();
    const bool has_looked = unseen_room_since_ && clock_.mono_now() >= *unseen_room_since_ + kLooksForRoomEach;
    if (synced && has_looked) unseen_room_since_.reset();
    return synced;
  }

  void keep_house() {
    const bool fails = random_.chance(0.1 * trouble_);
    if (fails) plan_power_cut(40);
    const bool tidies = random_.chance(0.5);
    const Status done = tidies ? broker_->store().tidy() : broker_->store().checkpoint();
    say(tidies ? "retention and compaction" : "a checkpoint");
    if (!fails && !done && ((done.error().code == Errc::kOutOfSpace && is_full_) || reads_fail_)) return;
    if (fails || !done) kill_broker("the power went while the log was kept in order");
  }

  // --- Room on the disk

  void fill_disk() {
    if (is_full_ || power_cut_is_planned_) return;
    // The log may not have seen yet that there is room again.
    if (!broker_->make_ballast()) return;
    constexpr uint64_t kPlenty = 1ull << 40;
    files_.set_capacity(kPlenty);
    const uint64_t used = kPlenty - files_.free_bytes("/data").value();
    files_.set_capacity(used + random_.below(30'000));
    is_full_ = true;
    before_full_ = {.offsets = static_cast<uint64_t>(group_.accepted()), .consumed = referee_.consumed()};
    say("the disk is full");
  }
  void make_room() {
    files_.set_capacity(std::numeric_limits<uint64_t>::max());
    is_full_ = false;
    unseen_room_since_ = clock_.mono_now();
    while_full_.offsets += static_cast<uint64_t>(group_.accepted()) - before_full_.offsets;
    while_full_.consumed += referee_.consumed() - before_full_.consumed;
    say("there is room on the disk");
  }
  // While the disk is full coordinators end, and others are built from what can be read.
  void let_reads_fail(bool fail) {
    files_.fail_reads(fail ? "/data/topics/__" : "");
    reads_fail_ = fail;
    say(fail ? "the coordinators' topics cannot be read" : "the coordinators' topics can be read again");
  }
  void delete_topic() {
    // Without a thread the log cannot wait for room with what it has accepted, and with the deletion behind that.
    if (power_cut_is_planned_ || !commit_log()) return;
    const Status deleted = broker_->drop_ballast();
    if (deleted) {
      ++while_full_.topics_deleted;
      return say("a topic is deleted");
    }
    // The reserve may have been used up.
    const Errc why = deleted.error().code;
    EXPECT_TRUE(why == Errc::kOutOfSpace || why == Errc::kNotFound) << deleted.error().message;
  }

  // --- The world

  void add_producer(const std::string& transactional_id) {
    const std::string name = "p" + std::to_string(producers_.size() + graveyard_.size());
    producers_.push_back(std::make_unique<SimulatedProducer>(stage(), name, transactional_id));
    say(name + " starts" + (transactional_id.empty() ? "" : " as " + transactional_id));
  }

  void act() {
    // With the power gone the broker may go on for a moment, but it does not come back.
    if (power_cut_is_planned_ && random_.chance(0.02)) return kill_broker("the broker is killed, the power off or not");
    if (is_full_ && random_.chance(0.004)) return make_room();
    if (is_full_ && random_.chance(0.004)) return delete_topic();
    if (is_full_ && !reads_fail_ && random_.chance(0.002)) return let_reads_fail(true);
    if (reads_fail_ && random_.chance(0.005)) return let_reads_fail(false);
    const uint64_t dice = random_.below(1000);
    if (dice < 300) return run_task();
    if (dice < 480) return note(network_.deliver_request(*broker_));
    if (dice < 620) return note(network_.deliver_answer());
    if (dice < 820) return let_act();
    if (dice < 920) return sync_log();
    if (dice < 960) return pass(milliseconds{static_cast<int64_t>(random_.below(random_.chance(0.1) ? 8'000 : 300))});
    if (dice < 970) return keep_house();
    if (!random_.chance(trouble_)) return;
    if (dice < 985) return lose_connection();
    if (dice < 992) return disturb_producer();
    if (dice < 997) return disturb_member();
    if (dice < 998) return fill_disk();
    kill_broker("the broker is killed");
  }

  void run_task() {
    SimulatedExecutor& first = random_.chance(0.5) ? broker_->network() : broker_->coordinators();
    SimulatedExecutor& other = &first == &broker_->network() ? broker_->coordinators() : broker_->network();
    if (first.has_work()) {
      first.run_one();
    } else if (other.has_work()) {
      other.run_one();
    }
    watch_coordinators();
  }

  // Nothing but its disk keeps a coordinator from serving, and that only until the log has seen that there is room.
  void watch_coordinators() {
    const bool may_fail = power_cut_is_planned_ || is_full_ || unseen_room_since_.has_value();
    const bool serves_groups = broker_->groups().is_alive();
    const bool serves_transactions = broker_->transactions().is_alive();
    if (!may_fail) {
      EXPECT_TRUE(serves_groups || !serves_groups_) << "groups are not served any more";
      EXPECT_TRUE(serves_transactions || !serves_transactions_) << "transactions are not served any more";
    }
    if (!serves_groups) group_.lost();
    if (serves_groups && !serves_groups_) {
      referee_.built();
      group_.built(*broker_);
    }
    serves_groups_ = serves_groups;
    serves_transactions_ = serves_transactions;
  }

  void let_act() {
    const uint64_t dice = random_.below(10);
    if (dice < 5) return producers_[random_.below(producers_.size())]->act();
    if (dice < 8) return members_[random_.below(members_.size())]->act();
    readers_[random_.below(readers_.size())]->act();
  }

  void lose_connection() {
    if (const LinkPtr link = network_.any_open()) {
      say("connection " + std::to_string(link->number()) + " is lost");
      network_.lose(link);
    }
  }

  void disturb_producer() {
    SimulatedProducer& producer = *producers_[random_.below(producers_.size())];
    if (producer.is_dead()) return;
    const std::string id = producer.transactional_id();
    if (random_.chance(0.3)) {
      say(producer.name() + " loses its connections");
      return producer.lose_connections();
    }
    // Another takes its place; the first may not know that it is thought dead.
    producer.supersede();
    if (id.empty() || random_.chance(0.6)) {
      say(producer.name() + " crashes");
      producer.crash();
    }
    add_producer(id);
  }

  void disturb_member() {
    SimulatedMember& member = *members_[random_.below(members_.size())];
    const uint64_t dice = random_.below(10);
    if (member.is_down()) {
      say(member.name() + " comes back");
      member.come_back();
    } else if (dice < 4) {
      say(member.name() + " crashes");
      member.crash();
    } else if (dice < 6) {
      say(member.name() + " leaves");
      member.leave();
    } else if (dice < 8) {
      say(member.name() + " falls asleep");
      member.fall_asleep();
    } else {
      say(member.name() + " loses its connection");
      member.lose_connections();
    }
  }

  // A producer that was fenced is started again by whoever watches over it.
  void replace_the_dead() {
    std::set<std::string> alive;
    for (const auto& producer : producers_)
      if (!producer->is_dead()) alive.insert(producer->transactional_id());
    for (int i = 0; i < kTransactionalIds && !is_calm_; ++i) {
      const std::string id = "tx-" + std::to_string(i);
      if (!alive.contains(id)) add_producer(id);
    }
    std::erase_if(producers_, [&](auto& producer) {
      if (!producer->is_dead()) return false;
      graveyard_.push_back(std::move(producer));
      return true;
    });
  }

  void pass(milliseconds step) {
    replace_the_dead();
    const MonoTime end = clock_.mono_now() + step;
    while (true) {
      std::optional<MonoTime> next;
      for (SimulatedExecutor* executor : {&broker_->network(), &broker_->coordinators()})
        if (const auto timer = executor->next_timer()) next = next ? std::min(*next, *timer) : timer;
      if (!next || *next > end) break;
      if (*next > clock_.mono_now()) advance_to(*next);
      while (broker_->network().run_due(clock_.mono_now())) {
      }
      while (broker_->coordinators().run_due(clock_.mono_now())) watch_coordinators();
    }
    advance_to(end);
    say("time passes");
  }
  void advance_to(MonoTime time) {
    clock_.advance(std::chrono::duration_cast<std::chrono::microseconds>(time - clock_.mono_now()));
  }

  // Nobody fails any more, and nobody begins anything: what was begun ends, by its producer or by its timeout.
  void calm_down() {
    say("calm");
    is_calm_ = true;
    if (is_full_) make_room();
    if (reads_fail_) let_reads_fail(false);
    // Nobody comes back for some of the transactions that are open.
    for (const auto& producer : producers_)
      if (!producer->transactional_id().empty() && random_.chance(0.3)) producer->crash();
    if (power_cut_is_planned_) kill_broker("the broker is killed for the last time");
    for (const auto& member : members_) member->calm_down();
    // One that ended for want of room looks each second whether it can go on, when the log has seen that there is some.
    constexpr int kRoundsToServe = 40;
    for (int round = 0; round < 600 && !failed(); ++round) {
      pass(milliseconds{100});
      for (const auto& producer : producers_) {
        producer->calm_down();
        producer->act();
      }
      for (const auto& reader : readers_) reader->act();
      for (const auto& member : members_) member->act();
      settle();
      referee_.check();
      if (round >= kRoundsToServe)
        ASSERT_TRUE(serves_groups_ && serves_transactions_) << "a coordinator does not come back";
    }
    if (failed()) return;
    referee_.check_quiet();
    check_members();
    for (const auto& producer : producers_) EXPECT_FALSE(producer->is_busy()) << producer->name() << " gets no answer";
    for (int round = 0; round < 2'000 && !failed() && !all_read(); ++round) {
      for (const auto& reader : readers_) reader->act();
      settle();
      pass(milliseconds{10});
    }
    EXPECT_TRUE(all_read()) << "a consumer does not reach the end";
  }

  // Each has its share of the partitions, in one generation.
  void check_members() const {
    const auto group = broker_->groups().coordinator().describe(group_.name());
    ASSERT_TRUE(group);
    EXPECT_EQ(group->state, coord::GroupState::kStable);
    EXPECT_EQ(group->members.size(), members_.size());
    std::multiset<int32_t> owned;
    for (const auto& member : members_) {
      EXPECT_TRUE(member->is_member()) << member->name();
      EXPECT_EQ(member->generation(), group->generation) << member->name();
      owned.insert(member->assignment().begin(), member->assignment().end());
    }
    EXPECT_EQ(owned, (std::multiset<int32_t>{0, 1, 2}));
  }

  void settle() {
    bool busy = true;
    while (busy && !failed()) {
      busy = false;
      while (!network_.deliver_request(*broker_).empty()) busy = true;
      while (broker_->network().has_work() || broker_->coordinators().has_work()) {
        run_task();
        busy = true;
      }
      ASSERT_TRUE(commit_log());
      while (!network_.deliver_answer().empty()) busy = true;
    }
  }

  bool all_read() const {
    return std::ranges::all_of(readers_, [&](const auto& reader) {
      for (int32_t p = 0; p < kSimulatedPartitions; ++p)
        if (reader->positions()[static_cast<size_t>(p)] < referee_.durable_end(p)) return false;
      return true;
    });
  }

  // --- What happened

  void note(const std::string& what) {
    if (!what.empty()) say(what);
  }
  void say(const std::string& what) {
    std::string line = std::to_string(clock_.mono_now().time_since_epoch() / milliseconds{1}) + " ms  " + what;
    for (const char c : line) digest_ = (digest_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    if (verbose_) std::cerr << line << "\n";
    recent_.push_back(std::move(line));
    if (recent_.size() > 80) recent_.pop_front();
  }

  Random random_;
  const double trouble_;  // how likely troubles are in this world, up to 1
  const bool verbose_;
  const Settings settings_ = simulated_settings();
  FakeClock clock_;
  env::FaultFileSystem files_;
  Worker worker_;
  SimulatedNetwork network_;
  SimulatedReferee referee_;
  SimulatedGroup group_{"consumers"};
  std::unique_ptr<SimulatedBroker> broker_;
  std::vector<std::unique_ptr<SimulatedProducer>> producers_;
  std::vector<std::unique_ptr<SimulatedProducer>> graveyard_;  // answers may still be on their way to them
  std::vector<std::unique_ptr<SimulatedReader>> readers_;
  std::vector<std::unique_ptr<SimulatedMember>> members_;
  int broker_starts_ = 0;
  bool power_cut_is_planned_ = false;
  bool is_full_ = false;
  bool reads_fail_ = false;
  std::optional<MonoTime> unseen_room_since_;  // as long as the log may not know of it
  bool serves_groups_ = false;                 // as was seen last
  bool serves_transactions_ = false;
  WhileFull before_full_;
  WhileFull while_full_;
  bool is_calm_ = false;
  int kills_ = 0;
  uint64_t steps_without_room_ = 0;
  uint64_t digest_ = 0xcbf29ce484222325;
  std::deque<std::string> recent_;
};

TEST(Simulator, PromisesHoldInEveryWorld) {
  const Seeds seeds = Seeds::of_environment();
  if (seeds.replayed) return Simulation(*seeds.replayed, true).run();
  std::map<std::string, uint64_t> totals;
  for (uint64_t seed = seeds.first; seed < seeds.end(); ++seed) {
    SCOPED_TRACE(Seeds::how_to_replay(seed));
    Simulation simulation(seed, false);
    simulation.run();
    if (HasFailure()) return;
    totals["acknowledged"] += simulation.referee().acknowledged();
    totals["committed"] += simulation.referee().commits();
    totals["aborted"] += simulation.referee().aborts();
    totals["consumed"] += simulation.referee().consumed();
    totals["refused"] += simulation.referee().refusals();
    totals["kills"] += static_cast<uint64_t>(simulation.kills());
    totals["steps while a coordinator waited for room"] += simulation.steps_without_room();
    totals["joins"] += static_cast<uint64_t>(simulation.group().joins());
    totals["offsets"] += static_cast<uint64_t>(simulation.group().accepted());
    totals["offsets on a full disk"] += simulation.while_full().offsets;
    totals["consumed on a full disk"] += simulation.while_full().consumed;
    totals["topics deleted on a full disk"] += simulation.while_full().topics_deleted;
  }
  for (const auto& [what, count] : totals) std::cerr << what << ": " << count << "\n";
  // Worlds in which nothing succeeds would prove nothing.
  EXPECT_GT(totals["acknowledged"], 20 * seeds.count);
  EXPECT_GT(totals["committed"], 3 * seeds.count);
  EXPECT_GT(totals["aborted"], 2 * seeds.count);
  EXPECT_GT(totals["consumed"], 50 * seeds.count);
  EXPECT_GT(totals["kills"], seeds.count);
  EXPECT_GT(totals["joins"], 5 * seeds.count);
  EXPECT_GT(totals["offsets"], 4 * seeds.count);
  EXPECT_GT(totals["refused"], seeds.count / 10);
  EXPECT_GT(totals["steps while a coordinator waited for room"], seeds.count);
  EXPECT_GT(totals["offsets on a full disk"], seeds.count / 10);
  EXPECT_GT(totals["consumed on a full disk"], seeds.count);
  EXPECT_GT(totals["topics deleted on a full disk"], seeds.count / 20);
}

TEST(Simulator, TheSameSeedIsTheSameWorld) {
  Simulation one(7, false);
  Simulation two(7, false);
  one.run();
  two.run();
  EXPECT_GT(one.referee().acknowledged(), 0u);
  EXPECT_EQ(one.digest(), two.digest());
}

}  // namespace
}  // namespace millrace::broker
