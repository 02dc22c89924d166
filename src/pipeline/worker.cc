#include "pipeline/worker.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "base/logging.h"
#include "client/admin.h"
#include "pipeline/internal/round_topic.h"
#include "pipeline/internal/rounds.h"
#include "pipeline/internal/specs.h"
#include "pipeline/internal/stage_worker.h"
#include "pipeline/internal/topics.h"
#include "registry/registry.h"

namespace millrace::pipeline {
namespace {

std::string label_json(const Plan& plan, const StepPlan& train) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("column").text(std::get<TrainPlan>(train.kind).label.value);
  if (const StepPlan* from = plan.find_step(train.from.value))
    if (const auto* label = std::get_if<LabelPlan>(&from->kind)) {
      json.key("of").text(label->of.value);
      if (label->delay_us) json.key("delay_us").number(*label->delay_us);
      if (label->delay_rows) json.key("delay_rows").number(*label->delay_rows);
      if (!label->delay_us && !label->delay_rows)
        json.key("value").text(label->value.value).key("within_us").number(label->within_us);
    }
  json.end_object();
  return text;
}

// Everything that makes the rounds of a model what they are: rounds of one series may be compared.
std::string definition_of_rounds(const TrainPlan& train, int32_t partitions) {
  const RegisterPlan at = train.register_at.value_or(RegisterPlan{RegisterEvery::kTime, 0});
  return fmt::format("{}|{}|{}|{}", signature_of(make_model_spec(train)), partitions, static_cast<int>(at.every),
                     // Boundaries in event time mean the same however far they lie apart.
                     at.every == RegisterEvery::kRows ? at.amount : 0);
}

void add_report(WorkerReport& a, WorkerReport b) {
  if (a.counters.empty())
    a.counters = std::move(b.counters);
  else
    for (size_t i = 0; i < std::min(a.counters.size(), b.counters.size()); ++i) a.counters[i].add(b.counters[i]);
  for (const auto& [sink, count] : b.written) a.written[sink] += count;
  a.records_in += b.records_in;
  a.dead_letters += b.dead_letters;
  a.partitions += b.partitions;
  if (b.first_record && (!a.first_record || *b.first_record < *a.first_record)) a.first_record = b.first_record;
  if (b.last_commit && (!a.last_commit || *b.last_commit > *a.last_commit)) a.last_commit = b.last_commit;
  for (auto& [step, parts] : b.models)
    for (PartitionMetrics& part : parts) a.models[step].push_back(std::move(part));
}

}  // namespace

struct Worker::Impl {
  ResolvedPlan plan;
  WorkerOptions options;
  const Clock* clock = nullptr;
  std::unique_ptr<registry::Registry> registry;
  std::optional<RegistryStore> store;
  std::vector<std::unique_ptr<Rounds>> rounds;
  std::unique_ptr<RoundTopic> round_topic;  // null where nothing is trained, or the input ends
  std::vector<std::unique_ptr<StageShared>> stages;
  std::vector<std::vector<std::unique_ptr<StageWorker>>> workers;  // by stage

  mutable Mutex mutex;
  std::string state GUARDED_BY(mutex) = "starting";
  std::string error GUARDED_BY(mutex);

  Status prepare();
};

Worker::Worker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Worker::~Worker() = default;

std::string Worker::guarantee() {
  return "at least once: outputs may repeat after a crash, state never counts an event twice";
}

Result<std::unique_ptr<Worker>> Worker::make(ResolvedPlan plan, WorkerOptions options, const Clock& clock) {
  auto impl = std::make_unique<Impl>();
  impl->plan = std::move(plan);
  impl->options = std::move(options);
  impl->clock = &clock;
  MILLRACE_RETURN_IF_ERROR(impl->prepare());
  return std::unique_ptr<Worker>(new Worker(std::move(impl)));
}

