#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/internal/task_harness.h"

namespace millrace::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kOrders = R"(pipeline: shop
sources:
  orders: {columns: {who: varchar, at: bigint, spent: double}, time: {column: at, format: unix_s}, key: who, partitions: 1}
steps:
  - {id: again, from: orders, label: {as: returned, of: self, keys: [who], within: 100s, value: "VALUE", release: RELEASE}}
sinks: [{from: again, topic: out}]
)";

std::string orders_plan(const std::string& value, const std::string& release) {
  std::string yaml(kOrders);
  yaml.replace(yaml.find("VALUE"), 5, value);
  yaml.replace(yaml.find("RELEASE"), 7, release);
  return yaml;
}

std::string order(const std::string& who, int64_t at_s, double spent) {
  return fmt::format(R"({{"who": "{}", "at": {}, "spent": {}}})", who, 1'600'000'000 + at_s, spent);
}

// who@time=label, in the order of release.
std::vector<std::string> labels(const std::vector<std::string>& rows) {
  std::vector<std::string> result;
  for (const std::string& row : rows) {
    const auto field = [&](const std::string& name) {
      const size_t begin = row.find("\"" + name + "\":") + name.size() + 3;
      return row.substr(begin, row.find_first_of(",}", begin) - begin);
    };
    result.push_back(field("who").substr(1, 1) + "@" + std::to_string(std::stoll(field("at")) - 1'600'000'000) + "=" +
                     field("returned"));
  }
  return result;
}

TEST(Label, CountsRowsOfTheKeyBehindEachRowUpToItsEnd) {
  TaskHarness harness(orders_plan("count(*) > 0", "end"), true);
  harness.feed(0, {order("a", 0, 1), order("b", 10, 1), order("a", 100, 1), order("b", 111, 1), order("a", 300, 1)});
  harness.end(0);
  // a's second order is exactly 100 s behind its first: inside. b's is 101 s behind: outside.
  EXPECT_THAT(labels(harness.outputs(0).written.at(0)),
              ElementsAre("a@0=true", "b@10=false", "a@100=false", "b@111=false", "a@300=false"));
}

TEST(Label, DoesNotCountRowsOfTheSameMoment) {
  TaskHarness harness(orders_plan("count(*)", "end"), true);
  harness.feed(0, {order("a", 0, 1), order("a", 0, 1), order("a", 50, 1), order("a", 60, 1)});
  harness.end(0);
  EXPECT_THAT(labels(harness.outputs(0).written.at(0)), ElementsAre("a@0=2", "a@0=2", "a@50=1", "a@60=0"));
}

TEST(Label, ReleasesPositivesAtTheirFirstMatchWhenToldTo) {
  TaskHarness harness(orders_plan("count(*) > 0", "first_match"), true);
  harness.feed(0, {order("a", 0, 1), order("b", 10, 1), order("a", 20, 1)});
  EXPECT_THAT(labels(harness.outputs(0).written.at(0)), ElementsAre("a@0=true"));
  harness.end(0);
  EXPECT_THAT(labels(harness.outputs(0).written.at(0)), ElementsAre("a@0=true", "b@10=false", "a@20=false"));
}

TEST(Label, AggregatesAColumnOfTheMatchingRows) {
  TaskHarness harness(orders_plan("max(l.spent) >= 7", "end"), true);
  harness.feed(0, {order("a", 0, 9), order("a", 50, 6.5), order("a", 90, 7), order("a", 95, 1)});
  harness.end(0);
  EXPECT_THAT(labels(harness.outputs(0).written.at(0)),
              ElementsAre("a@0=true", "a@50=true", "a@90=false", "a@95=null"));
}

TEST(Label, CountsWhatIsThereWhateverItsType) {
  TaskHarness harness(orders_plan("count(l.who)", "end"), true);
  harness.feed(0, {order("a", 0, 1), order("a", 50, 1), order("a", 60, 1)});
  harness.end(0);
  EXPECT_THAT(labels(harness.outputs(0).written.at(0)), ElementsAre("a@0=2", "a@50=1", "a@60=0"));
}

TEST(Label, OfALateRowFindsTheTruthThatCameBeforeIt) {
  // The watermark lags 50 s: rows up to 50 s late find all there is, and each is counted.
  std::string plan = orders_plan("count(*) > 0", "end");
  plan.replace(plan.find("key: who"), 8, "watermark: 50s, key: who");
  TaskHarness harness(plan, true);
  harness.feed(0, {order("a", 150, 1), order("a", 240, 1), order("b", 301, 1), order("a", 100, 1), order("a", 215, 1)});
  const auto counters = step(harness.task(0).counters(), "again");
  EXPECT_EQ(counters.late, 2U);
  harness.end(0);
  // a@215 is 36 s late. a@100 is 151 s late: its truth at 150 was at hand no more.
  EXPECT_THAT(labels(harness.outputs(0).written.at(0)),
              ElementsAre("a@150=true", "a@100=false", "a@215=true", "a@240=false", "b@301=false"));
}

TEST(Label, KeepsTruthForRowsThatComeLate) {
  for (const bool in_order : {true, false}) {
    // Without a watermark of its own the source's rows may be an eighth of `within` late: 12.5 s.
    TaskHarness harness(orders_plan("count(*) > 0", "end"), true);
    std::vector<std::string> rows = {order("a", 150, 1), order("a", 289, 1), order("b", 300, 1)};
    rows.insert(in_order ? rows.begin() + 1 : rows.end(), order("a", 288, 1));
    harness.feed(0, rows);
    EXPECT_EQ(step(harness.task(0).counters(), "again").late, in_order ? 0U : 1U);
    harness.save_and_restore(0);
    harness.end(0);
    EXPECT_THAT(labels(harness.outputs(0).written.at(0)),
                ElementsAre("a@150=false", "a@288=true", "a@289=false", "b@300=false"));
  }
}

constexpr std::string_view kChargebacks = R"(pipeline: p
sources:
  tx: {columns: {id: bigint, at: bigint}, time: {column: at, format: unix_s}, partitions: 1}
  back: {columns: {id: bigint, at: bigint}, time: {column: at, format: unix_s}, idle: never, partitions: 1}
steps:
  - {id: truth, from: tx, label: {as: fraud, of: back, keys: [id], within: 100s, value: count(*) > 0}}
sinks: [{from: truth, topic: out}]
)";

std::string event(int64_t id, int64_t at_s) {
  return fmt::format(R"({{"id": {}, "at": {}}})", id, 1'600'000'000 + at_s);
}

TEST(Label, WaitsForTheTruthOfASecondSource) {
  TaskHarness harness(kChargebacks, true);
  harness.feed(0, {event(1, 0), event(2, 10), event(3, 500)}, 0);
  EXPECT_TRUE(harness.outputs(0).written[0].empty());
  harness.feed(0, {event(2, 60)}, 1);
  harness.end(0);
  EXPECT_THAT(harness.outputs(0).written.at(0), ElementsAre(HasSubstr(R"("id":1,"at":1600000000,"fraud":false)"),
                                                            HasSubstr(R"("id":2,"at":1600000010,"fraud":true)"),
                                                            HasSubstr(R"("id":3,"at":1600000500,"fraud":false)")));
}

TEST(Label, OfASilentSecondSourceHoldsNothingUpButItsOwnRows) {
  TaskHarness harness(kChargebacks, false);
  harness.feed(0, {event(1, 0), event(2, 10), event(3, 500)}, 0);
  EXPECT_EQ(step(harness.task(0).counters(), "truth").waiting, 3U);
  harness.feed(0, {event(9, 300)}, 1);
  EXPECT_EQ(step(harness.task(0).counters(), "truth").waiting, 1U);
}

TEST(Label, FallsSilentBehindAWaitForAVersionToo) {
  TaskHarness harness(R"(pipeline: p
sources:
  tx: {columns: {id: bigint, at: bigint}, time: {column: at, format: unix_s}, key: id, partitions: 2}
  back: {columns: {id: bigint, at: bigint}, time: {column: at, format: unix_s}, key: id, partitions: 2}
steps:
  - {id: scored, from: tx, predict: {model: m@champion, as: p, version: event_time}}
  - {id: truth, label: {as: fraud, of: back, keys: [id], within: 10s, value: count(*) > 0}}
  - {id: fit, train: {model: m, algorithm: logistic_regression, label: fraud, features: [at], register: {every: 3 rows}}}
sinks: [{from: truth, topic: out}]
)",
                      false);
  const std::vector<std::string> rows = {event(1, 0), event(2, 5), event(3, 500)};
  harness.feed(0, rows);
  ASSERT_TRUE(harness.task(0).blocked());
  EXPECT_TRUE(harness.task(0).set_idle(1, true));
  EXPECT_TRUE(harness.outputs(0).written[0].empty());
  harness.feed(1, rows);
  harness.resume();
  ASSERT_FALSE(harness.task(0).blocked());
  EXPECT_TRUE(harness.task(0).set_idle(1, true));
  EXPECT_EQ(harness.outputs(0).written.at(0).size(), 2U);
}

// A commit of every partition's state, as it stands.
void expect_commits(TaskHarness& harness) {
  state::ChangelogGroup group(1);
  harness.task(0).collect(group);
  EXPECT_GT(group.size(), 0U);
  for (const StepCounters& counter : harness.task(0).counters()) EXPECT_TRUE(counter.closes()) << counter.id;
}

TEST(Label, RefusesRowsWhoseKeyIsTooLongToKeep) {
  for (const size_t bytes : {33'000U, 40'000U, 70'000U}) {
    TaskHarness harness(orders_plan("count(*) > 0", "end"), true);
    harness.feed(0, {order(std::string(bytes, 'x'), 0, 1), order("a", 1, 1)});
    expect_commits(harness);
    EXPECT_THAT(harness.outputs(0).dead, ElementsAre(HasSubstr("again@0: the label's key")));
    harness.end(0);
    EXPECT_THAT(labels(harness.outputs(0).written.at(0)), ElementsAre("a@1=false"));
  }
}

TEST(Label, KeepsRowsThatFillAPageAndRefusesThoseThatDoNotFit) {
  // The key is in the row and again beside it: 32,000 twice fit into a page of 64 KiB, with a note beside them not.
  std::string plan = orders_plan("count(*) > 0", "end");
  plan.replace(plan.find("spent: double"), 13, "spent: double, note: varchar");
  TaskHarness harness(plan, true);
  const auto noted = [](int64_t at_s, size_t bytes) {
    return fmt::format(R"({{"who": "{}", "at": {}, "spent": 1, "note": "{}"}})", std::string(32'000, 'x'),
                       1'600'000'000 + at_s, std::string(bytes, 'n'));
  };
  harness.feed(0, {noted(0, 1'400), noted(10, 1'600)});
  EXPECT_THAT(harness.outputs(0).dead, ElementsAre(HasSubstr("again@1: the row is too large to wait")));
  harness.save_and_restore(0);
  EXPECT_EQ(step(harness.task(0).counters(), "again").waiting, 1U);
  harness.end(0);
  EXPECT_EQ(harness.outputs(0).written.at(0).size(), 1U);
}

TEST(Label, RefusesTruthWhoseKeyIsTooLongToKeep) {
  std::string plan(kChargebacks);
  for (size_t at = plan.find("id: bigint"); at != std::string::npos; at = plan.find("id: bigint", at))
    plan.replace(at, 10, "id: varchar");
  TaskHarness harness(plan, true);
  const std::string row = fmt::format(R"({{"id": "{}", "at": 1600000000}})", std::string(40'000, 'x'));
  harness.feed(0, {row}, 0);
  harness.feed(0, {R"({"id": "a", "at": 1600000000})", row}, 1);
  harness.end(0);
  expect_commits(harness);
  EXPECT_THAT(harness.outputs(0).dead, testing::UnorderedElementsAre(HasSubstr("truth@0: the label's key"),
                                                                     HasSubstr("truth@1: the label's key")));
}

constexpr std::string_view kWaits = R"(pipeline: p
sources:
  tx: {columns: {id: bigint, ts: bigint, a: bigint, b: bigint}, time: {column: ts, format: unix_s}, partitions: 1}
steps:
  - {id: picked, from: tx, sql: "SELECT COLUMNS FROM tx"}
  - {id: truth, label: {of: self, delay: 1h}}
  - {id: fit, train: {model: m, algorithm: logistic_regression, label: b, features: [a], register: end}}
sinks: [{from: truth, topic: out}]
)";

std::string waits(std::string_view columns) {
  std::string yaml(kWaits);
  return yaml.replace(yaml.find("COLUMNS"), 7, columns);
}

TEST(Label, RefusesRowsThatWaitWithOtherColumnsThanThePlanHasNow) {
  const std::string plan = waits("id, ts, a, b");
  const std::string row = R"({"id": 1, "ts": 1600000000, "a": 111, "b": 1})";
  TaskHarness undisturbed(plan, true);
  undisturbed.feed(0, {row});
  TaskHarness same(plan, true);
  EXPECT_TRUE(take_up(undisturbed, same));
  same.end(0);
  EXPECT_THAT(same.outputs(0).written.at(0), ElementsAre(HasSubstr(R"("a":111,"b":1)")));

  const std::string second =
      "  - {id: fit2, from: truth, train: {model: m2, algorithm: logistic_regression, label: b, "
      "features: [a], register: end}}\nsinks";
  std::string two_trainers = plan;
  two_trainers.replace(two_trainers.find("sinks"), 5, second);
  for (const std::string& changed : {waits("id, ts, b, a"), waits("id, ts, a::DECIMAL(12,2) AS a, b"),
                                     waits("id, ts, a, b, 1 AS c"), two_trainers}) {
    TaskHarness before(plan, true);
    before.feed(0, {row});
    TaskHarness after(changed, true);
    const Status taken = take_up(before, after);
    ASSERT_FALSE(taken) << changed;
    EXPECT_EQ(taken.error().code, Errc::kNotBuiltYet);
  }
}

}  // namespace
}  // namespace millrace::pipeline
