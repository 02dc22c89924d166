#include "pipeline/lint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "base/byte_writer.h"
#include "env/posix_file_system.h"
#include "env/temporary_folder.h"

namespace millrace::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kSources = R"(pipeline: p
sources:
  tx:
    columns: {id: bigint, card: varchar, at: timestamp, amount: double, country: varchar, fraud: bigint}
    time: at
    key: card
steps:
)";

Linted lint_steps(const std::string& steps) { return lint(std::string(kSources) + steps, "p.yaml"); }

// The only finding, as "line:column: message (hint)".
std::string only_finding(const Linted& linted) {
  const auto& list = linted.diagnostics.list();
  if (list.size() != 1) {
    std::string all = std::to_string(list.size()) + " findings";
    for (const Diagnostic& diagnostic : list) all += "\n" + linted.diagnostics.to_string(diagnostic);
    return all;
  }
  const Diagnostic& d = list.front();
  return std::to_string(d.place.line) + ":" + std::to_string(d.place.column) + ": " + d.error.message + " (" +
         d.error.hint + ")";
}

TEST(Lint, FollowsColumnsFromStepToStep) {
  const Linted linted = lint_steps(R"(
  - {id: clean, from: tx, sql: "SELECT * EXCLUDE (country), country = 'GB' AS home FROM tx WHERE amount > 0"}
  - id: history
    features:
      key: card
      windows: [1h, 24h]
      aggs: {n: count(*), mean: avg(amount), big: {agg: count(*), where: "amount > 100", windows: [7d]}}
      last: {last_at: at}
  - {id: score, predict: {model: fraud@champion, as: p}}
  - {id: truth, label: {of: self, delay: 7d}}
  - id: fit
    train: {model: fraud, algorithm: logistic_regression, label: fraud, features: ["n_*", "*"], as: own}
sinks:
  - {from: fit, topic: out, key: card}
)");
  for (const Diagnostic& d : linted.diagnostics.list()) ADD_FAILURE() << linted.diagnostics.to_string(d);
  ASSERT_TRUE(linted.ok());
  const Plan& plan = linted.plan.plan;
  EXPECT_THAT(plan.find_step("history")->schema->names(),
              ElementsAre("id", "card", "at", "amount", "fraud", "home", "n_1h", "n_24h", "mean_1h", "mean_24h",
                          "big_7d", "last_at"));
  EXPECT_EQ(plan.find_step("fit")->schema->names().back(), "own");
  // A glob never takes the label, keys, times, or what predictions added.
  std::vector<std::string> features;
  for (const auto& feature : std::get<TrainPlan>(plan.find_step("fit")->kind).resolved_features)
    features.push_back(feature.name);
  EXPECT_THAT(features, ElementsAre("n_1h", "n_24h", "id", "amount", "home", "mean_1h", "mean_24h", "big_7d"));
  ASSERT_EQ(linted.plan.stages.size(), 1U);
  EXPECT_EQ(linted.plan.stages[0].partitions, 4);
  EXPECT_EQ(linted.plan.plan.defaults.dlq, "p.dlq");
}

TEST(Lint, SaysWhereAndWhatWasMeant) {
  EXPECT_EQ(only_finding(lint_steps("  - {id: a, from: txx, sql: \"SELECT * FROM tx\"}\n")),
            "8:19: step 'a': there is no step or source 'txx' (did you mean tx?)");
  EXPECT_EQ(only_finding(lint_steps("  - {id: a, form: tx, validate: {amount: {min: 0}}}\n")),
            "8:13: step 'a': unknown key 'form' (did you mean from?)");
  EXPECT_EQ(only_finding(lint_steps("  - {id: a, validate: {amont: {min: 0}}}\n")),
            "8:24: step 'a': there is no column 'amont' (did you mean amount?)");
  EXPECT_EQ(
      only_finding(lint_steps("  - id: a\n    features: {key: card, windows: [1h], aggs: {m: average(amount)}}\n"))
          .substr(0, 5),
      "9:52:");
}

