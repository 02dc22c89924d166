#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/clock.h"
#include "base/result.h"
#include "format/decoder.h"
#include "format/encoder.h"
#include "pipeline/counters.h"
#include "pipeline/internal/outputs.h"
#include "pipeline/internal/rounds.h"
#include "pipeline/internal/step.h"
#include "pipeline/internal/steps.h"
#include "pipeline/resolve.h"
#include "state/changelog.h"

namespace millrace::pipeline {

// What the tasks of one stage share. Everything must outlive them.
struct StageContext {
  const ResolvedPlan* resolved = nullptr;
  const Stage* stage = nullptr;
  std::shared_ptr<sql::Database> database;  // null where no step needs it
  const Clock* clock = nullptr;
  Outputs* outputs = nullptr;
  Champions* champions = nullptr;                      // of the worker's thread
  std::map<std::string, Rounds*, std::less<>> rounds;  // by the id of the train step
  // The input ends: versions are taken at boundaries in event time, and sources are merged by it.
  bool bounded = false;

  const Plan& plan() const { return resolved->plan; }
};

// Records of one partition of one source, in the order of their offsets; `owner` keeps what the views point to.
struct Intake {
  std::vector<format::RecordView> records;
  std::shared_ptr<const void> owner;
};

// One input partition of a stage: decoding, steps, state, sinks, from record to record. Results depend on the order of
// the records and on nothing else, wherever they are cut into batches.
// Owned by one thread. After an error it is of no more use: make a new one and restore it from the changelog.
class Task {
 public:
  static Result<std::unique_ptr<Task>> make(const StageContext& context, PartitionId partition);
  ~Task();

  PartitionId partition() const { return partition_; }

  // Work through the records of source number `source` (in Stage::sources). They may stay queued: while the task is
  // blocked, or while another source may still bring earlier events.
  Status process(size_t source, Intake intake);
  // Records taken in and not worked through yet.
  size_t queued(size_t source) const;
  // Waits for a version to be registered; resume() goes on where it is.
  bool blocked() const { return !blocked_on_.empty(); }
  Status resume();
  // "the version of model m at 2026-01-01T00:00:00Z; partitions 1, 3 are not there yet". Precondition: blocked().
  std::string waits_for() const;
  // The source has ended; when all have, time goes to its end: windows close and waiting rows leave.
  Status end(size_t source);
  // A source that is silent for longer than its `idle` does not hold back the others' time. Say it again and again: a
  // blocked task does not take it.
  Status set_idle(size_t source, bool idle);
  bool ended() const { return ended_; }

  // The next record to be worked through, per source: what a commit may promise.
  Offset next_offset(size_t source) const { return clocks_[source].next; }

  // A partition without news counts as past the boundary that others wait at.
  Status pass_pending_rounds();

  // Hand over what changed since the last call, and what restore() needs. Forgets that it changed: when the commit
  // fails the task is of no more use.
  void collect(state::ChangelogGroup& group);
  // From a changelog's closed groups; before any record. `next` is the offset in the first source. kNotBuiltYet for the
  // state of another plan: trying again changes nothing.
  Status restore(const state::Restored& restored);

  // Per source and step, in the plan's order: sources first. Rows that were restored as waiting count as come in.
  std::vector<StepCounters> counters() const;
  uint64_t records_in() const;  // since this object was made
  uint64_t dead_letters() const { return dead_letters_; }
  uint64_t written(size_t sink) const { return written_[sink]; }
  // Event time as far as it is known; kBeginningOfTime before the first event.
  int64_t watermark_us() const;
  // The training of each train step, by step id.
  const std::map<std::string, const TrainCore*>& trainers() const { return trainers_; }

 private:
  // Where one source is.
  struct SourceClock {
    Offset next{0};
    int64_t newest_us = kBeginningOfTime;
    int64_t lag_us = 0;
    bool ended = false;
    bool idle = false;

