#include "pipeline/plan_reader.h"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "base/text.h"
#include "pipeline/internal/read_parts.h"

namespace millrace::pipeline {
namespace {

Result<FailRatio> parse_fail_ratio(const std::string& text) {
  const auto parts = split(text, '/');
  const auto wrong = [&] {
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is no failure ratio", text), "write it like 5%/1m");
  };
  if (parts.size() != 2 || !parts[0].ends_with('%')) return wrong();
  const auto percent = parse_double(parts[0].substr(0, parts[0].size() - 1));
  const auto window = parse_duration(parts[1]);
  if (!percent || *percent < 0 || *percent > 100 || !window || window->count() == 0) return wrong();
  return FailRatio{*percent / 100, window->count()};
}

void read_on_error(const YAML::Node& node, Defaults& defaults, Diagnostics& diagnostics) {
  MapReader reader(node, "defaults: on_error", diagnostics);
  defaults.dlq = reader.text_or("dlq", "");
  defaults.fail_ratio = reader.parsed("fail_ratio", parse_fail_ratio);
  reader.finish({"retries", "backoff"});
}

void read_defaults(const YAML::Node& node, Defaults& defaults, Diagnostics& diagnostics) {
  MapReader reader(node, "defaults", diagnostics);
  if (const auto guarantee =
          reader.one_of<Guarantee>("guarantee", {{"at_least_once", Guarantee::kAtLeastOnce}}, {"exactly_once"}))
    defaults.guarantee = *guarantee;
  if (const auto commit = reader.duration("commit")) {
    defaults.commit_us = commit->count();
    if (defaults.commit_us < 1'000)
      diagnostics.invalid(reader.place("commit"), "defaults: commit must be at least 1ms");
  }
  if (const auto batch = reader.node("batch")) {
    MapReader batch_reader(*batch, "defaults: batch", diagnostics);
    if (const auto rows = batch_reader.integer("rows", 1, 1'000'000)) defaults.batch_rows = *rows;
    if (const auto wait = batch_reader.duration("wait")) defaults.batch_wait_us = wait->count();
    batch_reader.finish();
  }
  if (const auto on_error = reader.node("on_error")) read_on_error(*on_error, defaults, diagnostics);
  reader.finish();
}

// The items of a list; a missing one is reported by the caller.
void for_each_item(MapReader& reader, std::string_view key, Diagnostics& diagnostics,
                   void (*read)(const YAML::Node&, Plan&, Diagnostics&), Plan& plan) {
  const auto list = reader.node(key);
  if (!list || list->IsNull()) return;
  if (!list->IsSequence()) {
    diagnostics.invalid(reader.place(key), fmt::format("{} must be a list: one '- ' each", key));
    return;
  }
  for (const auto& item : *list) read(item, plan, diagnostics);
}

void read_document(const YAML::Node& document, Plan& plan, Diagnostics& diagnostics) {
  MapReader reader(document, "the pipeline", diagnostics);
  plan.name = reader.required_text("pipeline", "its name").value_or("");
  plan.group = reader.text_or("group", "");
  if (const auto node = reader.node("defaults")) read_defaults(*node, plan.defaults, diagnostics);
  if (const auto sources = reader.node("sources"))
    for (const MapEntry& entry : read_entries(*sources, "sources", diagnostics)) read_source(entry, plan, diagnostics);
  for_each_item(reader, "steps", diagnostics, read_step, plan);
  for_each_item(reader, "sinks", diagnostics, read_sink, plan);
  reader.finish({"tests", "use", "order"});
}

}  // namespace

Text read_text(MapReader& reader, std::string_view key) {
  auto text = reader.text(key);
  return text ? Text(std::move(*text), reader.place(key)) : Text();
}

std::vector<Text> read_text_list(MapReader& reader, std::string_view key, Diagnostics& diagnostics) {
  std::vector<Text> texts;
  const auto node = reader.node(key);
  if (!node) return texts;
  if (node->IsSequence()) {
    for (const auto& item : *node) {
      if (item.IsScalar())
        texts.emplace_back(item.Scalar(), place_of(item));
      else
        diagnostics.invalid(place_of(item), fmt::format("{}: {}: expected a name", reader.where(), key));
    }
  } else if (node->IsScalar()) {
    texts.emplace_back(node->Scalar(), place_of(*node));
  } else {
    diagnostics.invalid(reader.place(key),
                        fmt::format("{}: {} must be a name or a list of names", reader.where(), key));
  }
  return texts;
}

Plan read_plan(std::string_view yaml, const VariableLookup& lookup, Diagnostics& diagnostics) {
  Plan plan;
  plan.file = diagnostics.file();
  auto text = substitute_variables(yaml, lookup);
  if (!text) {
    diagnostics.add({}, std::move(text).error());
    return plan;
  }
  try {
    const YAML::Node document = YAML::Load(*text);
    read_document(document, plan, diagnostics);
  } catch (const YAML::Exception& error) {
    diagnostics.invalid({error.mark.line + 1, error.mark.column + 1}, fmt::format("not YAML: {}", error.msg));
  }
  return plan;
}

}  // namespace millrace::pipeline
