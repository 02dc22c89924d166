// A small world around the coordinator, run from a seed: consumers that come, go, crash and commit; a network that
// delays, loses, repeats and reorders; a log that syncs late; a broker that is killed and starts again from what was
// synced. After every step the promises are checked, and in the end, when the world calms down, everyone must have its
// share. base/seeds.h says how to run more of them, or one again.

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/seeds.h"
#include "coord/internal/referee.h"
#include "coord/internal/test_bench.h"

namespace millrace::coord::internal {
namespace {

constexpr int kPartitions = 12;
constexpr int kConsumers = 6;
constexpr int kSteps = 1000;
constexpr milliseconds kRebalanceTimeout{9'000};
const std::string kGroup = "g";

// A consumer process as clients are: it joins, syncs, sends heartbeats, commits, and obeys the errors.
struct Consumer {
  enum class Phase { kDown, kOut, kJoining, kSyncing, kMember };

  std::string name;
  std::optional<std::string> instance_id;
  bool knows_member_id_required = true;
  milliseconds session_timeout_ms{0};
  int subscription = 0;

  Phase phase = Phase::kOut;
  ConnectionId connection{0};
  std::string member_id;
  int32_t generation = -1;
  Bytes assignment;
  RequestToken awaited{0};  // the reply that counts; others are read by nobody
  MonoTime asked_at;
  MonoTime heartbeat_at;
};

struct InFlight {
  Event event;
  int consumer;
};

class Simulation {
 public:
  Simulation(uint64_t seed, bool verbose) : random_(seed), trouble_(0.1 + 0.9 * random_.uniform()), verbose_(verbose) {
    settings_.group_max_size = kConsumers + 2;
    if (random_.chance(0.2)) settings_.group_disconnect_grace_ms = milliseconds{0};
    if (random_.chance(0.2)) settings_.group_heartbeat_hold_max_ms = milliseconds{0};
    // Enough for all consumers, not for what they leave behind.
    if (random_.chance(0.2)) settings_.group_members_max_bytes = kConsumers * 80;
    for (int i = 0; i < kConsumers; ++i) {
      Consumer consumer;
      consumer.name = "c" + std::to_string(i);
      if (i % 3 == 2) consumer.instance_id = "i" + std::to_string(i);
      consumer.knows_member_id_required = i % 2 == 0;
      consumer.session_timeout_ms = milliseconds{random_.chance(0.5) ? 6'000 : 20'000};
      consumers_.push_back(consumer);
      connect(consumers_.back());
    }
    boot();
  }

  void run() {
    for (int step = 0; step < kSteps && !testing::Test::HasFailure(); ++step) {
      act();
      referee_.check(*coordinator_);
      EXPECT_LE(coordinator_->member_bytes(), settings_.group_members_max_bytes);
    }
    calm_down();
    if (testing::Test::HasFailure())
      for (const std::string& line : recent_) std::cerr << "  " << line << "\n";
  }

  const std::vector<Record>& log() const { return log_; }
  // How much happened before the calm.
  int commits_accepted() const { return referee_.commits_accepted(); }
  int evicted_by_connection() const { return referee_.evicted_by_connection(); }
  int rounds() const { return rounds_; }
  int refused_for_memory() const { return refused_for_memory_; }

 private:
  // --- The broker: appends effects, syncs now and then, sends replies when their records are synced.

  struct Held {
    size_t records_end;  // of the log
    std::vector<Reply> replies;
  };

  Instant now() const { return {clock_.mono_now(), clock_.wall_now()}; }

  void boot() {
    coordinator_ = std::make_unique<GroupCoordinator>(settings_, random_.fork());
    for (const Record& record : log_) coordinator_->apply(record);
    referee_.started(log_.size(), *coordinator_);
    take(coordinator_->start(now()));
  }

  void take(Effects effects) {
    referee_.decided(effects);
    for (Record& record : effects.records) {
      referee_.appended(log_.size(), record);
      log_.push_back(std::move(record));
    }
    for (const Reply& reply : effects.replies) {
      const auto open = open_requests_.find(reply.to);
      ASSERT_TRUE(open != open_requests_.end()) << "reply to a request that is not open: " << reply.to.value();
      referee_.replied(open->second, reply, *coordinator_);
      open_requests_.erase(open);
    }
    held_.push_back({log_.size(), std::move(effects.replies)});
  }

  void sync_log() {
    synced_ = log_.size();
    while (!held_.empty() && held_.front().records_end <= synced_) {
      for (Reply& reply : held_.front().replies) on_the_way_back_.push_back(std::move(reply));
      held_.pop_front();
    }
  }

  void kill_broker() {
    say("the broker is killed");
    if (synced_ == log_.size()) check_replay();
    log_.resize(synced_);
    held_.clear();
    on_the_way_back_.clear();
    in_flight_.clear();
    open_requests_.clear();
    boot();
    for (Consumer& consumer : consumers_) {
      connect(consumer);
      consumer.asked_at = MonoTime{};  // they notice that the connection is gone
    }
  }

  // A coordinator that replays the log is where this one is, but for a rebalance that had not ended.
  void check_replay() {
    GroupCoordinator other(settings_, Random(0));
    for (const Record& record : log_) other.apply(record);
    other.start(now());
    EXPECT_EQ(other.committed_offsets(kGroup), coordinator_->committed_offsets(kGroup));
    const auto before = coordinator_->describe(kGroup);
    const auto after = other.describe(kGroup);
    if (!before || before->state == GroupState::kPreparingRebalance ||
        before->state == GroupState::kCompletingRebalance || (before->members.empty() && !after))
      return;
    ASSERT_TRUE(after);
    EXPECT_EQ(after->state, before->state);
    EXPECT_EQ(after->generation, before->generation);
    EXPECT_EQ(after->protocol_name, before->protocol_name);
    ASSERT_EQ(after->members.size(), before->members.size());
    for (size_t i = 0; i < after->members.size(); ++i) {
      EXPECT_EQ(after->members[i].member_id, before->members[i].member_id);
      EXPECT_EQ(after->members[i].instance_id, before->members[i].instance_id);
      EXPECT_EQ(after->members[i].assignment, before->members[i].assignment);
      EXPECT_EQ(after->members[i].metadata, before->members[i].metadata);
    }
  }

  // --- The world

  void act() {
    const uint64_t dice = random_.below(100);
    if (dice < 45) {
      deliver_request();
    } else if (dice < 65) {
      deliver_reply();
    } else if (dice < 82) {
      sync_log();
    } else if (dice < 94) {
      pass(milliseconds{static_cast<int64_t>(random_.below(random_.chance(0.05) ? 8'000 : 300))});
      for (size_t i = 0; i < consumers_.size(); ++i) tick(static_cast<int>(i));
    } else if (!random_.chance(trouble_)) {
      const auto index = static_cast<int>(random_.below(kConsumers));
      if (consumers_[static_cast<size_t>(index)].phase == Consumer::Phase::kMember) send_commit(index);
    } else if (dice < 98) {
      disturb_consumer(static_cast<int>(random_.below(kConsumers)));
    } else if (random_.chance(0.7)) {
      send_nonsense();
    } else {
      kill_broker();
    }
  }

  void pass(milliseconds step) {
    const MonoTime end = clock_.mono_now() + step;
    for (int calls = 0;; ++calls) {
      ASSERT_LT(calls, 1000) << "deadlines follow one another without end";
      const auto deadline = coordinator_->next_deadline();
      if (!deadline || *deadline > end) break;
      if (*deadline > clock_.mono_now())
        clock_.advance(std::chrono::duration_cast<std::chrono::microseconds>(*deadline - clock_.mono_now()));
      take(coordinator_->on_time(now()));
    }
    clock_.advance(std::chrono::duration_cast<std::chrono::microseconds>(end - clock_.mono_now()));
  }

  void deliver_request() {
    if (in_flight_.empty()) return;
    const size_t pick = random_.below(in_flight_.size());
    InFlight request = in_flight_[pick];
    if (!random_.chance(0.05 * trouble_)) in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(pick));
    if (random_.chance(0.05 * trouble_)) return;  // lost
    process(std::move(request.event), request.consumer);
  }

  void deliver_reply() {
    if (on_the_way_back_.empty()) return;
    const size_t pick = random_.below(on_the_way_back_.size());
    Reply reply = std::move(on_the_way_back_[pick]);
    on_the_way_back_.erase(on_the_way_back_.begin() + static_cast<std::ptrdiff_t>(pick));
    if (random_.chance(0.05 * trouble_)) return;  // lost
    for (Consumer& consumer : consumers_)
      if (consumer.phase != Consumer::Phase::kDown && consumer.awaited == reply.to) receive(consumer, reply);
  }

  // One request reaches the coordinator. A repeated one comes over another connection, so under another token.
  void process(Event event, int consumer) {
    RequestToken token{0};
    std::visit(
        [&](auto& request) {
          if constexpr (requires { request.token; }) {
            if (open_requests_.contains(request.token) || used_.contains(request.token))
              request.token = RequestToken(++last_token_);
            token = request.token;
          }
        },
        event);
    used_.insert(token);
    open_requests_[token] = event;
    const Event as_sent = event;
    const auto before = coordinator_->describe(kGroup);
    take(coordinator_->handle(std::move(event), now()));
    referee_.taken(as_sent, before, *coordinator_,
                   open_requests_.contains(token) ? std::optional(token) : std::nullopt);
    if (random_.chance(0.1)) {
      const ConnectionId connection = consumers_[static_cast<size_t>(consumer)].connection;
      take(coordinator_->handle(NextRequestWaits{connection}, now()));
    }
    say(consumers_[static_cast<size_t>(consumer)].name + ": " + name_of(as_sent));
  }

  void connect(Consumer& consumer) { consumer.connection = ConnectionId(++last_connection_); }

  // The coordinator hears at once that the connection is gone; requests on their way may still come after that.
  void disconnect(Consumer& consumer) {
    say(consumer.name + " loses its connection");
    take(coordinator_->handle(ConnectionClosed{consumer.connection}, now()));
    referee_.closed(consumer.connection);
    connect(consumer);
  }

  void disturb_consumer(int index) {
    Consumer& consumer = consumers_[static_cast<size_t>(index)];
    if (consumer.phase == Consumer::Phase::kDown) {
      consumer.phase = Consumer::Phase::kOut;  // a new process
      connect(consumer);
      consumer.member_id.clear();
      return;
    }
    const uint64_t dice = random_.below(10);
    if (dice < 3) {
      say(consumer.name + " crashes");
      consumer.phase = Consumer::Phase::kDown;
      // The machine may be gone, and with it whoever would tell.
      if (random_.chance(0.7)) disconnect(consumer);
    } else if (dice < 5) {
      LeaveRequest request = leave_request(consumer.member_id, consumer.instance_id);
      if (!consumer.member_id.empty()) enqueue(index, request);
      consumer.phase = Consumer::Phase::kDown;
    } else if (dice < 7) {
      ++consumer.subscription;
      if (consumer.phase == Consumer::Phase::kMember) send_join(index);
    } else if (dice < 9) {
      disconnect(consumer);
    } else {
      send_commit(index);
    }
  }

  // Requests that no good client sends.
  void send_nonsense() {
    std::vector<std::string> ids = {"", "stranger"};
    for (std::string& id : referee_.member_ids()) ids.push_back(std::move(id));
    const std::string id = ids[random_.below(ids.size())];
    const auto generation = static_cast<int32_t>(random_.below(12)) - 1;
    const auto index = static_cast<int>(random_.below(kConsumers));
    switch (random_.below(5)) {
      case 0:
        return enqueue(index, heartbeat_request(id, generation));
      case 1:
        return enqueue(index, sync_request(id, generation));
      case 2:
        return enqueue(index, commit_request(id, generation, 5000));
      case 3:
        return enqueue(index, join_request("", {}));
      default:
        return enqueue(index, leave_request("stranger", "i2"));
    }
  }

  // --- Consumers

  template <typename Request>
  void enqueue(int index, Request request) {
    request.token = RequestToken(++last_token_);
    if constexpr (requires { request.connection; })
      request.connection = consumers_[static_cast<size_t>(index)].connection;
    in_flight_.push_back({std::move(request), index});
  }

  // Send what the consumer waits for.
  template <typename Request>
  void ask(int index, Request request) {
    Consumer& consumer = consumers_[static_cast<size_t>(index)];
    enqueue(index, std::move(request));
    consumer.awaited = RequestToken(last_token_);
    consumer.asked_at = clock_.mono_now();
  }

  JoinRequest join_of(const Consumer& consumer) const {
    JoinRequest request = join_request(consumer.member_id, {"range", "sticky"});
    request.client_id = consumer.name;
    request.instance_id = consumer.instance_id;
    request.session_timeout_ms = consumer.session_timeout_ms;
    request.rebalance_timeout_ms = kRebalanceTimeout;
    request.requires_known_member_id = consumer.knows_member_id_required;
    request.supports_skip_assignment = true;
    for (Protocol& protocol : request.protocols) protocol.metadata = bytes(std::to_string(consumer.subscription));
    return request;
  }

  void send_join(int index) {
    Consumer& consumer = consumers_[static_cast<size_t>(index)];
    send_commit(index);  // as clients do before they give their partitions up; often too late
    consumer.phase = Consumer::Phase::kJoining;
    consumer.assignment.clear();
    ask(index, join_of(consumer));
  }

  void send_commit(int index) {
    const Consumer& consumer = consumers_[static_cast<size_t>(index)];
    CommitRequest request = commit_request(consumer.member_id, consumer.generation);
    request.instance_id = consumer.instance_id;
    request.offsets.clear();
    for (const int partition : partitions_of(consumer.assignment))
      request.offsets.push_back(
          {"t", PartitionId(partition), Offset(static_cast<int64_t>(random_.below(1000))), 0, consumer.name});
    if (!request.offsets.empty()) enqueue(index, request);
  }

  void tick(int index) {
    Consumer& consumer = consumers_[static_cast<size_t>(index)];
    const MonoTime time = clock_.mono_now();
    switch (consumer.phase) {
      case Consumer::Phase::kDown:
        return;
      case Consumer::Phase::kOut:
        return send_join(index);
      case Consumer::Phase::kJoining:
      case Consumer::Phase::kSyncing:
        // The request timed out; a client that was cut off in the middle of a sync joins again, too.
        if (time - consumer.asked_at > milliseconds{20'000}) send_join(index);
        return;
      case Consumer::Phase::kMember:
        if (time < consumer.heartbeat_at) return;
        consumer.heartbeat_at = time + milliseconds{1'500};
        HeartbeatRequest request = heartbeat_request(consumer.member_id, consumer.generation);
        request.instance_id = consumer.instance_id;
        return ask(index, request);
    }
  }

  void receive(Consumer& consumer, const Reply& reply) {
    const auto index = static_cast<int>(&consumer - consumers_.data());
    if (const auto* joined = std::get_if<JoinReply>(&reply.body)) {
      if (joined->error != GroupError::kNone) return obey(index, joined->error, joined->member_id);
      consumer.member_id = joined->member_id;
      consumer.generation = joined->generation;
      consumer.phase = Consumer::Phase::kSyncing;
      SyncRequest request = sync_request(consumer.member_id, consumer.generation);
      request.instance_id = consumer.instance_id;
      request.protocol_name = joined->protocol_name;
      if (!joined->skip_assignment && joined->leader == joined->member_id) request.assignments = divide(*joined);
      return ask(index, request);
    }
    if (const auto* synced = std::get_if<SyncReply>(&reply.body)) {
      if (synced->error != GroupError::kNone) return obey(index, synced->error, "");
      consumer.phase = Consumer::Phase::kMember;
      consumer.assignment = synced->assignment;
      return;
    }
    if (const auto* beat = std::get_if<HeartbeatReply>(&reply.body)) {
      if (beat->error != GroupError::kNone) obey(index, beat->error, "");
    }
  }

  // Everyone's part, marked with the round so that parts of two rounds can be told apart.
  std::vector<MemberAssignment> divide(const JoinReply& joined) {
    const std::string round = std::to_string(++rounds_) + "/";
    std::vector<std::string> parts(joined.members.size(), round);
    for (int partition = 0; partition < kPartitions; ++partition) {
      std::string& part = parts[static_cast<size_t>(partition) % parts.size()];
      part += (part.back() == '/' ? "" : ",") + std::to_string(partition);
    }
    std::vector<MemberAssignment> assignments;
    for (size_t i = 0; i < parts.size(); ++i) assignments.push_back({joined.members[i].member_id, bytes(parts[i])});
    return assignments;
  }

  void obey(int index, GroupError error, const std::string& told_id) {
    Consumer& consumer = consumers_[static_cast<size_t>(index)];
    switch (error) {
      case GroupError::kMemberIdRequired:
        consumer.member_id = told_id;
        return send_join(index);
      case GroupError::kUnknownMemberId:
        consumer.member_id.clear();
        return send_join(index);
      case GroupError::kIllegalGeneration:
      case GroupError::kRebalanceInProgress:
      case GroupError::kNotCoordinator:
        return send_join(index);
      case GroupError::kFencedInstanceId:
        consumer.phase = Consumer::Phase::kDown;
        return;
      case GroupError::kCoordinatorNotAvailable:
        ++refused_for_memory_;
        consumer.phase = Consumer::Phase::kOut;
        return;
      case GroupError::kGroupMaxSizeReached:
        consumer.member_id.clear();
        consumer.phase = Consumer::Phase::kOut;
        return;
      case GroupError::kNone:
      case GroupError::kInvalidGroupId:
      case GroupError::kInvalidSessionTimeout:
      case GroupError::kInvalidRequest:
      case GroupError::kInconsistentGroupProtocol:
      case GroupError::kAssignmentTooLarge:
      case GroupError::kOffsetMetadataTooLarge:
      case GroupError::kGroupIdNotFound:
      case GroupError::kNonEmptyGroup:
      case GroupError::kGroupSubscribedToTopic:
        ADD_FAILURE() << consumer.name << " did nothing to deserve error " << static_cast<int>(error);
    }
  }

  // Nobody fails any more: after a while every request is answered, and every consumer has its share.
  void calm_down() {
    if (testing::Test::HasFailure()) return;
    say("calm");
    for (size_t i = 0; i < consumers_.size(); ++i) {
      if (consumers_[i].phase != Consumer::Phase::kDown) continue;
      consumers_[i].phase = Consumer::Phase::kOut;
      consumers_[i].member_id.clear();
    }
    for (int round = 0; round < 4'000 && !testing::Test::HasFailure(); ++round) {
      pass(milliseconds{100});
      for (int i = 0; i < kConsumers; ++i) {
        if (consumers_[static_cast<size_t>(i)].phase == Consumer::Phase::kDown)
          consumers_[static_cast<size_t>(i)].phase = Consumer::Phase::kOut;
        tick(i);
      }
      while (!in_flight_.empty()) {
        InFlight request = std::move(in_flight_.front());
        in_flight_.erase(in_flight_.begin());
        process(std::move(request.event), request.consumer);
      }
      sync_log();
      while (!on_the_way_back_.empty()) {
        const Reply reply = std::move(on_the_way_back_.front());
        on_the_way_back_.erase(on_the_way_back_.begin());
        for (Consumer& consumer : consumers_)
          if (consumer.awaited == reply.to) receive(consumer, reply);
      }
      referee_.check(*coordinator_);
    }
    if (testing::Test::HasFailure()) return;
    pass(settings_.group_heartbeat_hold_max_ms);
    EXPECT_TRUE(open_requests_.empty()) << open_requests_.size() << " requests were never answered";
    const auto group = coordinator_->describe(kGroup);
    ASSERT_TRUE(group);
    EXPECT_EQ(group->state, GroupState::kStable);
    EXPECT_EQ(group->members.size(), static_cast<size_t>(kConsumers));
    for (const Consumer& consumer : consumers_) {
      EXPECT_EQ(consumer.phase, Consumer::Phase::kMember) << consumer.name;
      EXPECT_EQ(consumer.generation, group->generation) << consumer.name;
      EXPECT_EQ(partitions_of(consumer.assignment).size(), static_cast<size_t>(kPartitions / kConsumers));
      EXPECT_TRUE(has_member(*group, consumer.member_id)) << consumer.name;
    }
  }

  static std::string name_of(const Event& event) {
    struct Namer {
      std::string operator()(const JoinRequest& r) { return "join as '" + r.member_id + "'"; }
      std::string operator()(const SyncRequest& r) {
        return "sync " + r.member_id + " in " + std::to_string(r.generation) +
               (r.assignments.empty() ? "" : " with assignments");
      }
      std::string operator()(const HeartbeatRequest& r) {
        return "heartbeat " + r.member_id + " in " + std::to_string(r.generation);
      }
      std::string operator()(const LeaveRequest& r) { return "leave " + r.members.at(0).member_id; }
      std::string operator()(const CommitRequest& r) {
        return "commit " + r.member_id + " in " + std::to_string(r.generation);
      }
      std::string operator()(const DeleteGroupRequest&) { return "delete"; }
      std::string operator()(const DeleteOffsetsRequest&) { return "delete offsets"; }
      std::string operator()(const TopicDeleted&) { return "topic deleted"; }
      std::string operator()(const TransactionEnded&) { return "transaction ended"; }
      std::string operator()(const ConnectionClosed&) { return "connection closed"; }
      std::string operator()(const NextRequestWaits&) { return "next request waits"; }
    };
    return std::visit(Namer{}, event);
  }

  void say(const std::string& what) {
    const auto group = coordinator_->describe(kGroup);
    std::string line =
        std::to_string(clock_.mono_now().time_since_epoch() / milliseconds{1}) + " ms  " + what + "  -> ";
    line += group ? std::string(group_state_name(group->state)) + " " + std::to_string(group->generation) + ", " +
                        std::to_string(group->members.size()) + " members"
                  : "no group";
    if (verbose_) std::cerr << line << "\n";
    recent_.push_back(std::move(line));
    if (recent_.size() > 40) recent_.pop_front();
  }

  Random random_;
  const double trouble_;  // how likely troubles are in this world, up to 1
  const bool verbose_;
  GroupSettings settings_;
  FakeClock clock_;
  std::unique_ptr<GroupCoordinator> coordinator_;
  Referee referee_{kGroup, kPartitions, kRebalanceTimeout, settings_, clock_};

  std::vector<Record> log_;
  size_t synced_ = 0;
  std::deque<Held> held_;
  std::vector<InFlight> in_flight_;
  std::vector<Reply> on_the_way_back_;

  std::vector<Consumer> consumers_;
  uint64_t last_token_ = 0;
  uint64_t last_connection_ = 0;
  int rounds_ = 0;
  int refused_for_memory_ = 0;

  std::map<RequestToken, Event> open_requests_;
  std::set<RequestToken> used_;
  std::deque<std::string> recent_;
};

TEST(Simulator, PromisesHoldInEveryWorld) {
  const Seeds seeds = Seeds::of_environment();
  if (seeds.replayed) return Simulation(*seeds.replayed, true).run();
  uint64_t commits = 0;
  uint64_t rounds = 0;
  uint64_t evicted_by_connection = 0;
  uint64_t refused_for_memory = 0;
  for (uint64_t seed = seeds.first; seed < seeds.end(); ++seed) {
    SCOPED_TRACE(Seeds::how_to_replay(seed));
    Simulation simulation(seed, false);
    simulation.run();
    if (HasFailure()) return;
    commits += static_cast<uint64_t>(simulation.commits_accepted());
    rounds += static_cast<uint64_t>(simulation.rounds());
    evicted_by_connection += static_cast<uint64_t>(simulation.evicted_by_connection());
    refused_for_memory += static_cast<uint64_t>(simulation.refused_for_memory());
  }
  // Worlds in which nothing succeeds would prove nothing.
  EXPECT_GT(commits, 5 * seeds.count);
  EXPECT_GT(rounds, 5 * seeds.count);
  EXPECT_GT(evicted_by_connection, seeds.count / 20);
  EXPECT_GT(refused_for_memory, seeds.count / 20);
}

TEST(Simulator, TheSameSeedIsTheSameWorld) {
  Simulation one(7, false);
  Simulation two(7, false);
  one.run();
  two.run();
  EXPECT_FALSE(one.log().empty());
  EXPECT_EQ(one.log(), two.log());
}

}  // namespace
}  // namespace millrace::coord::internal
