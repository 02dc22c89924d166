#include <algorithm>

#include "base/byte_reader.h"
#include "base/check.h"
#include "pipeline/internal/task.h"

namespace millrace::pipeline {
namespace {

// As format::TimeFormat::check_likely() has it.
constexpr int64_t kAheadMaxUs = 86'400LL * 1'000'000;

}  // namespace

Result<Task::Work> Task::decode(size_t source, Intake intake) {
  Work work;
  work.intake = std::move(intake);
  const auto& records = work.intake.records;
  format::Decoded decoded = decoders_[source].decode(records);
  work.times_us.assign(records.size(), kBeginningOfTime);
  const std::string& name = source_counters_[source].id;
  for (format::Reject& reject : decoded.rejects)
    work.refused.push_back({reject.record, name, std::move(reject.reason)});
  for (const format::Heartbeat& heartbeat : decoded.heartbeats) {
    work.times_us[heartbeat.record] = heartbeat.row.event_time_us;
    work.heartbeats.push_back(heartbeat.record);
  }
  const bool front = std::any_of(nodes_.begin(), nodes_.end(),
                                 [&](const Node& node) { return node.front && node.from_source == source; });
  if (front) {
    MILLRACE_RETURN_IF_ERROR(decode_front(source, work, decoded.batch));
  } else {
    work.batch = std::move(decoded.batch);
  }
  // A declared time so far ahead was refused. Of a source without one it is the record's own, which may be any number:
  // it stays the row's, and moves nothing.
  const int64_t latest_us = to_unix_us(context_.clock->wall_now()) + kAheadMaxUs;
  size_t record = 0;
  for (size_t row = 0; row < work.batch.rows(); ++row) {
    const columns::RowId& id = work.batch.row_id(row);
    while (records[record].offset != id.offset) ++record;
    if (id.event_time_us <= latest_us) work.times_us[record] = id.event_time_us;
  }
  return work;
}

// Rows whose time an sql step tells: it runs before anything else can be said of them.
Status Task::decode_front(size_t source, Work& work, const columns::Batch& rows) {
  const auto& records = work.intake.records;
  for (size_t n = 0; n < nodes_.size(); ++n) {
    Node& node = nodes_[n];
    if (!node.front || node.from_source != source) continue;
    MILLRACE_ASSIGN_OR_RETURN(StepOutput out, node.step->process(rows, Timeline{}));
    StepCounters& counters = node_counters_[n];
    counters.in += rows.rows();
    counters.out += out.batch.rows();
    counters.filtered += out.filtered;
    for (StepReject& reject : out.rejected) {
      const auto record = std::lower_bound(records.begin(), records.end(), reject.id.offset,
                                           [](const auto& r, Offset offset) { return r.offset < offset; });
      work.refused.push_back(
          {static_cast<uint32_t>(record - records.begin()), node.plan->id, std::move(reject.reason)});
    }
    work.batch = std::move(out.batch);
  }
  std::sort(work.refused.begin(), work.refused.end(),
            [](const Refused& a, const Refused& b) { return a.record < b.record; });
  return {};
}

// The source to go on with. Sources of a bounded run are merged by event time, so that the result is a function of the
// input; a live source is never held up by another.
std::optional<size_t> Task::pick_source() const {
  std::optional<size_t> best;
  int64_t best_us = 0;
  for (size_t s = 0; s < queues_.size(); ++s) {
    if (queues_[s].empty()) {
      if (context_.bounded && !clocks_[s].ended) return std::nullopt;
      continue;
    }
    const Work& work = queues_[s].front();
    const int64_t time_us = work.times_us[work.next];
    if (!best || (context_.bounded && time_us < best_us)) {
      best = s;
      best_us = time_us;
    }
  }
  return best;
}

// Behind which record to stop: where a cut is due, or where another source has earlier events.
size_t Task::segment_end(size_t source, const Work& work) const {
  int64_t other_us = kEndOfTime;
  if (context_.bounded)
    for (size_t s = 0; s < queues_.size(); ++s)
      if (s != source && !queues_[s].empty())
        other_us = std::min(other_us, queues_[s].front().times_us[queues_[s].front().next]);
  SourceClock clock = clocks_[source];
  uint64_t records = records_in_;
  for (size_t i = work.next; i < work.times_us.size(); ++i) {
    if (i > work.next && work.times_us[i] > other_us) return i;
    clock.newest_us = std::max(clock.newest_us, work.times_us[i]);
    ++records;
    if (source != 0) continue;
    for (const Schedule& schedule : schedules_) {
      if (schedule.every == RegisterEvery::kTime && clock.watermark_us() != kBeginningOfTime &&
          (!schedule.begun || clock.watermark_us() >= schedule.boundary))
        return i + 1;
      if (schedule.every == RegisterEvery::kRows && records % static_cast<uint64_t>(schedule.amount) == 0) return i + 1;
    }
  }
  return work.times_us.size();
}

int64_t Task::combined_watermark(size_t source, int64_t own_us) const {
  int64_t least = own_us;
  for (size_t s = 0; s < clocks_.size(); ++s)
    if (s != source && !clocks_[s].idle) least = std::min(least, clocks_[s].watermark_us());
  return least;
}

int64_t Task::watermark_us() const { return clocks_.front().watermark_us(); }

Timeline Task::tell_time(size_t source, Work& work, size_t end, Timeline& combined) {
  Timeline own;
  SourceClock& clock = clocks_[source];
  own.partition = combined.partition = partition_;
  own.offsets.reserve(end - work.next);
  own.before_us.reserve(end - work.next);
  const bool alone = clocks_.size() == 1;
  for (size_t i = work.next; i < end; ++i) {
    own.offsets.push_back(work.intake.records[i].offset.value());
    own.before_us.push_back(clock.watermark_us());
    if (!alone) combined.before_us.push_back(combined_watermark(source, clock.watermark_us()));
    clock.newest_us = std::max(clock.newest_us, work.times_us[i]);
  }
  own.end_us = clock.watermark_us();
  if (!alone) {
    combined.offsets = own.offsets;
    combined.end_us = combined_watermark(source, own.end_us);
  }
  return own;
}

namespace {
// Version 1 ended before the versions in force.
constexpr uint8_t kPositionVersion = 2;
}  // namespace

Bytes Task::encode_position() const {
  Bytes bytes;
  ByteWriter out(bytes);
  out.fixed(kPositionVersion);
  out.uvarint(clocks_.size());
  for (const SourceClock& clock : clocks_) {
    out.varint(clock.next.value());
    out.fixed(clock.newest_us);
  }
  out.uvarint(records_in_);
  out.varint(first_offset_ ? first_offset_->value() : -1);
  out.fixed(event_time_from_us_.value_or(kBeginningOfTime));
  out.uvarint(served_.size());
  for (const auto& [model, served] : served_) {
    out.uvarint(model.size());
    out.text(model);
    out.varint(served ? served->version : 0);
  }
  out.uvarint(blocked_on_.size());
  for (const Blocked& blocked : blocked_on_) {
    out.uvarint(blocked.step.size());
    out.text(blocked.step);
    out.fixed(blocked.boundary);
  }
  return bytes;
}

Status Task::restore_position(ByteView bytes) {
  ByteReader in(bytes);
  MILLRACE_ASSIGN_OR_RETURN(const uint8_t version, in.fixed<uint8_t>());
  if (version == 0 || version > kPositionVersion)
    return fail(Errc::kUnsupported, "the position page is of a later version");
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t count, in.uvarint());
  if (count != clocks_.size())
    return fail(Errc::kNotBuiltYet, "the state in the changelog was made with other sources",
                "evolving state is not built yet: give the pipeline another name, or delete its changelog topics");
  for (SourceClock& clock : clocks_) {
    MILLRACE_ASSIGN_OR_RETURN(const int64_t next, in.varint());
    MILLRACE_ASSIGN_OR_RETURN(clock.newest_us, in.fixed<int64_t>());
    clock.next = Offset(next);
  }
  MILLRACE_ASSIGN_OR_RETURN(records_in_, in.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t first, in.varint());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t from_us, in.fixed<int64_t>());
  if (first >= 0) first_offset_ = Offset(first);
  if (from_us != kBeginningOfTime) event_time_from_us_ = from_us;
  return version < 2 ? Status() : restore_versions(in);
}

// Of models and steps that follow event time still: the plan may serve the latest version now.
Status Task::restore_versions(ByteReader& in) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t models, in.uvarint());
  for (uint64_t i = 0; i < models; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, in.uvarint());
    MILLRACE_ASSIGN_OR_RETURN(const std::string_view model, in.text(size));
    MILLRACE_ASSIGN_OR_RETURN(const int64_t version, in.varint());
    const auto served = served_.find(std::string(model));
    Rounds* const rounds = rounds_of(model);
    if (served == served_.end() || rounds == nullptr) continue;
    MILLRACE_ASSIGN_OR_RETURN(served->second, rounds->load(version));
  }
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t waiting, in.uvarint());
  for (uint64_t i = 0; i < waiting; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, in.uvarint());
    MILLRACE_ASSIGN_OR_RETURN(const std::string_view step, in.text(size));
    MILLRACE_ASSIGN_OR_RETURN(const int64_t boundary, in.fixed<int64_t>());
    const auto rounds = context_.rounds.find(step);
    if (rounds != context_.rounds.end() && event_time_models_.contains(rounds->second->model()))
      blocked_on_.push_back({std::string(step), boundary});
  }
  return {};
}

}  // namespace millrace::pipeline
