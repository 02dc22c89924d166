#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "pipeline/internal/read_parts.h"

namespace millrace::pipeline {
namespace {

using KindReader = std::optional<StepKind> (*)(const YAML::Node&, const std::string&, Diagnostics&);
struct Kind {
  std::string_view name;
  KindReader read;  // null: of sql, which reads keys beside its own
};
constexpr std::array<Kind, 7> kKinds = {{{"sql", nullptr},
                                         {"validate", read_validate},
                                         {"features", read_features},
                                         {"aggregate", read_aggregate},
                                         {"label", read_label},
                                         {"train", read_train},
                                         {"predict", read_predict}}};
const std::vector<std::string> kKindsToCome = {"fill",  "clip",    "mask",    "dedup",  "join",  "parse_log",
                                               "alert", "monitor", "explode", "sample", "python"};

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

ColumnRule read_rule(const MapEntry& entry, const std::string& where, Diagnostics& diagnostics) {
  ColumnRule rule;
  rule.column = {entry.key, entry.place};
  MapReader reader(entry.value, fmt::format("{}: {}", where, entry.key), diagnostics);
  rule.required = reader.boolean("required").value_or(false);
  rule.type = reader.parsed("type", [](const std::string& text) { return columns::Type::parse(text); });
  rule.min = reader.number("min");
  rule.max = reader.number("max");
  rule.allowed = reader.texts("in");
  if (rule.min && rule.max && *rule.min > *rule.max)
    diagnostics.invalid(reader.place("min"), reader.where() + ": min is above max");
  reader.finish({"matches"});
  return rule;
}

// The parts of a step that are of the kind `kind`; nullopt after a report.
std::optional<StepKind> read_kind(const Kind& kind, MapReader& reader, Diagnostics& diagnostics) {
  if (kind.read == nullptr) return read_sql(reader, diagnostics);
  const auto node = reader.node(kind.name);
  const std::string where = fmt::format("{}: {}", reader.where(), kind.name);
  if (!node->IsMap()) {
    diagnostics.invalid(reader.place(kind.name), fmt::format("{}: expected a map of keys and values", where));
    return std::nullopt;
  }
  return kind.read(*node, where, diagnostics);
}

}  // namespace

std::optional<StepKind> read_sql(MapReader& step, Diagnostics& diagnostics) {
  SqlPlan sql;
  sql.sql = read_text(step, "sql");
  sql.time = read_time(step, diagnostics);
  sql.time_place = step.place("time");
  if (const auto watermark = step.duration("watermark")) sql.watermark_us = watermark->count();
  if (sql.sql.empty()) return std::nullopt;
  return sql;
}

std::optional<StepKind> read_validate(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  ValidatePlan validate;
  for (const MapEntry& entry : read_entries(node, where, diagnostics)) {
    if (entry.key == "schema")
      diagnostics.not_built_yet(entry.place, where + ": schema");
    else if (entry.key == "required" && !entry.value.IsMap())
      for (const std::string& column : read_texts(entry.value, where, diagnostics)) {
        ColumnRule rule;
        rule.column = {column, place_of(entry.value)};
        rule.required = true;
        validate.rules.push_back(std::move(rule));
      }
    else
      validate.rules.push_back(read_rule(entry, where, diagnostics));
  }
  return validate;
}

void read_step(const YAML::Node& node, Plan& plan, Diagnostics& diagnostics) {
  StepPlan step;
  step.place = place_of(node);
  std::string name = fmt::format("step {}", plan.steps.size() + 1);
  if (node.IsMap() && node["id"] && node["id"].IsScalar()) name = fmt::format("step '{}'", node["id"].Scalar());
  MapReader reader(node, name, diagnostics);
  if (!node.IsMap()) return;
  step.id = reader.required_text("id", "a name for the step").value_or("");
  if (reader.has("from")) {
    step.from = read_text(reader, "from");
  } else {
    reader.node("from");
    // The step before, or the only source.
    if (!plan.steps.empty())
      step.from = {plan.steps.back().id, step.place};
    else if (plan.sources.size() == 1)
      step.from = {plan.sources.front().name, step.place};
    else
      diagnostics.invalid(step.place, name + ": from is missing: expected a source or a step before");
  }

  std::vector<const Kind*> kinds;
  for (const Kind& kind : kKinds)
    if (reader.has(kind.name)) kinds.push_back(&kind);
  const bool to_come =
      std::any_of(kKindsToCome.begin(), kKindsToCome.end(), [&](const std::string& kind) { return reader.has(kind); });
  std::optional<StepKind> kind;
  if (kinds.size() == 1)
    kind = read_kind(*kinds.front(), reader, diagnostics);
  else if (kinds.size() > 1)
    diagnostics.invalid(
        step.place, fmt::format("{}: a step does one thing, this has {} and {}", name, kinds[0]->name, kinds[1]->name));
  std::vector<std::string> not_yet = kKindsToCome;
  if (kinds.empty()) {
    for (const std::string& known : kind_names()) reader.node(known);
    if (!to_come) {
      const size_t before = diagnostics.size();
      reader.finish(not_yet);
      if (diagnostics.size() == before)
        diagnostics.invalid(step.place, fmt::format("{}: says not what it does: expected one of {}", name,
                                                    fmt::join(kind_names(), ", ")));
      plan.unreadable.push_back(step.id);
      return;
    }
  } else {
    for (const std::string& known : kind_names()) reader.node(known);
  }
  reader.finish(not_yet);
  if (!kind) {
    plan.unreadable.push_back(step.id);
    return;
  }
  step.kind = std::move(*kind);
  plan.steps.push_back(std::move(step));
}

}  // namespace millrace::pipeline
