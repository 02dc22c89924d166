#include "pipeline/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/json_writer.h"

namespace millrace::pipeline {
namespace {

void write_model(JsonWriter& json, const ModelStatus& model) {
  json.begin_object();
  json.key("name").text(model.name);
  json.key("version").number(model.version);
  json.key("champion").number(model.champion);
  json.key("rows").number(model.rows);
  json.key("metrics").begin_object().key("learner");
  model.learner().write_json(json);
  json.key("live");
  model.live().write_json(json);
  json.end_object().end_object();
}

void write_step(JsonWriter& json, const StepCounters& step) {
  json.begin_object();
  json.key("id").text(step.id).key("kind").text(step.kind);
  json.key("in").number(step.in).key("out").number(step.out).key("filtered").number(step.filtered);
  json.key("dead_letters").number(step.dead_letters).key("waiting").number(step.waiting);
  json.key("emitted").number(step.emitted).key("late").number(step.late);
  json.end_object();
}

void write_pipeline(JsonWriter& json, const PipelineStatus& pipeline) {
  json.begin_object();
  json.key("name").text(pipeline.name);
  json.key("rows_in").number(pipeline.records_in).key("rows_out").number(pipeline.rows_out);
  json.key("filtered").number(pipeline.filtered).key("dead_letters").number(pipeline.dead_letters);
  json.key("waiting").number(pipeline.waiting).key("events_per_s").number(std::round(pipeline.events_per_s()));
  json.key("models").begin_array();
  for (const ModelStatus& model : pipeline.models) write_model(json, model);
  json.end_array().key("steps").begin_array();
  for (const StepCounters& step : pipeline.steps) write_step(json, step);
  json.end_array().key("sinks").begin_array();
  for (const SinkStatus& sink : pipeline.sinks)
    json.begin_object()
        .key("id")
        .text(sink.id)
        .key("topic")
        .text(sink.topic)
        .key("rows")
        .number(sink.written)
        .end_object();
  json.end_array().end_object();
}

// 1234567 as 1,234,567.
std::string grouped(uint64_t number) {
  std::string text = fmt::format("{}", number);
  for (auto at = static_cast<ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string figures(const learn::MetricsReport& metrics) {
  if (metrics.rows == 0) return "no rows judged";
  std::string text = fmt::format("{} rows", grouped(metrics.rows));
  const auto add = [&](const char* name, double value) {
    if (!std::isnan(value)) text += fmt::format(", {} {:.6g}", name, value);
  };
  add("accuracy", metrics.accuracy);
  add("F1", metrics.f1);
  add("AUC", metrics.auc);
  add("log loss", metrics.log_loss);
  add("MAE", metrics.mae);
  add("RMSE", metrics.rmse);
  add("R2", metrics.r2);
  return text;
}

void add_table(std::string& text, const std::vector<StepCounters>& steps) {
  size_t width = 4;
  for (const StepCounters& step : steps) width = std::max(width, step.id.size());
  text += fmt::format("  {:<{}}  {:<9} {:>12} {:>12} {:>10} {:>12} {:>10} {:>10}\n", "step", width, "kind", "in", "out",
                      "filtered", "dead letters", "waiting", "emitted");
  for (const StepCounters& step : steps)
    text += fmt::format("  {:<{}}  {:<9} {:>12} {:>12} {:>10} {:>12} {:>10} {:>10}{}\n", step.id, width, step.kind,
                        grouped(step.in), grouped(step.out), grouped(step.filtered), grouped(step.dead_letters),
                        grouped(step.waiting), grouped(step.emitted), step.closes() ? "" : "  does not close");
}

}  // namespace

double PipelineStatus::events_per_s() const {
  return busy_seconds > 0 ? static_cast<double>(records_in) / busy_seconds : 0;
}

std::string Report::to_json() const {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("seconds").number(std::round(seconds * 1000) / 1000).key("pipelines").begin_array();
  for (const PipelineStatus& pipeline : pipelines) write_pipeline(json, pipeline);
  json.end_array().end_object();
  return text;
}

std::string Report::to_text() const {
  std::string text;
  for (const PipelineStatus& pipeline : pipelines) {
    text += fmt::format("pipeline {}: {} rows in, {} out, {} filtered, {} dead letters, {} waiting; {} events/s\n",
                        pipeline.name, grouped(pipeline.records_in), grouped(pipeline.rows_out),
                        grouped(pipeline.filtered), grouped(pipeline.dead_letters), grouped(pipeline.waiting),
                        grouped(static_cast<uint64_t>(pipeline.events_per_s())));
    add_table(text, pipeline.steps);
    for (const SinkStatus& sink : pipeline.sinks)
      text += fmt::format("  sink {}: {} rows in topic {}\n", sink.id, grouped(sink.written), sink.topic);
    for (const ModelStatus& model : pipeline.models) {
      text += fmt::format("  model {}: version {}, {}, {} rows learned\n", model.name, model.version,
                          model.champion == 0 ? "no champion" : fmt::format("champion {}", model.champion),
                          grouped(model.rows));
      text += fmt::format("    learner: {}\n    live:    {}\n", figures(model.learner()), figures(model.live()));
    }
  }
  text += fmt::format("{:.1f} s in all\n", seconds);
  return text;
}

}  // namespace millrace::pipeline