TEST(Lint, RefusesLabelsThatTakeTextForNumbers) {
  const auto label = [](const std::string& value) {
    return "  - {id: a, label: {as: y, of: self, keys: [card], within: 1h, value: \"" + value + "\"}}\n";
  };
  EXPECT_THAT(only_finding(lint_steps(label("max(l.country)"))),
              HasSubstr("8:71: step 'a': value: max of country, which is of type varchar"));
  EXPECT_THAT(only_finding(lint_steps(label("sum(country) > 0"))), HasSubstr("sum of country"));
  EXPECT_TRUE(lint_steps(label("count(country)")).ok());
  EXPECT_TRUE(lint_steps(label("max(at)")).ok());
}

std::string two_models(const std::string& first, const std::string& second, const std::string& version) {
  const auto model = [&](const std::string& name, const std::string& every) {
    return "  - {id: p" + name + ", from: tx, predict: {model: " + name + "@champion, as: s" + name + version + "}}\n" +
           "  - {id: t" + name + ", from: tx, train: {model: " + name +
           ", algorithm: logistic_regression, label: fraud, features: [amount]" +
           (every.empty() ? "" : ", register: {every: " + every + "}") + "}}\n";
  };
  return model("m1", first) + model("m2", second);
}

TEST(Lint, RefusesModelsWhoseBoundariesWouldWaitForOneAnother) {
  EXPECT_EQ(only_finding(lint_steps(two_models("1h", "100 rows", ""))),
            "10:42: step 'pm2': the model 'm2' is served by event time and registered by rows, 'm1' of line 8 by time: "
            "partitions would wait for one another for ever (register both by time or both by rows, or serve one of "
            "them with version: latest)");
  EXPECT_THAT(only_finding(lint_steps(two_models("100 rows", "", ", version: event_time"))), HasSubstr("10:42: "));
  EXPECT_TRUE(lint_steps(two_models("1h", "1d", "")).ok());
  EXPECT_TRUE(lint_steps(two_models("100 rows", "70 rows", ", version: event_time")).ok());
  EXPECT_TRUE(lint_steps(two_models("1h", "100 rows", ", version: latest")).ok());
  // Over files it is registered at the end, live the latest is served: nobody waits.
  EXPECT_TRUE(lint_steps(two_models("100 rows", "", "")).ok());
}

TEST(Lint, RefusesEventTimeForAModelOfAnotherStage) {
  const Linted linted = lint(R"(pipeline: p
sources:
  a: {columns: {x: double, y: bigint, at: timestamp}, time: at}
  b: {columns: {x: double, at: timestamp}, time: at}
steps:
  - {id: fit, from: a, train: {model: m, algorithm: logistic_regression, label: y, features: [x]}}
  - {id: scored, from: b, predict: {model: m@champion, as: s, version: event_time}}
)",
                             "p.yaml");
  EXPECT_THAT(only_finding(linted),
              HasSubstr("7:44: step 'scored': the model 'm' is trained on another source's rows"));
}

TEST(Lint, PointsIntoSql) {
  const std::string finding = only_finding(lint_steps("  - {id: a, sql: \"SELECT amont FROM tx\"}\n"));
  EXPECT_THAT(finding, HasSubstr("8:"));
  EXPECT_THAT(finding, HasSubstr("amont"));
}

TEST(Lint, ReportsEverythingAtOnceInTheFilesOrder) {
  const Linted linted = lint_steps(R"(
  - {id: a, from: tx, sqll: "SELECT 1"}
  - {id: b, from: tx, validate: {nothing: {required: true}}}
sinks:
  - {from: b, topic: "not a topic"}
)");
  std::vector<int> lines;
  for (const Diagnostic& d : linted.diagnostics.list()) lines.push_back(d.place.line);
  EXPECT_THAT(lines, ElementsAre(9, 10, 12));
}

