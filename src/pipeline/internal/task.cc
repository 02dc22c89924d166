#include "pipeline/internal/task.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/check.h"

namespace millrace::pipeline {
namespace {

const state::StepId kPositionId{"__task", 1};

// `batch`'s rows from `begin` to `end`.
columns::Batch slice(const columns::Batch& batch, size_t begin, size_t end) {
  if (begin == 0 && end == batch.rows()) return batch;
  std::vector<uint32_t> rows(end - begin);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<uint32_t>(begin + i);
  return batch.gather(rows);
}

int64_t floor_to(int64_t time_us, int64_t step_us) {
  const int64_t rest = time_us % step_us;
  return time_us - (rest < 0 ? rest + step_us : rest);
}

std::string row_as_json(const columns::Batch& batch, const columns::RowId& id) {
  std::string json;
  const auto encoder = format::Encoder::make(format::Format::kJson, batch.schema_ptr());
  for (size_t row = 0; encoder && json.empty() && row < batch.rows(); ++row)
    if (batch.row_id(row).offset == id.offset) encoder->append_row(batch, row, json);
  return json;
}

// Makes the part of a joined key that begins there one that no other part reads like.
void escape_key(std::string& key, size_t begin) {
  for (size_t at = key.find_first_of("|\\", begin); at != std::string::npos; at = key.find_first_of("|\\", at + 2))
    key.insert(at, 1, '\\');
}

int64_t to_ms(int64_t us) { return us >= 0 ? us / 1000 : (us - 999) / 1000; }

}  // namespace

Status Task::process(size_t source, Intake intake) {
  if (intake.records.empty()) return {};
  MILLRACE_ASSIGN_OR_RETURN(Work work, decode(source, std::move(intake)));
  queues_[source].push_back(std::move(work));
  return drain();
}

size_t Task::queued(size_t source) const {
  size_t count = 0;
  for (const Work& work : queues_[source]) count += work.times_us.size() - work.next;
  return count;
}

Status Task::end(size_t source) {
  end_requested_[source] = true;
  return drain();
}

Status Task::set_idle(size_t source, bool idle) {
  // Nothing moves while the task is blocked: it falls silent when it is asked again behind that.
  if (clocks_[source].idle == idle || (idle && blocked())) return {};
  clocks_[source].idle = idle;
  if (!idle || clocks_.size() == 1) return {};
  return advance_ended();
}

// What was registered since: from here on those versions are in force.
Status Task::take_decisions() {
  std::vector<Blocked> waiting;
  for (Blocked& blocked : blocked_on_) {
    Rounds& rounds = *context_.rounds.at(blocked.step);
    MILLRACE_ASSIGN_OR_RETURN(const auto champion, rounds.decided(blocked.boundary));
    if (champion)
      served_[rounds.model()] = *champion;
    else
      waiting.push_back(std::move(blocked));
  }
  blocked_on_ = std::move(waiting);
  return {};
}

Status Task::resume() {
  MILLRACE_RETURN_IF_ERROR(take_decisions());
  return drain();
}

std::string Task::waits_for() const {
  const Blocked& blocked = blocked_on_.front();
  const Rounds& rounds = *context_.rounds.at(blocked.step);
  const auto schedule = std::ranges::find(schedules_, blocked.step, &Schedule::step);
  const std::string boundary = schedule->every == RegisterEvery::kTime
                                   ? columns::format_timestamp(blocked.boundary)
                                   : fmt::format("{} rows", blocked.boundary * schedule->amount);
  std::vector<int32_t> missing;
  for (const PartitionId partition : rounds.missing(blocked.boundary)) missing.push_back(partition.value());
  return fmt::format("the version of model {} at {}; {}", rounds.model(), boundary,
                     missing.empty() ? "every partition is there, and the one who merges is at it"
                                     : fmt::format("partitions {} are not there yet", fmt::join(missing, ", ")));
}

Status Task::drain() {
  while (!blocked() && !ended_) {
    for (size_t s = 0; s < queues_.size(); ++s)
      if (end_requested_[s] && queues_[s].empty() && !clocks_[s].ended) {
        clocks_[s].ended = true;
        MILLRACE_RETURN_IF_ERROR(advance_ended());
      }
    if (ended_) return {};
    const auto source = pick_source();
    if (!source) return {};
    Work& work = queues_[*source].front();
    MILLRACE_RETURN_IF_ERROR(run_segment(*source, work, segment_end(*source, work)));
    if (work.next == work.times_us.size()) queues_[*source].pop_front();
    if (*source == 0) MILLRACE_RETURN_IF_ERROR(take_cuts());
  }
  return {};
}

// A source has ended or fallen silent: the others' time may have moved.
Status Task::advance_ended() {
  if (std::all_of(clocks_.begin(), clocks_.end(), [](const SourceClock& clock) { return clock.ended; }))
    return finish();
  Timeline combined;
  combined.partition = partition_;
  combined.offsets = {clocks_.front().next.value() - 1};
  combined.before_us = {kBeginningOfTime};
  combined.end_us = combined_watermark(0, clocks_.front().watermark_us());
  Timeline own = combined;
  own.end_us = clocks_.front().watermark_us();
  current_ = nullptr;
  return run_steps(0, no_rows(context_.plan().sources[context_.stage->sources.front()].schema), own, combined);
}

Status Task::finish() {
  Timeline time;
  time.partition = partition_;
  time.end_us = kEndOfTime;
  time.final = true;
  current_ = nullptr;
  MILLRACE_RETURN_IF_ERROR(
      run_steps(0, no_rows(context_.plan().sources[context_.stage->sources.front()].schema), time, time));
  ended_ = true;
  for (const Schedule& schedule : schedules_)
    MILLRACE_RETURN_IF_ERROR(submit(schedule, kEndOfTime, schedule.every == RegisterEvery::kEnd));
  return {};
}

Status Task::run_segment(size_t source, Work& work, size_t end) {
  const auto& records = work.intake.records;
  const int64_t behind = records[end - 1].offset.value() + 1;
  size_t row_end = work.next_row;
  while (row_end < work.batch.rows() && work.batch.row_id(row_end).offset.value() < behind) ++row_end;
  if (!first_offset_) first_offset_ = records[work.next].offset;
  if (!event_time_from_us_ && row_end > work.next_row)
    event_time_from_us_ = work.batch.row_id(work.next_row).event_time_us;
  Timeline combined;
  const Timeline own = tell_time(source, work, end, combined);
  current_ = &work;
  current_source_ = source;

  StepCounters& counters = source_counters_[source];
  counters.in += end - work.next;
  uint64_t refused_here = 0;
  for (; work.next_refused < work.refused.size() && work.refused[work.next_refused].record < end; ++work.next_refused) {
    const Refused& refused = work.refused[work.next_refused];
    MILLRACE_RETURN_IF_ERROR(bury(refused.step, records[refused.record].offset, refused.reason, {}));
    if (refused.step == counters.id) ++refused_here;
    for (StepCounters& node : node_counters_)
      if (node.id == refused.step) ++node.dead_letters;
  }
  counters.dead_letters += refused_here;
  for (; work.next_heartbeat < work.heartbeats.size() && work.heartbeats[work.next_heartbeat] < end;
       ++work.next_heartbeat)
    ++counters.filtered;
  if (source == 0) records_in_ += end - work.next;

  const columns::Batch rows = slice(work.batch, work.next_row, row_end);
  MILLRACE_RETURN_IF_ERROR(run_steps(source, rows, own, clocks_.size() == 1 ? own : combined));
  work.next = end;
  work.next_row = row_end;
  clocks_[source].next = Offset(behind);
  current_ = nullptr;
  return {};
}

Status Task::run_steps(size_t source, const columns::Batch& rows, const Timeline& own, const Timeline& combined) {
  for (auto& output : outputs_) output.reset();
  for (auto& output : source_rows_) output.reset();
  source_rows_[source] = rows;
  for (size_t n = 0; n < nodes_.size(); ++n) {
    Node& node = nodes_[n];
    if (node.front) {
      // Ran when the rows were decoded.
      if (node.from_source == source) outputs_[n] = own.final ? no_rows(node.plan->schema) : rows;
      continue;
    }
    const std::optional<columns::Batch>& in =
        node.from_node ? outputs_[*node.from_node] : source_rows_[node.from_source];
    const Timeline& time = node.side_source ? combined : own;
    if (in) MILLRACE_RETURN_IF_ERROR(run_node(n, *in, time, false));
    if (node.side_source == source && !outputs_[n]) MILLRACE_RETURN_IF_ERROR(run_node(n, rows, time, true));
  }
  return write_sinks();
}

Status Task::run_node(size_t index, const columns::Batch& in, const Timeline& time, bool side) {
  Node& node = nodes_[index];
  MILLRACE_ASSIGN_OR_RETURN(StepOutput out, side ? node.step->process_side(in, time) : node.step->process(in, time));
  StepCounters& counters = node_counters_[index];
  // Of a second source's rows only those are told of that cannot be kept.
  counters.in += side ? out.rejected.size() : in.rows();
  counters.out += out.emits ? out.taken : out.batch.rows();
  if (out.emits) counters.emitted += out.batch.rows();
  counters.filtered += out.filtered;
  counters.late += out.late;
  counters.dead_letters += out.rejected.size();
  for (const StepReject& reject : out.rejected)
    MILLRACE_RETURN_IF_ERROR(
        bury(node.plan->id, reject.id.offset, reject.reason, node.behind_label ? row_as_json(in, reject.id) : ""));
  outputs_[index] = std::move(out.batch);
  return {};
}

Status Task::write_sinks() {
  for (SinkWriter& sink : sinks_) {
    const auto& batch = sink.from_node ? outputs_[*sink.from_node] : source_rows_[sink.from_source];
    if (batch) MILLRACE_RETURN_IF_ERROR(write_rows(sink, *batch));
  }
  return {};
}

Status Task::write_rows(SinkWriter& sink, const columns::Batch& batch) {
  SinkRecord record;
  record.sink = sink.index;
  record.source_partition = partition_;
  for (size_t row = 0; row < batch.rows(); ++row) {
    scratch_value_.clear();
    sink.encoder->append_row(batch, row, scratch_value_);
    record.key.reset();
    if (!sink.key_columns.empty()) {
      scratch_key_.clear();
      bool any = false;
      for (size_t k = 0; k < sink.key_columns.size(); ++k) {
        const columns::Column& column = batch.column(sink.key_columns[k]);
        if (k > 0) scratch_key_ += '|';
        const size_t begin = scratch_key_.size();
        column.append_text(row, scratch_key_);
        if (sink.key_columns.size() > 1) escape_key(scratch_key_, begin);
        any = any || column.is_valid(row);
      }
      if (any) record.key = scratch_key_;
    }
    record.value = scratch_value_;
    record.timestamp_ms = to_ms(batch.row_id(row).event_time_us);
    MILLRACE_RETURN_IF_ERROR(context_.outputs->write(record));
  }
  written_[sink.index] += batch.rows();
  return {};
}

Status Task::bury(std::string_view step, Offset offset, std::string_view error, const std::string& row_json) {
  ++dead_letters_;
  const size_t source = current_ != nullptr ? current_source_ : 0;
  DeadLetter letter;
  letter.topic = context_.plan().sources[context_.stage->sources[source]].topic.value;
  letter.partition = partition_;
  letter.offset = offset;
  letter.step = step;
  letter.error = error;
  if (row_json.empty() && current_ != nullptr) {
    const auto& records = current_->intake.records;
    const auto record = std::lower_bound(records.begin(), records.end(), offset,
                                         [](const auto& r, Offset wanted) { return r.offset < wanted; });
    if (record != records.end() && record->offset == offset) {
      letter.key = record->key;
      letter.value = record->value;
      letter.timestamp_ms = to_ms(record->timestamp_us);
    }
  } else if (!row_json.empty()) {
    letter.value = row_json;
    letter.value_is_row = true;
  }
  return context_.outputs->dead_letter(letter);
}

Status Task::take_cuts() {
  const int64_t watermark = watermark_us();
  for (Schedule& schedule : schedules_) {
    int64_t boundary = 0;
    switch (schedule.every) {
      case RegisterEvery::kEnd:
        continue;
      case RegisterEvery::kTime:
        if (watermark == kBeginningOfTime || (schedule.begun && watermark < schedule.boundary)) continue;
        boundary = floor_to(watermark, schedule.amount);
        break;
      case RegisterEvery::kRows:
        boundary = static_cast<int64_t>(records_in_) / schedule.amount;
        if (boundary == 0 || (schedule.begun && boundary < schedule.boundary)) continue;
        break;
    }
    // Boundaries before a partition's first event are behind it, and make no version.
    const bool makes_round = schedule.begun || schedule.every == RegisterEvery::kRows;
    schedule.begun = true;
    schedule.boundary = boundary + (schedule.every == RegisterEvery::kTime ? schedule.amount : 1);
    MILLRACE_RETURN_IF_ERROR(submit(schedule, boundary, makes_round));
    if (makes_round && event_time_models_.contains(context_.rounds.at(schedule.step)->model()))
      blocked_on_.push_back({schedule.step, boundary});
  }
  return take_decisions();
}

Status Task::submit(const Schedule& schedule, int64_t boundary, bool makes_round) {
  const TrainCore& core = *trainers_.at(schedule.step);
  Contribution cut;
  cut.partition = partition_;
  cut.boundary = boundary;
  cut.makes_round = makes_round;
  if (core.trainer().model().rows_learned() > 0) cut.trainer = std::make_shared<const learn::Trainer>(core.trainer());
  cut.learned = {context_.plan().sources[context_.stage->sources.front()].topic.value, partition_.value(),
                 first_offset_.value_or(Offset(0)).value(), clocks_.front().next.value()};
  cut.event_time_from_us = event_time_from_us_;
  if (clocks_.front().newest_us != kBeginningOfTime) cut.event_time_until_us = clocks_.front().newest_us;
  return context_.rounds.at(schedule.step)->submit(std::move(cut), *context_.outputs);
}

Status Task::pass_pending_rounds() {
  for (const Schedule& schedule : schedules_) {
    const Rounds& rounds = *context_.rounds.at(schedule.step);
    const auto pending = rounds.pending();
    if (pending && *pending != kEndOfTime && !rounds.is_past(partition_, *pending))
      MILLRACE_RETURN_IF_ERROR(submit(schedule, *pending, false));
  }
  return {};
}

void Task::collect(state::ChangelogGroup& group) {
  const Bytes position = encode_position();
  group.sink(kPositionId).put({}, 0, position);
  for (const Node& node : nodes_) node.step->collect(group);
}

Status Task::restore(const state::Restored& restored) {
  uint64_t unknown = 0;
  for (const auto& [id, value] : restored.pages) {
    if (id.step == kPositionId) {
      MILLRACE_RETURN_IF_ERROR(restore_position(value));
      continue;
    }
    bool taken = false;
    for (const Node& node : nodes_) {
      MILLRACE_ASSIGN_OR_RETURN(taken, node.step->restore(id, value));
      if (taken) break;
    }
    if (!taken) ++unknown;
  }
  if (unknown > 0)
    return fail(Errc::kNotBuiltYet,
                fmt::format("the changelog {} holds state of steps that this plan no longer has, or defines otherwise",
                            context_.stage->changelog(context_.plan())),
                "evolving state is not built yet: give the pipeline another name, or delete its changelog topic");
  for (size_t n = 0; n < nodes_.size(); ++n) {
    MILLRACE_RETURN_IF_ERROR(nodes_[n].step->finish_restore());
    // What waits came in, though through another task.
    node_counters_[n].in += nodes_[n].step->waiting();
  }
  if (restored.next_offset) clocks_.front().next = *restored.next_offset;
  for (Schedule& schedule : schedules_) {
    if (schedule.every == RegisterEvery::kEnd) continue;
    const bool by_time = schedule.every == RegisterEvery::kTime;
    if (by_time && watermark_us() == kBeginningOfTime) continue;
    const int64_t boundary =
        by_time ? floor_to(watermark_us(), schedule.amount) : static_cast<int64_t>(records_in_) / schedule.amount;
    if (boundary == 0 && !by_time) continue;
    schedule.begun = true;
    schedule.boundary = boundary + (by_time ? schedule.amount : 1);
    // A round that this partition waits for is asked for again: nobody else may have.
    const bool waits = std::ranges::find(blocked_on_, Blocked{schedule.step, boundary}) != blocked_on_.end();
    MILLRACE_RETURN_IF_ERROR(submit(schedule, boundary, waits));
  }
  return {};
}

uint64_t Task::records_in() const {
  uint64_t records = 0;
  for (const StepCounters& source : source_counters_) records += source.in;
  return records;
}

std::vector<StepCounters> Task::counters() const {
  std::vector<StepCounters> all = source_counters_;
  for (StepCounters& source : all) source.out = source.in - source.dead_letters - source.filtered;
  for (size_t n = 0; n < nodes_.size(); ++n) {
    all.push_back(node_counters_[n]);
    all.back().waiting = nodes_[n].step->waiting();
  }
  return all;
}

}  // namespace millrace::pipeline