Status Worker::Impl::prepare() {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, client::Admin::create(options.client));
  std::map<std::string, int32_t> topic_partitions;
  MILLRACE_RETURN_IF_ERROR(prepare_topics(*admin, plan, topic_partitions));
  const bool models = std::any_of(plan.plan.steps.begin(), plan.plan.steps.end(), [](const StepPlan& step) {
    return std::holds_alternative<TrainPlan>(step.kind) || std::holds_alternative<PredictPlan>(step.kind);
  });
  if (models) {
    MILLRACE_ASSIGN_OR_RETURN(registry, registry::Registry::open(options.client, *clock));
    store.emplace(*registry);
  }
  for (const Stage& stage : plan.stages) {
    auto shared = std::make_unique<StageShared>();
    shared->resolved = &plan;
    shared->stage = &stage;
    shared->client = options.client;
    shared->clock = clock;
    shared->topic_partitions = topic_partitions;
    shared->store = store ? &*store : nullptr;
    shared->bounded = options.bounded;
    if (options.bounded)
      for (const size_t s : stage.sources)
        for (int32_t p = 0; p < stage.partitions; ++p) {
          const client::TopicPartition source{plan.plan.sources[s].topic.value, PartitionId(p)};
          const auto end = options.ends.find(source);
          shared->ends.emplace(source, end == options.ends.end() ? Offset(0) : end->second);
        }
    for (const size_t s : stage.steps) {
      const StepPlan& step = plan.plan.steps[s];
      const auto* train = std::get_if<TrainPlan>(&step.kind);
      if (train == nullptr) continue;
      MILLRACE_RETURN_IF_ERROR(store->claim(train->model.value, plan.plan.name));
      Rounds::Options of_model{{plan.plan.name, *train, label_json(plan.plan, step)}, stage.partitions, {}};
      if (!options.bounded)
        of_model.series =
            round_series(plan.plan.name, train->model.value, definition_of_rounds(*train, stage.partitions));
      rounds.push_back(std::make_unique<Rounds>(std::move(of_model), *store));
      shared->rounds.emplace(step.id, rounds.back().get());
    }
    auto& list = workers.emplace_back();
    for (int i = 0; i < options.threads; ++i) list.push_back(std::make_unique<StageWorker>(*shared));
    stages.push_back(std::move(shared));
  }
  if (options.bounded || rounds.empty()) return {};
  std::vector<Rounds*> followed;
  for (const auto& of_model : rounds) followed.push_back(of_model.get());
  MILLRACE_ASSIGN_OR_RETURN(round_topic, RoundTopic::open(options.client, std::move(followed), *clock));
  return {};
}

Status Worker::run(const std::stop_token& stop) {
  {
    MutexLock lock(impl_->mutex);
    impl_->state = "running";
  }
  std::stop_source stop_all;
  const std::stop_callback forward(stop, [&] { stop_all.request_stop(); });
  Mutex mutex;
  Status first_error;
  {
    std::vector<std::jthread> threads;
    for (const auto& list : impl_->workers)
      for (const auto& worker : list)
        threads.emplace_back([&, w = worker.get()] {
          Status status = w->run(stop_all.get_token());
          if (status) return;
          stop_all.request_stop();
          MutexLock lock(mutex);
          if (first_error) first_error = std::move(status);
        });
  }
  MutexLock lock(impl_->mutex);
  impl_->state = !first_error ? "failed" : stop.stop_requested() ? "stopped" : "finished";
  if (!first_error) impl_->error = first_error.error().message;
  return first_error;
}

PipelineStatus Worker::status() const {
  PipelineStatus status;
  const Plan& plan = impl_->plan.plan;
  status.name = plan.name;
  for (size_t i = 0; i < impl_->stages.size(); ++i) {
    WorkerReport report;
    for (const auto& worker : impl_->workers[i]) add_report(report, worker->report());
    status.records_in += report.records_in;
    status.dead_letters += report.dead_letters;
    status.partitions += report.partitions;
    if (report.first_record && report.last_commit)
      status.busy_seconds = std::max(status.busy_seconds,
                                     std::chrono::duration<double>(*report.last_commit - *report.first_record).count());
    for (const StepCounters& step : report.counters) {
      status.filtered += step.filtered;
      status.waiting += step.waiting;
      status.steps.push_back(step);
    }
    for (const size_t s : impl_->stages[i]->stage->sinks) {
      const uint64_t written = report.written.contains(s) ? report.written.at(s) : 0;
      status.sinks.push_back({plan.sinks[s].id, plan.sinks[s].topic.value, written});
      status.rows_out += written;
    }
    for (const size_t s : impl_->stages[i]->stage->steps) {
      const auto* train = std::get_if<TrainPlan>(&plan.steps[s].kind);
      if (train == nullptr) continue;
      ModelStatus model;
      model.name = train->model.value;
      model.step = plan.steps[s].id;
      if (const auto newest = impl_->registry->latest(model.name)) model.version = newest->info.version;
      if (const auto champion = impl_->registry->resolve(model.name, registry::kChampion))
        model.champion = champion->info.version;
      if (auto parts = report.models.find(model.step); parts != report.models.end())
        model.partitions = std::move(parts->second);
      std::sort(model.partitions.begin(), model.partitions.end(),
                [](const auto& a, const auto& b) { return a.partition < b.partition; });
      for (const PartitionMetrics& part : model.partitions) model.rows += part.rows_learned;
      status.models.push_back(std::move(model));
    }
  }
  MutexLock lock(impl_->mutex);
  status.state = impl_->state;
  status.error = impl_->error;
  return status;
}

const ResolvedPlan& Worker::plan() const { return impl_->plan; }
const registry::Registry* Worker::registry() const { return impl_->registry.get(); }

}  // namespace millrace::pipeline