TEST(Lint, RefusesByNameWhatLaterVersionsBring) {
  const std::vector<std::string> steps = {
      "  - {id: a, from: tx, dedup: {keys: [id], within: 1h}}\n",
      "  - {id: a, from: tx, join: {with: tx, keys: [id]}}\n",
      "  - {id: a, from: tx, python: {file: f.py}}\n",
      "  - {id: a, from: tx, features: {key: card, windows: [30 rows], aggs: {n: count(*)}, last: {l: at}}}\n",
      "  - {id: a, from: tx, features: {key: card, windows: [1h], aggs: {n: count(*)}, emit: {every: 1d}}}\n",
      "  - {id: a, from: tx, features: {key: country, windows: [1h], aggs: {n: count(*)}}}\n",
      "  - {id: a, from: tx, aggregate: {by: [card], window: {hopping: [1h, 5m]}, aggs: {n: count(*)}}}\n",
      "  - {id: a, from: tx, aggregate: {by: [card], window: {tumbling: 1h}, aggs: {n: count(*)}, emit: every 10s}}\n",
      "  - {id: a, from: tx, predict: {model: m@champion, as: p, explain: 3}}\n",
      "  - {id: a, from: tx, predict: {model: m@champion, as: p, threshold: \"top 100 per 1d\"}}\n",
      "  - {id: a, from: tx, predict: {model: m@challenger, as: p}}\n",
      "  - {id: a, from: tx, train: {model: m, algorithm: logistic_regression, label: fraud, features: [country]}}\n",
      "  - {id: a, from: tx, train: {model: m, algorithm: mean, label: fraud, features: [id], per: id}}\n",
      "sinks:\n  - {from: tx, postgres: {table: t}}\n",
      "  - {id: a, from: tx, validate: {amount: {min: 0}}}\ntests:\n  - {name: t}\n"};
  for (const std::string& step : steps) {
    const Linted linted = lint_steps(step);
    ASSERT_FALSE(linted.ok()) << step;
    EXPECT_EQ(linted.diagnostics.list().front().error.code, Errc::kNotBuiltYet)
        << step << linted.diagnostics.to_error().message;
    EXPECT_THAT(linted.diagnostics.to_error().message, HasSubstr("not built yet")) << step;
  }
  const Linted guarantee = lint(R"(pipeline: p
defaults: {guarantee: exactly_once}
sources: {tx: {columns: {a: bigint}}}
sinks: [{from: tx, topic: out}]
)",
                                "p.yaml");
  EXPECT_EQ(only_finding(guarantee).substr(0, 42), "2:23: defaults: guarantee: exactly_once: n");
}

TEST(Lint, CatchesWhatYamlMakesOfExpressions) {
  EXPECT_THAT(only_finding(lint_steps(
                  "  - {id: a, features: {key: card, windows: [1h], aggs: {n: count(*), p: quantile(a, 1)}}}\n")),
              HasSubstr("YAML cut an expression at its comma"));
  EXPECT_THAT(
      only_finding(lint_steps("  - {id: a, features: {key: card, windows: [1h], aggs: {n: count(*)}, on: card}}\n")),
      HasSubstr("truth value"));
  EXPECT_THAT(only_finding(lint_steps("  - {id: a, id: b, validate: {amount: {min: 0}}}\n")), HasSubstr("twice"));
}

TEST(Lint, RefusesWindowsOverASourceWithoutTime) {
  const Linted linted = lint(R"(pipeline: p
sources: {tx: {columns: {card: varchar}}}
steps: [{id: a, features: {key: card, windows: [1h], aggs: {n: count(*)}}}]
)",
                             "p.yaml");
  EXPECT_THAT(only_finding(linted), HasSubstr("works in event time, and the source 'tx' has none"));
}

TEST(Lint, LetsSqlTellTheTime) {
  const Linted linted = lint(R"(pipeline: p
sources: {log: {format: raw}}
steps:
  - id: parsed
    sql: "SELECT split_part(value, ' ', 1) AS client, to_timestamp(split_part(value, ' ', 2)::BIGINT) AS at FROM log"
    time: at
    watermark: 5s
  - {id: a, features: {key: client, windows: [1h], aggs: {n: count(*)}}}
)",
                             "p.yaml");
  for (const Diagnostic& d : linted.diagnostics.list()) ADD_FAILURE() << linted.diagnostics.to_string(d);
}

