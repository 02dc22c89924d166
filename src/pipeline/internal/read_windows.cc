#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "pipeline/internal/read_parts.h"

namespace millrace::pipeline {
namespace {

std::vector<Window> read_window_list(MapReader& reader, Diagnostics& diagnostics) {
  std::vector<Window> windows;
  for (const Text& text : read_text_list(reader, "windows", diagnostics)) {
    if (text.value.ends_with("rows") || text.value.ends_with("row")) {
      diagnostics.not_built_yet(text.place, fmt::format("{}: windows counted in rows", reader.where()));
      continue;
    }
    const auto duration = parse_duration(text.value);
    if (!duration) {
      diagnostics.add(text.place, duration.error());
    } else if (duration->count() == 0) {
      diagnostics.invalid(text.place, fmt::format("{}: a window must be longer than 0", reader.where()));
    } else if (std::any_of(windows.begin(), windows.end(),
                           [&](const Window& window) { return window.name == text.value; })) {
      diagnostics.invalid(text.place, fmt::format("{}: the window {} stands here twice", reader.where(), text.value));
    } else {
      windows.push_back({text.value, duration->count()});
    }
  }
  return windows;
}

std::vector<Aggregate> read_aggregates(MapReader& reader, bool windowed, Diagnostics& diagnostics) {
  std::vector<Aggregate> aggregates;
  const auto node = reader.node("aggs");
  if (!node) return aggregates;
  const std::string where = reader.where() + ": aggs";
  for (const MapEntry& entry : read_entries(*node, where, diagnostics)) {
    Aggregate aggregate;
    aggregate.name = {entry.key, entry.place};
    if (entry.value.IsScalar()) {
      aggregate.expression = {entry.value.Scalar(), place_of(entry.value)};
    } else {
      MapReader inner(entry.value, fmt::format("{}: {}", where, entry.key), diagnostics);
      if (inner.required_text("agg", "an aggregate, as in count(*)")) aggregate.expression = read_text(inner, "agg");
      aggregate.where = read_text(inner, "where");
      if (windowed) {
        aggregate.windows = read_window_list(inner, diagnostics);
        aggregate.default_value = inner.number("default");
        inner.finish({"each"});
      } else {
        inner.finish();
      }
    }
    if (!aggregate.expression.empty()) aggregates.push_back(std::move(aggregate));
  }
  return aggregates;
}

}  // namespace

std::optional<StepKind> read_features(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  FeaturesPlan features;
  MapReader reader(node, where, diagnostics);
  if (!reader.has("key")) {
    reader.node("key");
    diagnostics.invalid(reader.place(), where + ": key is missing: expected the column whose history is kept");
  } else {
    features.key = read_text_list(reader, "key", diagnostics);
  }
  if (const auto asof =
          reader.one_of<AsOf>("asof", {{"before_event", AsOf::kBeforeEvent}, {"after_event", AsOf::kAfterEvent}}))
    features.asof = *asof;
  features.windows = read_window_list(reader, diagnostics);
  features.aggregates = read_aggregates(reader, true, diagnostics);
  features.default_value = reader.number("default");
  if (const auto last = reader.node("last"))
    for (const MapEntry& entry : read_entries(*last, where + ": last", diagnostics)) {
      if (entry.value.IsScalar())
        features.last.push_back({{entry.key, entry.place}, {entry.value.Scalar(), place_of(entry.value)}});
      else
        diagnostics.invalid(entry.place, fmt::format("{}: last: {} must be a column", where, entry.key));
    }
  if (const auto late = reader.one_of<LateRows>(
          "late", {{"score", LateRows::kScore}, {"update", LateRows::kUpdate}, {"reject", LateRows::kReject}}))
    features.late = *late;
  if (features.aggregates.empty() && features.last.empty())
    diagnostics.invalid(reader.place(), where + ": computes nothing: expected aggs or last");
  reader.finish({"each", "lag", "slope", "rate", "of", "emit", "use"});
  return features;
}

std::optional<StepKind> read_aggregate(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  AggregatePlan aggregate;
  MapReader reader(node, where, diagnostics);
  aggregate.by = read_text_list(reader, "by", diagnostics);
  aggregate.window_place = reader.place("window");
  if (const auto window = reader.node("window")) {
    MapReader inner(*window, where + ": window", diagnostics);
    if (const auto tumbling = inner.duration("tumbling")) {
      aggregate.tumbling_us = tumbling->count();
      if (aggregate.tumbling_us == 0)
        diagnostics.invalid(inner.place("tumbling"), where + ": a window must be longer than 0");
    } else if (!inner.has("hopping") && !inner.has("session") && !inner.has("tumbling")) {
      diagnostics.invalid(inner.place(), where + ": window says not which: expected {tumbling: 1d}");
    }
    inner.finish({"hopping", "session", "max"});
  } else {
    diagnostics.invalid(reader.place(), where + ": window is missing: expected {tumbling: 1d}");
  }
  aggregate.aggregates = read_aggregates(reader, false, diagnostics);
  if (aggregate.aggregates.empty())
    diagnostics.invalid(reader.place(), where + ": aggs is missing: expected {name: count(*)}");
  if (const auto emit = reader.text("emit"); emit && *emit != "close") {
    if (emit->starts_with("every"))
      diagnostics.not_built_yet(reader.place("emit"), fmt::format("{}: emit: {}", where, *emit));
    else
      diagnostics.invalid(reader.place("emit"), fmt::format("{}: emit cannot be '{}': expected close", where, *emit));
  }
  if (const auto gaps =
          reader.one_of<features::Gaps>("gaps", {{"none", features::Gaps::kNone}, {"zero", features::Gaps::kZero}}))
    aggregate.gaps = *gaps;
  if (const auto late = reader.one_of<LateAggregateRows>(
          "late", {{"drop", LateAggregateRows::kDrop}, {"reject", LateAggregateRows::kReject}}))
    aggregate.late = *late;
  if (const auto zone = reader.text("tz"); zone && *zone != "UTC")
    diagnostics.not_built_yet(reader.place("tz"), where + ": windows in other time zones than UTC");
  reader.finish();
  return aggregate;
}

}  // namespace millrace::pipeline
