#include "pipeline/internal/task.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "base/unix_time.h"
#include "pipeline/internal/task_harness.h"

namespace millrace::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string payment(int64_t at_s, int64_t card, double amount, int fraud) {
  return fmt::format(R"({{"card": {}, "at": {}, "amount": {}, "fraud": {}}})", card, 1'600'000'000 + at_s, amount,
                     fraud);
}

constexpr std::string_view kPayments = R"(pipeline: p
sources:
  tx:
    columns: {card: bigint, at: bigint, amount: double, fraud: bigint}
    time: {column: at, format: unix_s}
    watermark: 30s
    key: card
    partitions: 2
steps:
  - {id: clean, from: tx, sql: "SELECT * FROM tx WHERE amount > 0"}
  - {id: checked, validate: {amount: {max: 1000}}}
  - id: history
    features:
      key: card
      windows: [1m, 10m]
      aggs: {n: count(*), mean: avg(amount), big: {agg: count(*), where: "amount > 50"}}
      last: {last_amount: amount}
  - {id: scored, predict: {model: m@champion, as: p}}
  - {id: truth, label: {of: self, delay: 2m}}
  - id: fit
    train:
      model: m
      algorithm: logistic_regression
      label: fraud
      features: [amount, "n_*", "mean_*", "big_*", last_amount]
      preprocess: [{columns: numeric, scale: standard}]
      as: own
      register: {every: 10m}
      promote: always
  - {id: per_minute, from: checked, aggregate: {by: [card], window: {tumbling: 1m}, aggs: {n: count(*), s: sum(amount)}}}
sinks:
  - {from: scored, topic: scored, key: card}
  - {from: fit, topic: fitted}
  - {from: per_minute, topic: minutes, key: card}
)";