TEST(Lint, WantsAUnitForNumbersThatAreTimes) {
  const Linted linted = lint(R"(pipeline: p
sources: {tx: {columns: {at: bigint}, time: at}}
sinks: [{from: tx, topic: out}]
)",
                             "p.yaml");
  EXPECT_THAT(only_finding(linted), HasSubstr("nothing says in which unit"));
}

TEST(Lint, ReplacesVariables) {
  const std::map<std::string, std::string, std::less<>> environment = {{"TOPIC", "payments"}};
  const Linted linted = lint(R"(pipeline: p
sources: {tx: {topic: "${TOPIC}", columns: {a: bigint}, partitions: ${N:-7}}}
sinks: [{from: tx, topic: out}]
)",
                             "p.yaml", [&](std::string_view name) -> std::optional<std::string> {
                               const auto found = environment.find(name);
                               if (found == environment.end()) return std::nullopt;
                               return found->second;
                             });
  ASSERT_TRUE(linted.ok()) << linted.diagnostics.to_error().message;
  EXPECT_EQ(linted.plan.plan.sources[0].topic.value, "payments");
  EXPECT_EQ(linted.plan.plan.sources[0].partitions, 7);
}

class LintSchema : public testing::Test {
 protected:
  // The only finding of a plan whose source `tx` has this schema file beside it.
  std::string finding(std::string_view schema, const std::string& source = "{schema: tx.schema.json}") {
    const std::string& folder = folder_->path();
    env::PosixFileSystem files;
    EXPECT_TRUE(env::write_file_atomically(files, folder + "/tx.schema.json", as_byte_view(schema)));
    return only_finding(lint("pipeline: p\nsources:\n  tx: " + source + "\nsinks: [{from: tx, topic: out}]\n",
                             folder + "/p.yaml", environment_variable, &files));
  }
  std::unique_ptr<env::TemporaryFolder> folder_ = env::TemporaryFolder::make("lint").value();
};

TEST_F(LintSchema, GivesTheSourceItsColumns) {
  EXPECT_THAT(finding(R"({"properties": {"id": {"type": "integer"}}})"), HasSubstr("0 findings"));
  EXPECT_THAT(finding(R"({"properties": {"id": {"type": "integer"}}})", "{schema: tx.schema.json, key: di}"),
              HasSubstr("3:37: source 'tx': key: there is no column 'di'"));
}

TEST_F(LintSchema, PointsAtTheFilesNameAndIntoTheFile) {
  EXPECT_THAT(finding(R"({"properties": {"id": {"type": "int"}}})"),
              HasSubstr("3:16: source 'tx': schema tx.schema.json: #/properties/id/type: expected a type"));
  EXPECT_THAT(finding("nothing"), HasSubstr("3:16: source 'tx': schema tx.schema.json: not JSON: "));
  EXPECT_THAT(finding("{}", "{schema: other.json}"), HasSubstr("3:16: source 'tx': schema other.json: "));
  EXPECT_THAT(finding(R"({"properties": {"id": {"type": "integer"}}})", "{format: csv, schema: tx.schema.json}"),
              HasSubstr("source 'tx': a JSON Schema is for json, not csv (give it columns)"));
  EXPECT_THAT(
      finding(R"({"properties": {"id": {"type": "integer"}}})", "{columns: {id: bigint}, schema: tx.schema.json}"),
      HasSubstr("source 'tx': schema gives the columns: keep one of the two"));
}

TEST(Lint, SurvivesWhatIsNoPipeline) {
  for (const std::string_view text :
       {"", "[1, 2]", "a: [", "pipeline: {a: b}", "pipeline: p\nsources: 7", "\t",
        "pipeline: p\nsteps: [1, [2], {id: {}}]", "pipeline: p\nsources: {a: {columns: 3}}"})
    EXPECT_FALSE(lint(text, "p.yaml").ok()) << text;
}

}  // namespace
}  // namespace millrace::pipeline
