#include "http/overview.h"

#include "base/json_writer.h"

namespace millrace::http {
namespace {

void write_optional(JsonWriter& json, const std::optional<std::string>& text) {
  if (text)
    json.text(*text);
  else
    json.null();
}

void write_metrics(JsonWriter& json, const std::map<std::string, double>& metrics) {
  json.begin_object();
  for (const auto& [name, value] : metrics) json.key(name).number(value);
  json.end_object();
}

void write(JsonWriter& json, const TopicRow& row) {
  json.key("name").text(row.name).key("partitions").number(row.partitions);
  json.key("records_in").number(row.records_in).key("records_out").number(row.records_out);
}

void write(JsonWriter& json, const GroupRow& row) {
  json.key("name").text(row.name).key("state").text(row.state);
  json.key("members").number(row.members).key("lag").number(row.lag);
}

void write(JsonWriter& json, const PipelineRow& row) {
  json.key("name").text(row.name).key("state").text(row.state);
  write_optional(json.key("error"), row.error);
  json.key("rows_in").number(row.rows_in).key("rows_out").number(row.rows_out).key("filtered").number(row.filtered);
  json.key("dead_letters").number(row.dead_letters).key("waiting").number(row.waiting);
}

void write(JsonWriter& json, const ModelRow& row) {
  json.key("name").text(row.name).key("algorithm").text(row.algorithm).key("version").number(row.version);
  json.key("champion").number(row.champion).key("rows").number(row.rows).key("leading").text(row.leading);
  write_metrics(json.key("learner"), row.learner);
  write_metrics(json.key("live"), row.live);
}

void write(JsonWriter& json, const TableRow& row) {
  json.key("name").text(row.name).key("topic").text(row.topic).key("rows").number(row.rows);
  json.key("rejected").number(row.rejected).key("lag").number(row.lag);
  write_optional(json.key("error"), row.error);
}

void write(JsonWriter& json, const EventRow& row) {
  json.key("topic").text(row.topic).key("partition").number(row.partition);
  json.key("offset").text(std::to_string(row.offset)).key("timestamp_ms").number(row.timestamp_ms);
  write_optional(json.key("key"), row.key);
  write_optional(json.key("value"), row.value);
}

template <typename Row>
void write_rows(JsonWriter& json, const char* name, const std::vector<Row>& rows) {
  json.key(name).begin_array();
  for (const Row& row : rows) {
    json.begin_object();
    write(json, row);
    json.end_object();
  }
  json.end_array();
}

}  // namespace

std::string to_json(const Overview& overview) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("at_ms").number(overview.at_ms).key("version").text(overview.version);
  json.key("kafka").text(overview.kafka);
  write_rows(json, "topics", overview.topics);
  write_rows(json, "groups", overview.groups);
  write_rows(json, "pipelines", overview.pipelines);
  write_rows(json, "models", overview.models);
  write_rows(json, "tables", overview.tables);
  write_rows(json, "events", overview.events);
  json.end_object();
  return text;
}

}  // namespace millrace::http
