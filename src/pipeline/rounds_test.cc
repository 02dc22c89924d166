#include "pipeline/internal/rounds.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "pipeline/internal/task_harness.h"

namespace millrace::pipeline {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

TrainPlan train_plan() {
  TrainPlan plan;
  plan.model = {"m", {}};
  plan.algorithm = {"logistic_regression", {}};
  plan.label = {"y", {}};
  plan.resolved_features = {{"x", learn::Scale::kStandard, false}};
  plan.promote = Promote::kAlways;
  return plan;
}

// The learner of a partition at a cut: a function of both.
std::shared_ptr<const learn::Trainer> trainer_at(int32_t partition, int64_t boundary) {
  learn::ModelSpec spec;
  spec.algorithm = "logistic_regression";
  spec.features = train_plan().resolved_features;
  auto trainer = std::make_shared<learn::Trainer>(learn::Trainer::make(spec).value());
  Random random(static_cast<uint64_t>(partition) + 1);
  for (int64_t row = 0; row < 20 * boundary; ++row) {
    const double x = random.uniform() * 10;
    learn::FeatureMatrix matrix(1);
    matrix.append(std::span(&x, 1));
    learn::Prediction prediction;
    const std::array ops = {learn::Op::predict(0), learn::Op::learn(0, x > 5 ? 1 : 0)};
    trainer->run(matrix.view(), ops, std::span(&prediction, 1));
  }
  return trainer;
}

Contribution cut(int32_t partition, int64_t boundary, bool makes_round = true, bool learned = true) {
  Contribution cut;
  cut.partition = PartitionId(partition);
  cut.boundary = boundary;
  cut.makes_round = makes_round;
  cut.learned = {"tx", partition, 0, 20 * boundary};
  cut.event_time_from_us = partition;
  cut.event_time_until_us = boundary;
  if (learned) cut.trainer = trainer_at(partition, boundary);
  return cut;
}

ContributionPtr cut_ptr(int32_t partition, int64_t boundary, bool makes_round = true) {
  return std::make_shared<const Contribution>(cut(partition, boundary, makes_round, false));
}

// boundary: partition@boundary of its parts.
std::string text_of(const std::optional<RoundState::Due>& due) {
  if (!due) return "none";
  std::string text = fmt::format("{}:", due->boundary);
  for (const ContributionPtr& part : due->parts) text += fmt::format(" {}@{}", part->partition.value(), part->boundary);
  return text;
}

TEST(RoundState, ClosesARoundWhenEveryPartitionIsPastItsBoundary) {
  RoundState state(2);
  EXPECT_TRUE(state.contribute(cut_ptr(0, 1)));
  EXPECT_EQ(text_of(state.due()), "none");
  EXPECT_THAT(state.pending(), Optional(1));
  EXPECT_FALSE(state.is_past(PartitionId(1), 1));
  EXPECT_TRUE(state.contribute(cut_ptr(1, 1)));
  EXPECT_EQ(text_of(state.due()), "1: 0@1 1@1");
  EXPECT_EQ(state.decided(1), std::nullopt);
  EXPECT_TRUE(state.decide(1, {7, 6}));
  EXPECT_EQ(text_of(state.due()), "none");
  EXPECT_THAT(state.decided(1), Optional(RoundDecision{7, 6}));
  EXPECT_EQ(state.decided(2), std::nullopt);
}

TEST(RoundState, TakesTheFirstCutBehindABoundaryThatAPartitionJumpedOver) {
  RoundState state(2);
  (void)state.contribute(cut_ptr(0, 1));
  (void)state.contribute(cut_ptr(0, 2));
  (void)state.contribute(cut_ptr(1, 4));
  EXPECT_EQ(text_of(state.due()), "1: 0@1 1@4");
  (void)state.decide(1, {1, 1});
  EXPECT_EQ(text_of(state.due()), "2: 0@2 1@4");
  (void)state.decide(2, {2, 1});
  EXPECT_EQ(text_of(state.due()), "none");
  (void)state.contribute(cut_ptr(0, 5));
  EXPECT_EQ(text_of(state.due()), "4: 0@5 1@4");
}

TEST(RoundState, LetsAPartitionPassThatHasNoNewsAndMakesNoRoundOfIt) {
  RoundState state(2);
  (void)state.contribute(cut_ptr(1, 3, false));
  EXPECT_EQ(state.pending(), std::nullopt);
  (void)state.contribute(cut_ptr(0, 3));
  EXPECT_EQ(text_of(state.due()), "3: 0@3 1@3");
}

TEST(RoundState, CountsTheFirstCutOfABoundaryAndNoneBehindARoundThatClosed) {
  RoundState state(1);
  const ContributionPtr first = cut_ptr(0, 2);
  EXPECT_TRUE(state.contribute(first));
  EXPECT_FALSE(state.contribute(cut_ptr(0, 2)));
  EXPECT_FALSE(state.contribute(cut_ptr(0, 1)));
  EXPECT_EQ(state.due()->parts, std::vector{first});
  EXPECT_TRUE(state.may_need(*first));
  EXPECT_TRUE(state.decide(2, {1, 0}));
  EXPECT_FALSE(state.decide(2, {9, 9}));
  EXPECT_FALSE(state.decide(1, {9, 9}));
  EXPECT_FALSE(state.may_need(*first));
  // Who waits at a boundary without a round of its own goes on with what is in force behind it.
  EXPECT_THAT(state.decided(1), Optional(RoundDecision{1, 0}));
}

TEST(RoundState, AsksAgainForARoundThatOnlyPassersCameTo) {
  RoundState state(1);
  EXPECT_TRUE(state.contribute(cut_ptr(0, 2, false)));
  EXPECT_TRUE(state.has(PartitionId(0), 2, false));
  EXPECT_FALSE(state.has(PartitionId(0), 2, true));
  EXPECT_FALSE(state.contribute(cut_ptr(0, 2, true)));
  EXPECT_EQ(text_of(state.due()), "2: 0@2");
}

TEST(RoundRecords, KeysAndValuesComeBackAsTheyWere) {
  const std::string series = round_series("p", "m", "whatever makes it");
  const Contribution original = cut(3, -5);
  const auto records = encode_contribution(series, original).value();
  ASSERT_EQ(records.size(), 2U);
  const RoundKey key = RoundKey::parse(records.back().key.text()).value();
  EXPECT_EQ(key, records.back().key);
  const Contribution back = decode_contribution(key, *records.back().value).value();
  EXPECT_EQ(back.partition, original.partition);
  EXPECT_EQ(back.boundary, -5);
  EXPECT_EQ(back.learned, original.learned);
  EXPECT_EQ(back.event_time_from_us, original.event_time_from_us);
  EXPECT_EQ(back.event_time_until_us, original.event_time_until_us);
  EXPECT_EQ(back.chunks, 1U);
  EXPECT_EQ(learn::Trainer::deserialize(*records[0].value).value().serialize(), original.trainer->serialize());
  const RoundRecord decision = encode_decision(series, 12, {4, 2});
  EXPECT_EQ(decode_decision(*decision.value).value(), (RoundDecision{4, 2}));
}

TEST(RoundRecords, RefuseWhatWasCutOrChanged) {
  for (const auto* key :
       {"", "p/m", "p/m/s", "p/m/s/x", "p/m/s/1/2", "p/m/s/1/-2/h", "p/m/s/1/2/h/600", "p/m/s/1/2/h/1/1"})
    EXPECT_FALSE(RoundKey::parse(key)) << key;
  const auto records = encode_contribution("p/m/s", cut(0, 1, true, false)).value();
  ASSERT_EQ(records.size(), 1U);
  const Bytes& head = *records[0].value;
  for (size_t i = 0; i < head.size(); ++i) {
    Bytes damaged = head;
    damaged[i] ^= std::byte{1};
    EXPECT_FALSE(decode_contribution(records[0].key, damaged)) << i;
    EXPECT_FALSE(decode_contribution(records[0].key, ByteView(head).first(i))) << i;
  }
}

constexpr std::string_view kSeries = "p/m/s";

// The topic of rounds, as several processes use it: they write to its end, and read it in order, each at its own pace.
class Topic final : public Outputs {
 public:
  Status write(const SinkRecord&) override { return {}; }
  Status dead_letter(const DeadLetter&) override { return {}; }
  Status round_record(const RoundRecord& record) override {
    if (torn && *torn == 0) return {};
    if (torn) --*torn;
    log.emplace_back(record);
    return {};
  }
  // Of each key only its last record stays, at its offset.
  void compact() {
    std::map<RoundKey, size_t> last;
    for (size_t i = 0; i < log.size(); ++i)
      if (log[i]) last[log[i]->key] = i;
    for (size_t i = 0; i < log.size(); ++i)
      if (log[i] && last.at(log[i]->key) != i) log[i].reset();
  }

