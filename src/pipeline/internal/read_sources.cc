#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "pipeline/internal/read_parts.h"

namespace millrace::pipeline {
namespace {

void read_columns(MapReader& reader, SourcePlan& source, Diagnostics& diagnostics) {
  const auto node = reader.node("columns");
  if (!node) return;
  std::vector<columns::Field> fields;
  const std::string where = reader.where() + ": columns";
  for (const MapEntry& entry : read_entries(*node, where, diagnostics)) {
    if (!entry.value.IsScalar()) {
      diagnostics.invalid(entry.place, fmt::format("{}: {} needs a type", where, entry.key),
                          "bigint, double, decimal(p,s), boolean, timestamp or varchar");
      continue;
    }
    if (entry.key.starts_with('_')) {
      diagnostics.invalid(entry.place, fmt::format("{}: names that begin with _ are the system's", where));
      continue;
    }
    auto type = columns::Type::parse(entry.value.Scalar());
    if (type)
      fields.push_back({entry.key, *type});
    else
      diagnostics.add(place_of(entry.value), std::move(type).error());
  }
  source.columns = columns::Schema(std::move(fields));
}

void read_idle(MapReader& reader, SourcePlan& source, Diagnostics& diagnostics) {
  const auto text = reader.text("idle");
  if (!text) return;
  if (*text == "never") {
    source.idle_us.reset();
    return;
  }
  auto duration = parse_duration(*text);
  if (duration)
    source.idle_us = duration->count();
  else
    diagnostics.add(reader.place("idle"), std::move(duration).error());
}

}  // namespace

std::optional<format::TimeColumn> read_time(MapReader& reader, Diagnostics& diagnostics) {
  const auto node = reader.node("time");
  if (!node) return std::nullopt;
  if (node->IsScalar()) return format::TimeColumn{node->Scalar(), {}};
  MapReader time(*node, reader.where() + ": time", diagnostics);
  const auto column = time.required_text("column", "the column that holds the event's time");
  const std::string format = time.text_or("format", "");
  const std::string zone = time.text_or("tz", "");
  format::TimeColumn result;
  result.column = column.value_or("");
  if (!format.empty() || !zone.empty()) {
    auto parsed = format::TimeFormat::parse(format.empty() ? "rfc3339" : format, zone);
    if (parsed)
      result.format = std::move(*parsed);
    else
      diagnostics.add(time.place(format.empty() ? "tz" : "format"), std::move(parsed).error());
  }
  time.finish();
  if (!column) return std::nullopt;
  return result;
}

void read_source(const MapEntry& entry, Plan& plan, Diagnostics& diagnostics) {
  SourcePlan source;
  source.name = entry.key;
  source.place = entry.place;
  MapReader reader(entry.value, fmt::format("source '{}'", entry.key), diagnostics);
  source.topic = read_text(reader, "topic");
  if (const auto format = reader.parsed("format", [](const std::string& name) { return format::parse_format(name); }))
    source.format = *format;
  read_columns(reader, source, diagnostics);
  source.schema_file = read_text(reader, "schema");
  if (!source.schema_file.empty() && reader.has("columns"))
    diagnostics.invalid(reader.place("columns"), reader.where() + ": schema gives the columns: keep one of the two");
  if (const auto delimiter = reader.text("delimiter")) {
    if (delimiter->size() == 1)
      source.delimiter = delimiter->front();
    else
      diagnostics.invalid(reader.place("delimiter"), reader.where() + ": delimiter must be one character");
  }
  source.time = read_time(reader, diagnostics);
  source.time_place = reader.place("time");
  if (const auto watermark = reader.duration("watermark")) source.watermark_us = watermark->count();
  read_idle(reader, source, diagnostics);
  source.key = read_text(reader, "key");
  if (const auto partitions = reader.integer("partitions", 1, 10'000))
    source.partitions = static_cast<int32_t>(*partitions);
  if (const auto reset = reader.one_of<OffsetReset>(
          "auto_offset_reset", {{"earliest", OffsetReset::kEarliest}, {"latest", OffsetReset::kLatest}}))
    source.auto_offset_reset = *reset;
  reader.finish({"assign"});
  plan.sources.push_back(std::move(source));
}

}  // namespace millrace::pipeline
