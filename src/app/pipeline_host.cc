#include "app/pipeline_host.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/logging.h"
#include "pipeline/lint.h"

namespace millrace::app {
namespace {

constexpr std::string_view kLogModule = "pipelines";

// Before a pipeline is tried again that could not be made.
constexpr std::chrono::seconds kRetryInterval{5};

// Below this share of positives accuracy and AUC say little: average precision leads.
constexpr double kRareShare = 0.05;

std::map<std::string, double> metrics_of(const learn::MetricsReport& report) {
  if (report.task == learn::Task::kBinary)
    return {{"auc", report.auc},
            {"average_precision", report.average_precision},
            {"accuracy", report.accuracy},
            {"f1", report.f1},
            {"log_loss", report.log_loss}};
  return {{"mae", report.mae}, {"rmse", report.rmse}, {"r2", report.r2}};
}

std::string leading_metric(const learn::MetricsReport& report) {
  if (report.task != learn::Task::kBinary) return "mae";
  const double share =
      static_cast<double>(report.positives()) / static_cast<double>(std::max<uint64_t>(1, report.rows));
  return share < kRareShare ? "average_precision" : "auc";
}

std::string algorithm_of(const pipeline::Plan& plan, const std::string& step) {
  const auto* found = plan.find_step(step);
  const auto* train = found == nullptr ? nullptr : std::get_if<pipeline::TrainPlan>(&found->kind);
  return train == nullptr ? std::string() : train->algorithm.value;
}

// The columns of the rows that a sink takes, or those that it names.
columns::Schema sink_columns(const pipeline::Plan& plan, const pipeline::SinkPlan& sink) {
  const auto* step = plan.find_step(sink.from.value);
  const columns::Schema& rows = step != nullptr ? *step->schema : plan.find_source(sink.from.value)->columns;
  std::vector<columns::Field> fields;
  for (const auto& field : rows.fields()) {
    const bool named = std::any_of(sink.columns.begin(), sink.columns.end(),
                                   [&](const pipeline::Text& column) { return column.value == field.name; });
    if ((sink.columns.empty() || named) && !field.name.starts_with('_')) fields.push_back(field);
  }
  return columns::Schema(std::move(fields));
}

warehouse::TableSpec table_of(const pipeline::Plan& plan, const pipeline::SinkPlan& sink) {
  warehouse::TableSpec table{.name = sink.table, .topic = sink.topic.value, .schema = sink_columns(plan, sink)};
  if (sink.mode == pipeline::SinkMode::kUpsert) {
    table.mode = warehouse::Mode::kUpsert;
    for (const auto& key : sink.key) table.key.push_back(key.value);
  }
  return table;
}

http::PipelineRow to_row(const pipeline::PipelineStatus& status) {
  http::PipelineRow row{.name = status.name,
                        .state = status.state == "finished" ? "stopped" : status.state,
                        .rows_in = status.records_in,
                        .rows_out = status.rows_out,
                        .filtered = status.filtered,
                        .dead_letters = status.dead_letters,
                        .waiting = status.waiting};
  if (!status.error.empty()) row.error = status.error;
  return row;
}

void add_worker(const pipeline::Worker& worker, http::Overview& overview) {
  const auto status = worker.status();
  overview.pipelines.push_back(to_row(status));
  for (const auto& model : status.models) {
    const auto learner = model.learner_window();
    overview.models.push_back({.name = model.name,
                               .algorithm = algorithm_of(worker.plan().plan, model.step),
                               .version = model.version,
                               .champion = model.champion,
                               .rows = model.rows,
                               .leading = leading_metric(learner),
                               .learner = metrics_of(learner),
                               .live = metrics_of(model.live_window())});
  }
}

// False: stopped.
bool pause(std::chrono::seconds duration, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any never;
  return !never.wait_for(lock, stop, duration, [&stop] { return stop.stop_requested(); });
}

}  // namespace

Status PipelineHost::load(env::FileSystem& files, const std::vector<std::string>& paths) {
  for (const auto& path : paths) {
    MILLRACE_ASSIGN_OR_RETURN(const Bytes content, env::read_file(files, path, pipeline::kPlanBytesMax));
    MILLRACE_RETURN_IF_ERROR(load_text(std::string(as_text(content)), path, &files));
  }
  return {};
}

Status PipelineHost::load_text(const std::string& yaml, const std::string& name, env::FileSystem* files) {
  auto linted = pipeline::lint(yaml, name, environment_variable, files);
  if (!linted.ok()) return tl::unexpected<Error>(linted.diagnostics.to_error());
  const pipeline::Plan& plan = linted.plan.plan;
  // What a pipeline writes is declared by it, too: JSON with the columns of its rows.
  for (const auto& sink : plan.sinks)
    topics_[sink.topic.value] = {.format = format::Format::kJson, .columns = sink_columns(plan, sink), .time = {}};
  for (const auto& source : plan.sources)
    topics_[source.topic.value] = {.format = source.format, .columns = source.columns, .time = source.time};
  hosted_.push_back(std::make_unique<Hosted>(std::move(linted.plan)));
  return {};
}

void PipelineHost::start(const client::Options& client, const Clock& clock, warehouse::Warehouse& tables) {
  for (const auto& hosted : hosted_) make(*hosted, client, clock, tables);
  for (const auto& hosted : hosted_)
    threads_.emplace_back([&hosted = *hosted, client, &clock, &tables](const std::stop_token& stop) {
      while (true) {
        std::shared_ptr<pipeline::Worker> worker;
        {
          MutexLock lock(hosted.mutex);
          if (hosted.given_up) return;
          worker = hosted.worker;
        }
        if (worker) {
          const Status ended = worker->run(stop);
          if (!ended) log_error(kLogModule, "{} stopped: {}", hosted.plan.plan.name, ended.error().message);
          return;
        }
        if (!pause(kRetryInterval, stop)) return;
        make(hosted, client, clock, tables);
      }
    });
}

void PipelineHost::make(Hosted& hosted, const client::Options& client, const Clock& clock,
                        warehouse::Warehouse& tables) {
  const auto made = [&]() -> Result<std::shared_ptr<pipeline::Worker>> {
    MILLRACE_ASSIGN_OR_RETURN(auto worker, pipeline::Worker::make(hosted.plan, {.client = client}, clock));
    const pipeline::Plan& plan = worker->plan().plan;
    for (const auto& sink : plan.sinks)
      if (!sink.table.empty()) MILLRACE_RETURN_IF_ERROR(tables.declare(table_of(plan, sink)));
    return std::shared_ptr<pipeline::Worker>(std::move(worker));
  }();
  if (!made) log_error(kLogModule, "{} cannot start: {}", hosted.plan.plan.name, made.error().message);
  MutexLock lock(hosted.mutex);
  if (made) {
    hosted.worker = *made;
    return;
  }
  hosted.failure = made.error();
  hosted.given_up = !client::is_retriable(made.error());
}

void PipelineHost::stop() {
  for (auto& thread : threads_) thread.request_stop();
  threads_.clear();
}

void PipelineHost::add_to(http::Overview& overview) const {
  for (const auto& hosted : hosted_) {
    std::shared_ptr<pipeline::Worker> worker;
    {
      MutexLock lock(hosted->mutex);
      worker = hosted->worker;
      if (!worker)
        overview.pipelines.push_back({.name = hosted->plan.plan.name,
                                      .state = hosted->given_up ? "failed" : "starting",
                                      .error = hosted->failure.message});
    }
    if (worker) add_worker(*worker, overview);
  }
}

std::optional<warehouse::TopicSchema> PipelineHost::find(const std::string& topic) const {
  const auto found = topics_.find(topic);
  return found == topics_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace millrace::app