  std::vector<std::optional<RoundRecord>> log;
  std::optional<size_t> torn;  // so many more records are written before the writer dies
};

// A process: follows the topic, and decides where it leads.
class Process {
 public:
  Process(Topic& topic, MemoryStore& store, int32_t partitions)
      : topic_(topic), rounds_({{"p", train_plan(), "{}"}, partitions, std::string(kSeries)}, store) {}

  Rounds& rounds() { return rounds_; }
  void follow() {
    for (; read_ < topic_.log.size(); ++read_) {
      const auto& record = topic_.log[read_];
      if (!record) continue;
      const Status applied = rounds_.apply(record->key, Offset(static_cast<int64_t>(read_)),
                                           record->value ? std::optional<ByteView>(*record->value) : std::nullopt);
      EXPECT_TRUE(applied) << applied.error().message;
    }
  }
  // Where the process dies while it decides the next round.
  enum class Dies { kNot, kBeforeTheDecision, kBeforeTheTombstones };
  // False: nothing was due.
  bool lead(Dies dies) {
    follow();
    const auto due = rounds_.due();
    if (due) {
      std::vector<ContributionPtr> parts;
      for (const ContributionPtr& part : due->parts) parts.push_back(fetch(part));
      const auto decision = rounds_.decide(due->boundary, parts);
      if (!decision) ADD_FAILURE() << decision.error().message;
      if (dies == Dies::kBeforeTheDecision) return true;
      topic_.log.emplace_back(encode_decision(std::string(kSeries), due->boundary, *decision));
      follow();
    }
    if (dies == Dies::kBeforeTheTombstones) return due.has_value();
    for (RoundKey& key : rounds_.take_garbage()) topic_.log.emplace_back(RoundRecord{std::move(key), std::nullopt});
    return due.has_value();
  }

