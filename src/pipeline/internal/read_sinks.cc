#include <fmt/core.h>

#include "pipeline/internal/read_parts.h"

namespace millrace::pipeline {

void read_sink(const YAML::Node& node, Plan& plan, Diagnostics& diagnostics) {
  SinkPlan sink;
  sink.place = place_of(node);
  MapReader reader(node, fmt::format("sink {}", plan.sinks.size() + 1), diagnostics);
  sink.id = reader.text_or("id", "");
  if (reader.required_text("from", "a step or a source")) sink.from = read_text(reader, "from");
  sink.topic = read_text(reader, "topic");
  sink.table = reader.text_or("table", "");
  if (const auto mode = reader.one_of<SinkMode>("mode", {{"append", SinkMode::kAppend}, {"upsert", SinkMode::kUpsert}}))
    sink.mode = *mode;
  sink.key = read_text_list(reader, "key", diagnostics);
  sink.columns = read_text_list(reader, "columns", diagnostics);
  reader.one_of<int>("format", {{"json", 0}}, {"csv", "avro", "protobuf"});
  const bool other = reader.has("postgres") || reader.has("parquet") || reader.has("http");
  if (sink.topic.empty() && sink.table.empty() && !other)
    diagnostics.invalid(sink.place, reader.where() + ": says not where to: expected topic or table");
  if (sink.mode == SinkMode::kUpsert && sink.table.empty())
    diagnostics.invalid(reader.place("mode"), reader.where() + ": upsert is for tables");
  if (sink.mode == SinkMode::kUpsert && sink.key.empty())
    diagnostics.invalid(reader.place("mode"), reader.where() + ": upsert needs a key");
  reader.finish({"postgres", "parquet", "http", "partitions"});
  if (sink.topic.empty() && sink.table.empty()) return plan.unreadable.push_back(sink.id);
  plan.sinks.push_back(std::move(sink));
}

}  // namespace millrace::pipeline