std::vector<std::string> random_payments(Random& random, size_t count) {
  std::vector<std::string> values;
  int64_t now_s = 0;
  for (size_t i = 0; i < count; ++i) {
    now_s += static_cast<int64_t>(random.below(6));
    const double amount = static_cast<double>(random.below(12'000)) / 100 - 2;
    if (random.chance(0.01))
      values.emplace_back("{\"card\": ");
    else if (random.chance(0.01))
      values.push_back(payment(now_s, 1, 5000, 0));
    else
      values.push_back(payment(now_s - static_cast<int64_t>(random.below(40)), static_cast<int64_t>(random.below(5)),
                               amount, amount > 80 && random.chance(0.7) ? 1 : 0));
  }
  return values;
}

struct Outcome {
  std::map<int32_t, std::map<size_t, std::vector<std::string>>> written;
  std::map<int32_t, std::vector<std::string>> dead;
  std::vector<std::string> versions;
};

Outcome outcome_of(TaskHarness& harness) {
  Outcome outcome;
  for (int32_t p = 0; p < harness.stage().partitions; ++p) {
    outcome.written[p] = harness.outputs(p).written;
    // The dead letters of one step are in order; how those of several steps lie between each other is not promised.
    outcome.dead[p] = harness.outputs(p).dead;
    std::sort(outcome.dead[p].begin(), outcome.dead[p].end());
    for (const StepCounters& counters : harness.task(p).counters())
      EXPECT_TRUE(counters.closes()) << counters.id << ": " << counters.in << " in, " << counters.out << " out";
  }
  for (const auto& version : harness.store().versions("m"))
    outcome.versions.push_back(version->info.blob_sha256 + std::string(as_text(version->blob)));
  return outcome;
}

TEST(Task, GivesTheSameResultHoweverRecordsAreCutAndStateIsMoved) {
  const uint64_t seed = 20'260'101;
  SCOPED_TRACE(seed);
  Random random(seed);
  std::map<int32_t, std::vector<std::string>> input;
  for (int32_t p = 0; p < 2; ++p) input[p] = random_payments(random, 1'500);

  TaskHarness whole(kPayments, true);
  for (int32_t p = 0; p < 2; ++p) whole.feed(p, input[p]);
  whole.resume();
  for (int32_t p = 0; p < 2; ++p) whole.end(p);
  whole.resume();
  for (int32_t p = 0; p < 2; ++p) ASSERT_TRUE(whole.task(p).ended());
  const Outcome expected = outcome_of(whole);
  EXPECT_GT(expected.versions.size(), 3U);
  EXPECT_GT(expected.written.at(0).at(2).size(), 100U);
  EXPECT_GT(expected.dead.at(0).size(), 5U);

  for (int trial = 0; trial < 6; ++trial) {
    TaskHarness cut(kPayments, true);
    std::map<int32_t, size_t> at;
    while (at[0] < input[0].size() || at[1] < input[1].size()) {
      const auto p = static_cast<int32_t>(random.below(2));
      const size_t count = std::min<size_t>(1 + random.below(trial < 3 ? 40 : 400), input[p].size() - at[p]);
      cut.feed(p, {input[p].begin() + static_cast<ptrdiff_t>(at[p]),
                   input[p].begin() + static_cast<ptrdiff_t>(at[p] + count)});
      at[p] += count;
      cut.resume();
    }
    for (int32_t p = 0; p < 2; ++p) cut.end(p);
    cut.resume();
    const Outcome outcome = outcome_of(cut);
    ASSERT_EQ(outcome.dead, expected.dead) << "trial " << trial;
    for (int32_t p = 0; p < 2; ++p)
      for (const auto& [sink, values] : expected.written.at(p))
        ASSERT_EQ(outcome.written.at(p).at(sink), values) << "trial " << trial << ", sink " << sink;
    ASSERT_EQ(outcome.versions, expected.versions) << "trial " << trial;
  }
}

TEST(Task, GoesOnFromTheChangelogAsIfNothingHadHappened) {
  const uint64_t seed = 7;
  Random random(seed);
  SCOPED_TRACE(seed);
  std::string yaml(kPayments);
  yaml.replace(yaml.find("partitions: 2"), 13, "partitions: 1");
  yaml.replace(yaml.find("register: {every: 10m}"), 22, "register: end         ");
  const std::vector<std::string> input = random_payments(random, 2'000);
  TaskHarness whole(yaml, true);
  whole.feed(0, input);
  whole.end(0);
  TaskHarness moved(yaml, true);
  for (size_t at = 0; at < input.size();) {
    const size_t count = std::min<size_t>(1 + random.below(150), input.size() - at);
    moved.feed(0, {input.begin() + static_cast<ptrdiff_t>(at), input.begin() + static_cast<ptrdiff_t>(at + count)});
    at += count;
    if (random.chance(0.5)) moved.save_and_restore(0);
  }
  moved.end(0);
  EXPECT_THAT(moved.outputs(0).dead, testing::UnorderedElementsAreArray(whole.outputs(0).dead));
  for (const auto& [sink, values] : whole.outputs(0).written)
    EXPECT_EQ(moved.outputs(0).written.at(sink), values) << sink;
  ASSERT_EQ(whole.store().versions("m").size(), 1U);
  EXPECT_EQ(moved.store().versions("m").at(0)->blob, whole.store().versions("m").at(0)->blob);
}

TEST(Task, ServesTheSameVersionsWhenItIsRestoredWhileItWaitsForOne) {
  const uint64_t seed = 11;
  SCOPED_TRACE(seed);
  Random random(seed);
  std::map<int32_t, std::vector<std::string>> input;
  for (int32_t p = 0; p < 2; ++p) input[p] = random_payments(random, 400);
  std::string yaml(kPayments);
  yaml.replace(yaml.find("every: 10m"), 10, "every: 2m");
  TaskHarness whole(yaml, true);
  for (int32_t p = 0; p < 2; ++p) whole.feed(p, input[p]);
  whole.resume();
  for (int32_t p = 0; p < 2; ++p) whole.end(p);
  whole.resume();

  TaskHarness moved(yaml, true);
  std::map<int32_t, size_t> at;
  int waited = 0;
  while (at[0] < input[0].size() || at[1] < input[1].size()) {
    const auto p = static_cast<int32_t>(random.below(2));
    // What a task has queued is lost with it, and read again: one that waits is given no more.
    if (!moved.task(p).blocked() && at[p] < input[p].size()) moved.feed(p, {input[p][at[p]++]});
    const bool waits = moved.task(p).blocked();
    if (random.chance(waits ? 0.2 : 0.02)) {
      waited += waits ? 1 : 0;
      moved.save_and_restore(p);
      EXPECT_EQ(moved.task(p).blocked(), waits);
    }
    for (int32_t other = 0; other < 2; ++other) ASSERT_TRUE(moved.task(other).resume());
    // Partitions that wait for each other come to the boundary in turn; a waiting one at the end of its input ends.
    for (int32_t done = 0; done < 2; ++done)
      if (at[done] == input[done].size()) moved.end(done);
  }
  moved.resume();
  EXPECT_GT(waited, 3);
  for (int32_t p = 0; p < 2; ++p) {
    ASSERT_TRUE(moved.task(p).ended());
    EXPECT_EQ(moved.outputs(p).written.at(0), whole.outputs(p).written.at(0));
  }
  ASSERT_EQ(moved.store().versions("m").size(), whole.store().versions("m").size());
  for (size_t i = 0; i < whole.store().versions("m").size(); ++i)
    EXPECT_EQ(moved.store().versions("m")[i]->blob, whole.store().versions("m")[i]->blob) << i;
}

TEST(Task, BuriesWhatAStepCannotTakeAndGoesOn) {
  TaskHarness harness(kPayments, false);
  harness.feed(0,
               {payment(0, 1, 10, 0), "no json", payment(1, 1, -3, 0), payment(2, 1, 2000, 0), payment(3, 1, 10, 7)});
  EXPECT_EQ(harness.outputs(0).written.at(0).size(), 2U);
  const auto& dead = harness.outputs(0).dead;
  ASSERT_EQ(dead.size(), 2U);
  EXPECT_THAT(dead[0], HasSubstr("tx@1: "));
  EXPECT_THAT(dead[1], HasSubstr("checked@3: column amount: 2000 is above 1000"));
  // Its label shows at the end of its wait only.
  for (int32_t p = 0; p < 2; ++p) harness.end(p);
  ASSERT_EQ(dead.size(), 3U);
  EXPECT_THAT(dead[2], HasSubstr("fit@4: column fraud: a label is 0 or 1, not 7"));
  const auto counters = harness.task(0).counters();
  EXPECT_EQ(step(counters, "tx").dead_letters, 1U);
  EXPECT_EQ(step(counters, "clean").filtered, 1U);
  EXPECT_EQ(step(counters, "checked").dead_letters, 1U);
  EXPECT_EQ(step(counters, "fit").dead_letters, 1U);
  for (const StepCounters& counter : counters) EXPECT_TRUE(counter.closes()) << counter.id;
}

TEST(Task, CountsWaitingRowsUntilTheyAreReleased) {
  TaskHarness harness(kPayments, false);
  harness.feed(0, {payment(0, 1, 10, 0), payment(10, 1, 10, 0), payment(149, 1, 10, 0)});
  EXPECT_EQ(step(harness.task(0).counters(), "truth").waiting, 3U);
  harness.feed(0, {payment(150, 1, 10, 0)});  // the watermark is at 120
  EXPECT_EQ(step(harness.task(0).counters(), "truth").waiting, 3U);
  EXPECT_EQ(step(harness.task(0).counters(), "truth").out, 1U);
}

TEST(Task, CountsRestoredRowsThatWaitAsComeIn) {
  TaskHarness harness(kPayments, false);
  harness.feed(0, {payment(0, 1, 10, 0), payment(10, 1, 10, 0), payment(149, 1, 10, 0)});
  harness.save_and_restore(0);
  EXPECT_EQ(step(harness.task(0).counters(), "truth").waiting, 3U);
  EXPECT_EQ(step(harness.task(0).counters(), "truth").in, 3U);
  harness.feed(0, {payment(150, 1, 10, 0)});
  for (const StepCounters& counter : harness.task(0).counters()) EXPECT_TRUE(counter.closes()) << counter.id;
}

TEST(Task, PredictsNothingBeforeThereIsAChampion) {
  TaskHarness harness(kPayments, false);
  harness.feed(0, {payment(0, 1, 10, 0)});
  EXPECT_THAT(harness.outputs(0).written.at(0).at(0), HasSubstr(R"("p":null,"p_flag":null,"p_version":0)"));
}

TEST(Task, ServesEachVersionFromItsCutOn) {
  TaskHarness harness(kPayments, true);
  std::vector<std::string> values;
  values.reserve(400);
  for (int64_t i = 0; i < 400; ++i)
    values.push_back(payment(i * 10, i % 3, static_cast<double>(10 + i % 90), i % 90 > 60 ? 1 : 0));
  for (int32_t p = 0; p < 2; ++p) harness.feed(p, values);
  harness.resume();
  for (int32_t p = 0; p < 2; ++p) harness.end(p);
  harness.resume();
  const auto& scored = harness.outputs(0).written.at(0);
  ASSERT_EQ(scored.size(), 400U);
  // 1,600,000,000 s is 400 s behind a multiple of ten minutes: the first boundary comes 200 s later, in watermarks that
  // lag 30 s. What the row that crosses it learned is in version 1, and version 1 scores the row behind it.
  EXPECT_THAT(scored[23], HasSubstr(R"("p_version":0)"));
  EXPECT_THAT(scored[24], HasSubstr(R"("p_version":1)"));
  EXPECT_THAT(scored[83], HasSubstr(R"("p_version":1)"));
  EXPECT_THAT(scored[84], HasSubstr(R"("p_version":2)"));
  const TrainCore& core = *harness.task(0).trainers().at("fit");
  EXPECT_EQ(core.live().rows() + 24, 400U);
}

constexpr std::string_view kBetween = R"(pipeline: p
sources:
  tx:
    columns: {card: bigint, at: bigint, amount: double, fraud: bigint}
    time: {column: at, format: unix_s}
    watermark: 30s
    key: card
    partitions: 1
steps:
  - {id: truth, from: tx, label: {of: self, delay: 2m}}
  - {id: judged, sql: "BETWEEN"}
  - {id: sound, validate: {y: {max: 1}}}
  - {id: fit, train: {model: m, algorithm: logistic_regression, label: y, features: [amount], as: own,
                      register: end, promote: always}}
sinks:
  - {from: fit, topic: fitted, columns: [card, at, y, own]}
)";

std::string between(std::string_view sql) {
  std::string yaml(kBetween);
  return yaml.replace(yaml.find("BETWEEN"), 7, sql);
}

Outcome run_whole(TaskHarness& harness, const std::vector<std::string>& input, size_t batch) {
  for (size_t at = 0; at < input.size(); at += batch)
    harness.feed(0, {input.begin() + static_cast<ptrdiff_t>(at),
                     input.begin() + static_cast<ptrdiff_t>(std::min(at + batch, input.size()))});
  harness.end(0);
  return outcome_of(harness);
}

TEST(Task, TrainsBehindStepsThatStandBehindTheLabel) {
  Random random(11);
  const std::vector<std::string> input = random_payments(random, 800);
  // The same training, once directly behind the label and once through steps that change nothing it learns from.
  std::string direct(kBetween);
  direct.erase(direct.find("  - {id: judged"), direct.find("  - {id: fit") - direct.find("  - {id: judged"));
  direct.replace(direct.find("label: y"), 8, "label: fraud");
  direct.replace(direct.find("[card, at, y, own]"), 18, "[card, at, fraud, own]");
  TaskHarness near(direct, true);
  Outcome expected = run_whole(near, input, 100);
  for (std::string& value : expected.written[0][0])
    if (const size_t at = value.find("\"fraud\""); at != std::string::npos) value.replace(at, 7, "\"y\"");
  ASSERT_GT(expected.written[0][0].size(), 700U);

  // A changed feature changes nothing: what is learned is what the prediction was made from.
  const std::string far = between("SELECT * REPLACE (0::DOUBLE AS amount), fraud AS y FROM truth");
  for (const size_t batch : {1U, 7U, 100U, 800U}) {
    TaskHarness harness(far, true);
    const Outcome outcome = run_whole(harness, input, batch);
    EXPECT_EQ(outcome.written.at(0).at(0), expected.written.at(0).at(0)) << "batches of " << batch;
    EXPECT_EQ(outcome.versions.size(), 1U);
  }
}

TEST(Task, LearnsNothingFromRowsThatAreFilteredBehindTheLabel) {
  Random random(12);
  const std::vector<std::string> input = random_payments(random, 800);
  const std::string yaml = between("SELECT *, fraud + (amount > 90)::BIGINT AS y FROM truth WHERE card <> 1");
  TaskHarness whole(yaml, true);
  const Outcome expected = run_whole(whole, input, 800);
  const auto counters = whole.task(0).counters();
  EXPECT_GT(step(counters, "judged").filtered, 50U);
  EXPECT_GT(step(counters, "sound").dead_letters, 10U);
  EXPECT_EQ(step(counters, "fit").in, step(counters, "sound").out);
  EXPECT_EQ(whole.task(0).trainers().at("fit")->trainer().model().rows_learned(), step(counters, "fit").out);

  // The predictions that rows wait with come through a restart.
  TaskHarness moved(yaml, true);
  for (size_t at = 0; at < input.size(); at += 90) {
    moved.feed(0, {input.begin() + static_cast<ptrdiff_t>(at),
                   input.begin() + static_cast<ptrdiff_t>(std::min(at + 90, input.size()))});
    moved.save_and_restore(0);
  }
  moved.end(0);
  EXPECT_EQ(moved.outputs(0).written.at(0), expected.written.at(0).at(0));
}

TEST(Task, TakesItsTimeFromASqlStep) {
  TaskHarness harness(R"(pipeline: p
sources: {log: {format: raw}}
steps:
  - id: parsed
    sql: "SELECT split_part(value, ' ', 1) AS client, split_part(value, ' ', 2) AS at FROM log WHERE value <> ''"
    time: {column: at, format: rfc3339}
  - {id: per_hour, aggregate: {by: [client], window: {tumbling: 1h}, aggs: {n: count(*)}}}
sinks: [{from: per_hour, topic: out}]
)",
                      true);
  harness.feed(0, {"a 2024-05-01T10:00:00Z", "a 2024-05-01T10:59:59Z", "", "b soon", "a 2024-05-01T11:00:00Z"});
  EXPECT_EQ(harness.outputs(0).written.at(0).size(), 1U);
  harness.end(0);
  EXPECT_THAT(harness.outputs(0).written.at(0), ElementsAre(HasSubstr(R"("n":2)"), HasSubstr(R"("n":1)")));
  ASSERT_EQ(harness.outputs(0).dead.size(), 1U);
  EXPECT_THAT(harness.outputs(0).dead[0], HasSubstr("parsed@3: "));
  for (const StepCounters& counter : harness.task(0).counters()) EXPECT_TRUE(counter.closes()) << counter.id;
}

TEST(Task, ForgetsKeysThatComeOnceHoweverManyTheyAre) {
  TaskHarness harness(R"(pipeline: p
sources: {tx: {columns: {card: bigint, at: bigint}, time: {column: at, format: unix_s}, key: card, partitions: 1}}
steps: [{id: seen, features: {key: card, windows: [10s], aggs: {n: count(*)}}}]
sinks: [{from: seen, topic: out}]
)",
                      false);
  // A batch of 1,000 keys a second, none of which comes again; each is of use for 11 s.
  for (int64_t second = 0; second < 100; ++second) {
    std::vector<std::string> batch;
    for (int64_t i = 0; i < 1'000; ++i)
      batch.push_back(fmt::format(R"({{"card": {}, "at": {}}})", second * 1'000 + i, 1'600'000'000 + second));
    harness.feed(0, batch);
  }
  EXPECT_LT(harness.state_pages(0), 40'000U);
}

TEST(Task, RefusesWindowsThatOtherConditionsFilled) {
  const auto plan = [](const std::string& step) {
    return R"(pipeline: p
sources: {tx: {columns: {card: bigint, at: bigint, x: double}, time: {column: at, format: unix_s}, partitions: 1}}
steps: [{id: w, )" +
           step + R"(}]
sinks: [{from: w, topic: out}]
)";
  };
  const auto features = [&](const std::string& first, const std::string& second) {
    return plan("features: {key: card, windows: [1h], aggs: {n: {agg: count(*), where: \"" + first +
                "\"}, m: {agg: count(*), where: \"" + second + "\"}}}");
  };
  const auto aggregate = [&](const std::string& where) {
    return plan("aggregate: {by: [card], window: {tumbling: 1h}, aggs: {n: {agg: count(*), where: \"" + where +
                "\"}}}");
  };
  const auto taken = [](const std::string& old_plan, const std::string& new_plan) {
    TaskHarness before(old_plan, true);
    before.feed(0, {R"({"card": 1, "at": 1600000000, "x": 1})"});
    TaskHarness after(new_plan, true);
    return take_up(before, after).has_value();
  };
  EXPECT_TRUE(taken(features("x > 1", "x > 2"), features("x > 1", "x > 2")));
  EXPECT_FALSE(taken(features("x > 1", "x > 2"), features("x > 1", "x > 3")));
  EXPECT_TRUE(taken(aggregate("x > 1"), aggregate("x > 1")));
  EXPECT_FALSE(taken(aggregate("x > 1"), aggregate("x < 1")));
}

TEST(Task, JoinsKeysSoThatNoTwoReadAlike) {
  TaskHarness harness(R"(pipeline: p
sources: {tx: {columns: {a: varchar, b: varchar}, partitions: 1}}
sinks: [{from: tx, topic: both, key: [a, b]}, {from: tx, topic: one, key: a}]
)",
                      true);
  harness.feed(
      0, {R"({"a": "x|y", "b": "z"})", R"({"a": "x", "b": "y|z"})", R"({"a": "x\\", "b": "|"})", R"({"a": "x"})"});
  EXPECT_THAT(harness.outputs(0).keys.at(0), testing::ElementsAre("x\\|y|z", "x|y\\|z", "x\\\\|\\|", "x|"));
  EXPECT_THAT(harness.outputs(0).keys.at(1), testing::ElementsAre("x|y", "x", "x\\", "x"));
}

TEST(Task, KeepsItsTimeThoughARecordComesFromTheFarFuture) {
  TaskHarness harness(R"(pipeline: p
sources: {tx: {columns: {x: double, y: bigint}, partitions: 1}}
steps: [{id: fit, train: {model: m, algorithm: logistic_regression, label: y, features: [x]}}]
sinks: [{from: fit, topic: out}]
)",
                      false);
  const std::string row = R"({"x": 1, "y": 1})";
  harness.feed(0, {row});
  harness.feed(0, {row}, 0, us_from_ms(std::numeric_limits<int64_t>::max()) - 10);
  EXPECT_EQ(harness.task(0).watermark_us(), 1'700'000'000'000'000);
  EXPECT_TRUE(harness.store().versions("m").empty());
  // The next day's first record makes the first day's version.
  harness.feed(0, {row}, 0, 1'700'086'400'000'000);
  harness.resume();
  EXPECT_EQ(harness.store().versions("m").size(), 1U);
  EXPECT_EQ(harness.outputs(0).written.at(0).size(), 3U);
}

TEST(Task, RefusesAChangelogOfAnotherPlan) {
  TaskHarness harness(kPayments, false);
  state::Restored restored;
  restored.next_offset = Offset(7);
  restored.pages[{{"history", 99}, "k", 0}] = Bytes{std::byte{1}};
  const Status status = harness.task(0).restore(restored);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kNotBuiltYet);
}

}  // namespace
}  // namespace millrace::pipeline