    int64_t watermark_us() const {
      if (ended) return kEndOfTime;
      return newest_us == kBeginningOfTime ? kBeginningOfTime : newest_us - lag_us;
    }
  };
  // A record that became no row, and where: the source, or the sql step that tells the time.
  struct Refused {
    uint32_t record = 0;
    std::string step;
    std::string reason;
  };
  // A decoded batch that is being worked through.
  struct Work {
    Intake intake;
    columns::Batch batch;              // rows with their event time
    std::vector<int64_t> times_us;     // per record: its event time, kBeginningOfTime where it has none
    std::vector<Refused> refused;      // by record
    std::vector<uint32_t> heartbeats;  // records that only tell the time
    size_t next = 0;                   // record to go on with
    size_t next_row = 0;               // row of `batch` to go on with
    size_t next_refused = 0;           // of `refused` to go on with
    size_t next_heartbeat = 0;
  };
  // A train step's boundaries.
  struct Schedule {
    std::string step;
    RegisterEvery every = RegisterEvery::kEnd;
    int64_t amount = 0;
    bool begun = false;
    int64_t boundary = 0;  // the next; event time, or number of rows
  };
  struct Node {
    const StepPlan* plan = nullptr;
    std::unique_ptr<Step> step;
    std::optional<size_t> from_node;    // reads this node's output, else
    size_t from_source = 0;             // this source's rows
    std::optional<size_t> side_source;  // label: the source of truth
    bool front = false;                 // gives rows their time; runs before time is told
    bool behind_label = false;          // its rows have waited: their records may be long gone
  };
  // What a train step is made of, until it is.
  struct Training {
    std::unique_ptr<TrainCore> core;
    std::shared_ptr<LabelPass> pass;  // null: not behind a label
    size_t number = 0;
  };
  struct SinkWriter {
    size_t index = 0;  // in Plan::sinks
    std::optional<size_t> from_node;
    size_t from_source = 0;
    std::optional<format::Encoder> encoder;
    std::vector<size_t> key_columns;
  };

  Task(const StageContext& context, PartitionId partition);
  // task_build.cc
  Status build();
  Status build_source(size_t source);
  Status build_node(size_t step);
  Status build_sink(size_t sink);
  Result<std::unique_ptr<Step>> make_step(const StepPlan& plan, const columns::SchemaPtr& in, Node& node);
  ServedLookup served_lookup(const PredictPlan& plan);
  std::string live_column(const StepPlan& behind, const std::string& model) const;
  columns::SchemaPtr schema_of(std::string_view name) const;
  void build_schedules();
  Rounds* rounds_of(std::string_view model) const;

  // task_intake.cc
  Result<Work> decode(size_t source, Intake intake);
  Status decode_front(size_t source, Work& work, const columns::Batch& rows);
  std::optional<size_t> pick_source() const;
  size_t segment_end(size_t source, const Work& work) const;
  Timeline tell_time(size_t source, Work& work, size_t end, Timeline& combined);
  int64_t combined_watermark(size_t source, int64_t own_us) const;
  Bytes encode_position() const;
  Status restore_position(ByteView bytes);
  Status restore_versions(ByteReader& in);

  // task.cc
  Status drain();
  Status run_segment(size_t source, Work& work, size_t end);
  Status run_steps(size_t source, const columns::Batch& rows, const Timeline& own, const Timeline& combined);
  Status run_node(size_t index, const columns::Batch& in, const Timeline& time, bool side);
  Status write_sinks();
  Status write_rows(SinkWriter& sink, const columns::Batch& batch);
  Status bury(std::string_view step, Offset offset, std::string_view error, const std::string& row_json);
  Status take_cuts();
  Status submit(const Schedule& schedule, int64_t boundary, bool makes_round);
  Status take_decisions();
  Status advance_ended();
  Status finish();

  StageContext context_;
  PartitionId partition_;
  std::vector<format::Decoder> decoders_;
  std::vector<SourceClock> clocks_;
  std::vector<std::deque<Work>> queues_;  // per source: decoded, not worked through; bounded by who feeds the task
  std::vector<Node> nodes_;
  std::vector<SinkWriter> sinks_;
  std::vector<Schedule> schedules_;
  std::map<std::string, const TrainCore*> trainers_;
  std::map<std::string, std::shared_ptr<LabelPass>> passes_;          // by the label's id
  std::map<std::string, Training> trainings_;                         // by the train step's id
  std::map<std::string, std::shared_ptr<const ServedModel>> served_;  // by model: in force at event time
  std::set<std::string> event_time_models_;

  // Of the segment in work.
  std::vector<std::optional<columns::Batch>> outputs_;  // per node
  std::vector<std::optional<columns::Batch>> source_rows_;
  const Work* current_ = nullptr;  // null: time moves without records
  size_t current_source_ = 0;

  struct Blocked {
    std::string step;
    int64_t boundary = 0;

    friend bool operator==(const Blocked&, const Blocked&) = default;
  };
  std::vector<Blocked> blocked_on_;  // versions that this partition waits for
  std::vector<bool> end_requested_;  // per source
  bool ended_ = false;
  std::vector<StepCounters> source_counters_, node_counters_;
  std::vector<uint64_t> written_;
  uint64_t records_in_ = 0;  // of the first source, since its beginning: what boundaries in rows count
  uint64_t dead_letters_ = 0;
  std::optional<int64_t> event_time_from_us_;
  std::optional<Offset> first_offset_;
  std::string scratch_value_, scratch_key_;
};

}  // namespace millrace::pipeline