 private:
  ContributionPtr fetch(const ContributionPtr& part) {
    const auto offsets = rounds_.chunks_of(*part);
    if (!offsets) {
      ADD_FAILURE() << "the chunks of " << part->partition.value() << "@" << part->boundary << " are gone";
      return part;
    }
    Bytes bytes;
    for (const Offset offset : *offsets) {
      const auto& record = topic_.log.at(static_cast<size_t>(offset.value()));
      if (!record) {
        ADD_FAILURE() << "a chunk was compacted away";
        return part;
      }
      bytes.insert(bytes.end(), record->value->begin(), record->value->end());
    }
    auto whole = std::make_shared<Contribution>(*part);
    if (!bytes.empty())
      whole->trainer = std::make_shared<const learn::Trainer>(learn::Trainer::deserialize(bytes).value());
    return whole;
  }

  Topic& topic_;
  Rounds rounds_;
  size_t read_ = 0;
};

std::vector<std::string> versions_of(MemoryStore& store) {
  std::vector<std::string> versions;
  for (const registry::VersionPtr& version : store.versions("m")) {
    std::string text = fmt::format("{} {} {} {} {}", version->info.version, version->info.rows,
                                   version->info.event_time_until_us.value_or(-1), version->info.metrics_json,
                                   registry::sha256_hex(version->blob));
    for (const registry::LearnedRange& range : version->info.learned)
      text += fmt::format(" {}[{},{})", range.partition, range.from, range.until);
    versions.push_back(std::move(text));
  }
  return versions;
}

// Per partition its cuts in order: some boundaries are jumped over, the first only says where the partition begins, and
// all come to the last one. A partition that learned nothing yet says so.
std::vector<std::vector<Contribution>> random_cuts(Random& random, int32_t partitions, int64_t boundaries) {
  std::vector<std::vector<Contribution>> cuts(static_cast<size_t>(partitions));
  for (int32_t p = 0; p < partitions; ++p) {
    auto& of_partition = cuts[static_cast<size_t>(p)];
    for (int64_t b = 1 + static_cast<int64_t>(random.below(2)); b <= boundaries; ++b)
      if (b == boundaries || random.chance(0.7))
        of_partition.push_back(cut(p, b, b == boundaries || !of_partition.empty(), random.chance(0.9)));
  }
  return cuts;
}

int64_t champion_behind(Rounds& rounds, int64_t boundary) {
  const auto champion = rounds.decided(boundary).value();
  if (!champion) return -1;
  return *champion ? (*champion)->version : 0;
}

TEST(Rounds, GiveTheVersionsOfOneProcessWhateverHappensToTheMany) {
  size_t versions = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto partitions = static_cast<int32_t>(1 + random.below(4));
    constexpr int64_t kBoundaries = 7;
    const auto cuts = random_cuts(random, partitions, kBoundaries);

    Topic none;
    MemoryStore expected;
    Rounds here({{"p", train_plan(), "{}"}, partitions, {}}, expected);
    for (const auto& of_partition : cuts)
      for (const Contribution& contribution : of_partition) ASSERT_TRUE(here.submit(contribution, none));

    Topic topic;
    MemoryStore store;
    std::vector<std::unique_ptr<Process>> processes;
    const auto start = [&] { return std::make_unique<Process>(topic, store, partitions); };
    for (int i = 0; i < 2; ++i) processes.push_back(start());
    std::vector<size_t> next(cuts.size());
    const auto done = [&] {
      for (size_t p = 0; p < cuts.size(); ++p)
        if (next[p] < cuts[p].size()) return false;
      return true;
    };
    while (!done()) {
      auto& process = processes[random.below(processes.size())];
      if (random.chance(0.6)) {
        // The worker of a partition takes its next cut. It may die while it writes, or before it commits: then its
        // partition is taken over, and it takes the cut again.
        const size_t p = random.below(cuts.size());
        if (next[p] == cuts[p].size()) continue;
        const bool dies = random.chance(0.2);
        if (dies) topic.torn = random.below(3);
        ASSERT_TRUE(process->rounds().submit(cuts[p][next[p]], topic));
        topic.torn.reset();
        if (!dies) ++next[p];
        if (dies) next[p] -= std::min<size_t>(next[p], random.below(3));
        if (dies) process = start();
      } else if (random.chance(0.7)) {
        const auto dies = random.chance(0.3)   ? Process::Dies::kBeforeTheDecision
                          : random.chance(0.3) ? Process::Dies::kBeforeTheTombstones
                                               : Process::Dies::kNot;
        (void)process->lead(dies);
        if (dies != Process::Dies::kNot) process = start();
      } else if (random.chance(0.3)) {
        topic.compact();
        process = start();
      } else {
        process->follow();
      }
    }
    while (processes[0]->lead(Process::Dies::kNot)) {
    }
    EXPECT_EQ(versions_of(store), versions_of(expected));
    versions += versions_of(store).size();

    // Who comes late learns the same, also of a compacted topic; and of that only decisions are left.
    topic.compact();
    Process late(topic, store, partitions);
    for (Process* process : {processes[1].get(), &late}) {
      process->follow();
      for (int64_t b = 1; b <= kBoundaries; ++b) {
        EXPECT_EQ(champion_behind(process->rounds(), b), champion_behind(here, b)) << b;
        EXPECT_GE(champion_behind(here, b), 0) << b;
      }
    }
    for (const auto& record : topic.log)
      EXPECT_FALSE(record && record->value && record->key.part) << record->key.text();
  }
  EXPECT_GT(versions, 200U);
}

