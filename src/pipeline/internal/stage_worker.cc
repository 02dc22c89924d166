#include "pipeline/internal/stage_worker.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/logging.h"
#include "base/unix_time.h"
#include "client/admin.h"

namespace millrace::pipeline {
namespace {

constexpr client::Millis kCloseTimeout{5'000};
constexpr client::Millis kAskTimeout{10'000};
// How often the group hears of a member that restores state; far below the poll interval it may at most have.
constexpr auto kWorkWhileRestoring = std::chrono::seconds(1);
constexpr auto kRetryAfter = std::chrono::milliseconds(500);
// A version is registered in far less, unless a partition is behind.
constexpr auto kLongWait = std::chrono::seconds(60);
constexpr auto kModelsEvery = std::chrono::milliseconds(500);
// A partition delivers nothing more while its task has so many batches queued.
constexpr size_t kQueuedBatchesMax = 4;

bool can_retry(const Error& error) { return client::is_retriable(error) || client::is_fatal(error); }

bool needs_sql(const ResolvedPlan& resolved) {
  return std::any_of(resolved.plan.steps.begin(), resolved.plan.steps.end(), [](const StepPlan& step) {
    const auto has_where = [](const std::vector<Aggregate>& aggregates) {
      return std::any_of(aggregates.begin(), aggregates.end(), [](const Aggregate& a) { return !a.where.empty(); });
    };
    if (std::holds_alternative<SqlPlan>(step.kind)) return true;
    if (const auto* features = std::get_if<FeaturesPlan>(&step.kind)) return has_where(features->aggregates);
    if (const auto* aggregate = std::get_if<AggregatePlan>(&step.kind)) return has_where(aggregate->aggregates);
    return false;
  });
}

// Adds b's counters to a's, step by step. Either may have none yet.
void add_counters(std::vector<StepCounters>& a, const std::vector<StepCounters>& b) {
  if (b.empty()) return;
  if (a.empty()) {
    a = b;
    return;
  }
  for (size_t i = 0; i < a.size(); ++i) a[i].add(b[i]);
}

std::string_view text_of(ByteView bytes) { return as_text(bytes); }

}  // namespace

Status StageWorker::run(const std::stop_token& stop) {
  while (!stop.stop_requested() && !shared_.all_finished()) {
    const Status status = run_membership(stop);
    for (const auto& [number, held] : held_) retire(held);
    held_.clear();
    if (consumer_) (void)consumer_->close(kCloseTimeout);
    consumer_.reset();
    delivery_.reset();
    if (status || status.error().code == Errc::kCancelled) continue;
    if (!can_retry(status.error())) return status;
    log_warning("pipeline", "{}: begins again from its last commit: {}", shared_.stage->group, status.error().message);
    Mutex mutex;
    CondVar never;
    MutexLock lock(mutex);
    never.wait_for(mutex, kRetryAfter);
  }
  return {};
}

Status StageWorker::run_membership(const std::stop_token& stop) {
  const Defaults& defaults = shared_.resolved->plan.defaults;
  if (!database_ && needs_sql(*shared_.resolved)) {
    MILLRACE_ASSIGN_OR_RETURN(database_, sql::Database::open({}));
  }
  if (!champions_ && shared_.store != nullptr) champions_ = std::make_unique<Champions>(*shared_.store);
  MILLRACE_ASSIGN_OR_RETURN(
      delivery_, Delivery::make(shared_.client, *shared_.resolved, *shared_.stage, shared_.topic_partitions));
  client::GroupOptions group;
  group.group = shared_.stage->group;
  group.assignor = shared_.stage->sources.size() > 1 ? client::Assignor::kRange : client::Assignor::kCooperativeSticky;
  std::vector<std::string> topics;
  for (size_t s = 0; s < shared_.stage->sources.size(); ++s) {
    topics.push_back(topic(s));
    if (shared_.resolved->plan.sources[shared_.stage->sources[s]].auto_offset_reset == OffsetReset::kLatest)
      group.reset = client::OffsetReset::kLatest;
  }
  MILLRACE_ASSIGN_OR_RETURN(consumer_, client::GroupConsumer::create(shared_.client, group));
  MILLRACE_RETURN_IF_ERROR(consumer_->subscribe(topics));
  context_ = {shared_.resolved, shared_.stage,    database_,      shared_.clock,
              delivery_.get(),  champions_.get(), shared_.rounds, shared_.bounded};

  const auto wait = std::chrono::duration_cast<client::Millis>(std::chrono::microseconds(defaults.batch_wait_us));
  stop_ = stop;
  committed_ = shared_.clock->mono_now();
  while (!stop.stop_requested() && !shared_.all_finished()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto event, work(wait));
    if (event) MILLRACE_RETURN_IF_ERROR(handle(*event));
  }
  return commit();
}

Result<std::optional<client::GroupEvent>> StageWorker::work(client::Millis wait) {
  const Defaults& defaults = shared_.resolved->plan.defaults;
  MILLRACE_ASSIGN_OR_RETURN(client::Polled polled, consumer_->poll(static_cast<size_t>(defaults.batch_rows), wait));
  if (polled.trouble) log_warning("pipeline", "{}: {}", shared_.stage->group, polled.trouble->message);
  MILLRACE_RETURN_IF_ERROR(take_records(polled.records));
  MILLRACE_RETURN_IF_ERROR(tend());
  worked_ = shared_.clock->mono_now();
  if (!polled.event && worked_ - committed_ >= std::chrono::microseconds(defaults.commit_us)) {
    MILLRACE_RETURN_IF_ERROR(commit());
    committed_ = worked_;
  }
  return std::move(polled.event);
}

// A long changelog must not cost the membership, hold up the partitions that are here already, or be deaf to the end.
Status StageWorker::work_while_restoring() {
  if (stop_.stop_requested()) return fail(Errc::kCancelled, "stopped while state was restored");
  if (shared_.clock->mono_now() - worked_ < kWorkWhileRestoring) return {};
  MILLRACE_ASSIGN_OR_RETURN(const auto event, work(client::Millis(0)));
  if (event) return fail(Errc::kConflict, "the group moved on while state was restored");
  return {};
}

// Whether the group still has this member. One that it has is in the newest generation, or was asked to join it and has
// not answered: nobody else has its partitions then.
Result<bool> StageWorker::is_member() const {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, client::Admin::create(shared_.client));
  MILLRACE_ASSIGN_OR_RETURN(const auto group, admin->describe_group(shared_.stage->group, kAskTimeout));
  return std::ranges::find(group.members, consumer_->metadata().member_id, &client::GroupMember::member_id) !=
         group.members.end();
}

Status StageWorker::handle(const client::GroupEvent& event) {
  switch (event.kind) {
    case client::GroupEvent::Kind::kAssigned:
      return assign(event.partitions);
    case client::GroupEvent::Kind::kRevoked:
      MILLRACE_RETURN_IF_ERROR(commit());
      drop(event.partitions);
      return consumer_->acknowledge();
    case client::GroupEvent::Kind::kLost:
      drop(event.partitions);
      return consumer_->acknowledge();
  }
  return {};
}

Status StageWorker::assign(const std::vector<client::TopicPartition>& partitions) {
  const Stage& stage = *shared_.stage;
  std::set<PartitionId> numbers;
  for (const client::TopicPartition& partition : partitions) {
    const bool is_new = partition.partition.value() >= stage.partitions;
    if (is_new && !shared_.bounded && stage.has_state)
      return fail(Errc::kNotBuiltYet,
                  fmt::format("'{}' has more partitions than '{}', which has {}: the number of partitions was changed",
                              partition.topic, stage.changelog(shared_.resolved->plan), stage.partitions),
                  "run the pipeline under a new name, from the beginning");
    // What is new is no part of a bounded run's input.
    if (!is_new || !shared_.bounded) numbers.insert(partition.partition);
  }
  std::vector<client::TopicOffset> starts;
  for (const PartitionId number : numbers) {
    for (size_t s = 0; s < shared_.stage->sources.size(); ++s)
      if (std::find(partitions.begin(), partitions.end(), client::TopicPartition{topic(s), number}) == partitions.end())
        return fail(Errc::kConflict, fmt::format("the group gave partition {} of one source without that of '{}'",
                                                 number.value(), topic(s)));
    MILLRACE_ASSIGN_OR_RETURN(Held held, take_over(number, starts));
    held_.insert_or_assign(number, std::move(held));
  }
  MILLRACE_RETURN_IF_ERROR(consumer_->acknowledge(starts));
  for (auto& [number, held] : held_) MILLRACE_RETURN_IF_ERROR(tend_ends(number, held));
  publish(true);
  return {};
}

Result<StageWorker::Held> StageWorker::take_over(PartitionId partition, std::vector<client::TopicOffset>& starts) {
  Held held;
  held.generation = consumer_->metadata().generation;
  held.heard.assign(shared_.stage->sources.size(), shared_.clock->mono_now());
  held.paused.assign(shared_.stage->sources.size(), false);
  held.committed.assign(shared_.stage->sources.size(), Offset(0));
  held.told.assign(shared_.stage->sources.size(), Offset(0));
  MILLRACE_ASSIGN_OR_RETURN(held.task, Task::make(context_, partition));
  if (!shared_.stage->has_state) return held;
  const Delivery::Owner owner{held.generation, [this] { return is_member(); },
                              [this] { return work_while_restoring(); }};
  MILLRACE_ASSIGN_OR_RETURN(const Delivery::TakenOver taken, delivery_->take_over(partition, owner));
  held.generation = taken.generation;
  if (!taken.restored.next_offset) return held;
  MILLRACE_RETURN_IF_ERROR(held.task->restore(taken.restored));
  for (size_t s = 0; s < shared_.stage->sources.size(); ++s) {
    held.committed[s] = held.task->next_offset(s);
    if (held.committed[s].value() > 0) starts.push_back({{topic(s), partition}, held.committed[s]});
  }
  return held;
}

StageWorker::Counts StageWorker::counts_of(const Task& task) const {
  Counts counts{task.counters(), {}, task.records_in(), task.dead_letters()};
  for (const size_t s : shared_.stage->sinks) counts.written[s] = task.written(s);
  return counts;
}

// A partition goes: what it did stays counted as far as it was committed, for the rest is done again.
void StageWorker::retire(const Held& held) {
  std::vector<StepCounters> steps = held.done.steps;
  // What waits there waits with the next owner now.
  for (StepCounters& step : steps) step.in -= step.waiting, step.waiting = 0;
  add_counters(retired_.counters, steps);
  retired_.records_in += held.done.records_in;
  retired_.dead_letters += held.done.dead_letters;
  for (const auto& [sink, written] : held.done.written) retired_.written[sink] += written;
}

void StageWorker::drop(const std::vector<client::TopicPartition>& partitions) {
  for (const client::TopicPartition& partition : partitions) {
    const auto held = held_.find(partition.partition);
    if (held == held_.end()) continue;
    retire(held->second);
    held_.erase(held);
  }
  publish(true);
}

Status StageWorker::take_records(const client::Records& records) {
  if (!records.empty() && !retired_.first_record) retired_.first_record = shared_.clock->mono_now();
  for (const client::PartitionRecords& part : records.partitions()) {
    const auto held = held_.find(part.partition);
    if (held == held_.end()) continue;
    size_t source = 0;
    while (topic(source) != part.topic) ++source;
    const SourcePlan& plan = shared_.resolved->plan.sources[shared_.stage->sources[source]];
    Offset end{INT64_MAX};
    if (shared_.bounded) end = shared_.ends.at({plan.topic.value, part.partition});
    const bool headers = plan.schema->index_of("_headers").has_value();
    Intake intake;
    auto kept = std::make_shared<std::vector<std::vector<format::HeaderView>>>();
    intake.records.reserve(part.records.size());
    for (const client::RecordView& record : part.records) {
      if (record.offset >= end) break;
      format::RecordView view;
      if (record.has_key()) view.key = text_of(record.key());
      if (record.has_value()) view.value = text_of(record.value());
      view.partition = part.partition;
      view.offset = record.offset;
      view.timestamp_us = us_from_ms(record.timestamp_ms);
      if (headers) {
        auto& list = kept->emplace_back();
        for (const client::HeaderView& header : record.headers())
          list.push_back({header.name, header.value ? std::optional(text_of(*header.value)) : std::nullopt});
      }
      intake.records.push_back(view);
    }
    if (headers)
      for (size_t i = 0; i < intake.records.size(); ++i) intake.records[i].headers = (*kept)[i];
    intake.owner = std::make_shared<std::pair<std::shared_ptr<const void>, decltype(kept)>>(records.owner(), kept);
    held->second.heard[source] = shared_.clock->mono_now();
    MILLRACE_RETURN_IF_ERROR(held->second.task->process(source, std::move(intake)));
  }
  return {};
}

// What a partition needs besides records: versions it waits for, its end, silence, and a bound on what it has queued.
Status StageWorker::tend() {
  const MonoTime now = shared_.clock->mono_now();
  const size_t queued_max = kQueuedBatchesMax * static_cast<size_t>(shared_.resolved->plan.defaults.batch_rows);
  for (const auto& [step, rounds] : shared_.rounds) MILLRACE_RETURN_IF_ERROR(rounds->status());
  for (auto& [number, held] : held_) {
    if (held.task->blocked()) MILLRACE_RETURN_IF_ERROR(held.task->resume());
    watch_wait(number, held, now);
    MILLRACE_RETURN_IF_ERROR(tend_ends(number, held));
    for (size_t s = 0; s < held.paused.size(); ++s) {
      const client::TopicPartition partition{topic(s), number};
      const bool full = held.task->queued(s) >= queued_max;
      if (full != held.paused[s]) {
        MILLRACE_RETURN_IF_ERROR(full ? consumer_->pause({&partition, 1}) : consumer_->resume({&partition, 1}));
        held.paused[s] = full;
      }
      const auto& idle_us = shared_.resolved->plan.sources[shared_.stage->sources[s]].idle_us;
      if (shared_.bounded || !idle_us) continue;
      const bool idle = now - held.heard[s] > std::chrono::microseconds(*idle_us);
      MILLRACE_RETURN_IF_ERROR(held.task->set_idle(s, idle));
      if (idle && s == 0 && !held.task->blocked() && held.task->queued(0) == 0)
        MILLRACE_RETURN_IF_ERROR(held.task->pass_pending_rounds());
    }
  }
  return {};
}

// A partition that waits long for a version: people want to know for whom.
void StageWorker::watch_wait(PartitionId partition, Held& held, MonoTime now) const {
  if (!held.task->blocked()) {
    held.waits_since.reset();
    held.said_so = false;
    return;
  }
  if (!held.waits_since) held.waits_since = now;
  if (held.said_so || now - *held.waits_since < kLongWait) return;
  held.said_so = true;
  log_warning("pipeline", "{}-{} has waited {} s for {}", topic(0), partition.value(),
              std::chrono::duration_cast<std::chrono::seconds>(kLongWait).count(), held.task->waits_for());
}

Status StageWorker::tend_ends(PartitionId partition, Held& held) {
  if (!shared_.bounded || held.task->ended()) return {};
  for (size_t s = 0; s < shared_.stage->sources.size(); ++s) {
    const client::TopicPartition source{topic(s), partition};
    const Offset end = shared_.ends.at(source);
    const auto position = consumer_->position(source);
    if (end.value() == 0 || held.committed[s] >= end || (position && *position >= end))
      MILLRACE_RETURN_IF_ERROR(held.task->end(s));
  }
  return {};
}

Status StageWorker::commit() {
  std::vector<Delivery::Part> parts;
  for (auto& [number, held] : held_) {
    bool moved = held.task->ended() && !held.reported_end;
    for (size_t s = 0; s < held.committed.size(); ++s) moved = moved || held.task->next_offset(s) != held.committed[s];
    if (moved) parts.push_back({held.task.get(), held.generation});
  }
  MILLRACE_RETURN_IF_ERROR(delivery_->commit(parts));
  for (auto& [number, held] : held_) held.done = counts_of(*held.task);
  if (!parts.empty()) {
    retired_.last_commit = shared_.clock->mono_now();
    for (auto& [number, held] : held_) {
      for (size_t s = 0; s < held.committed.size(); ++s) held.committed[s] = held.task->next_offset(s);
      if (!held.task->ended() || held.reported_end) continue;
      held.reported_end = true;
      MutexLock lock(shared_.mutex);
      shared_.finished.insert(number);
    }
  }
  commit_offsets();
  const MonoTime now = shared_.clock->mono_now();
  const bool models = now - models_published_ >= kModelsEvery || shared_.all_finished();
  if (models) models_published_ = now;
  publish(models);
  return check_failures();
}

// Of every partition whose offset the group does not have: a commit that fell into a rebalance is made up for here, and
// one that its predecessor died before.
void StageWorker::commit_offsets() {
  std::vector<client::TopicOffset> offsets;
  for (const auto& [number, held] : held_)
    for (size_t s = 0; s < held.committed.size(); ++s)
      if (held.told[s] != held.committed[s]) offsets.push_back({{topic(s), number}, held.committed[s]});
  if (offsets.empty() || !delivery_->commit_offsets(offsets, *consumer_)) return;
  for (auto& [number, held] : held_) held.told = held.committed;
}

Status StageWorker::check_failures() {
  uint64_t records = retired_.records_in;
  uint64_t dead_letters = retired_.dead_letters;
  for (const auto& [number, held] : held_) {
    records += held.task->records_in();
    dead_letters += held.task->dead_letters();
  }
  if (records < seen_records_) {
    // Begun again from the last commit.
    seen_records_ = records;
    seen_dead_letters_ = dead_letters;
  }
  const auto share = failures_.add(shared_.clock->mono_now(), records - seen_records_,
                                   dead_letters - std::min(dead_letters, seen_dead_letters_));
  seen_records_ = records;
  seen_dead_letters_ = dead_letters;
  if (!share) return {};
  const Defaults& defaults = shared_.resolved->plan.defaults;
  return fail(
      Errc::kInvalidArgument,
      fmt::format("pipeline {}: stopped, {:.1f} % of the records became dead letters; fail_ratio allows {:.1f} %",
                  shared_.resolved->plan.name, 100 * *share, 100 * defaults.fail_ratio->ratio),
      fmt::format("the reasons are in the topic {}", defaults.dlq));
}

void StageWorker::publish(bool with_models) {
  WorkerReport report = retired_;
  report.partitions = static_cast<int>(held_.size());
  for (const auto& [number, held] : held_) {
    const Task& task = *held.task;
    add_counters(report.counters, task.counters());
    report.records_in += task.records_in();
    report.dead_letters += task.dead_letters();
    for (const size_t s : shared_.stage->sinks) report.written[s] += task.written(s);
    if (!with_models) continue;
    for (const auto& [step, core] : task.trainers()) {
      const learn::Trainer& trainer = core->trainer();
      report.models[step].push_back({number.value(), trainer.metrics(), trainer.prior_metrics(), trainer.last_metrics(),
                                     core->live(), trainer.model().rows_learned()});
    }
  }
  MutexLock lock(mutex_);
  if (!with_models) report.models = std::move(report_.models);
  report_ = std::move(report);
}

WorkerReport StageWorker::report() const {
  MutexLock lock(mutex_);
  return report_;
}

}  // namespace millrace::pipeline