TEST(Rounds, DecideARoundWithoutAVersionWhereNothingWasLearned) {
  Topic topic;
  MemoryStore store;
  Process process(topic, store, 2);
  for (int32_t p = 0; p < 2; ++p) ASSERT_TRUE(process.rounds().submit(cut(p, 1, true, false), topic));
  EXPECT_TRUE(process.lead(Process::Dies::kNot));
  EXPECT_THAT(store.versions("m"), IsEmpty());
  const auto champion = process.rounds().decided(1).value();
  ASSERT_TRUE(champion);
  EXPECT_EQ(*champion, nullptr);
}

TEST(Rounds, SendACutOnceAndAgainWhenItsPartitionIsTakenOver) {
  Topic topic;
  MemoryStore store;
  Process process(topic, store, 2);
  process.rounds().arrive(PartitionId(1));
  ASSERT_TRUE(process.rounds().submit(cut(0, 1), topic));
  process.follow();
  EXPECT_THAT(process.rounds().pending(), Optional(1));
  EXPECT_FALSE(process.rounds().is_past(PartitionId(1), 1));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(process.rounds().submit(cut(1, 1, false), topic));
  EXPECT_TRUE(process.rounds().is_past(PartitionId(1), 1));
  EXPECT_EQ(topic.log.size(), 4U);
  process.rounds().arrive(PartitionId(1));
  ASSERT_TRUE(process.rounds().submit(cut(1, 1, false), topic));
  EXPECT_EQ(topic.log.size(), 6U);
}

TEST(Rounds, LeadWhileTheTaskOfTheFirstPartitionIsHere) {
  Topic topic;
  MemoryStore store;
  Process process(topic, store, 2);
  EXPECT_FALSE(process.rounds().leads());
  process.rounds().arrive(PartitionId(1));
  EXPECT_FALSE(process.rounds().leads());
  // A new task may come before the old one goes.
  process.rounds().arrive(PartitionId(0));
  process.rounds().arrive(PartitionId(0));
  process.rounds().leave(PartitionId(0));
  EXPECT_TRUE(process.rounds().leads());
  process.rounds().leave(PartitionId(0));
  EXPECT_FALSE(process.rounds().leads());
}

}  // namespace
}  // namespace millrace::pipeline
