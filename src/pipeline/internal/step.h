#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "columns/batch.h"
#include "pipeline/internal/timeline.h"
#include "state/changelog.h"

namespace millrace::pipeline {

// A row of a step's input that it cannot take.
struct StepReject {
  columns::RowId id;
  std::string reason;
};

struct StepOutput {
  columns::Batch batch;
  std::vector<StepReject> rejected;
  uint64_t filtered = 0;
  uint64_t late = 0;
  // Of steps that make new rows (aggregate): how many input rows were taken; the batch's rows are emitted then.
  bool emits = false;
  uint64_t taken = 0;
};

// One step of one partition: its logic and its state. One thread at a time. The next kind of step is one more file.
class Step {
 public:
  virtual ~Step() = default;

  // Take rows, in the order of their offsets, and the time that passed while they arrived (also without rows). Fails
  // only where no row is to blame.
  virtual Result<StepOutput> process(const columns::Batch& batch, const Timeline& time) = 0;
  // Rows of the second source, for steps that have one.
  virtual Result<StepOutput> process_side(const columns::Batch& batch, const Timeline& time);

  // Rows held back now.
  virtual uint64_t waiting() const { return 0; }

  // Hand over the pages that changed since the last call.
  virtual void collect(state::ChangelogGroup& group);
  // Take a page back that this step's collect() handed over under `step`; false where it is none of this step's.
  virtual Result<bool> restore(const state::PageId& id, ByteView value);
  // All pages are there.
  virtual Status finish_restore() { return {}; }
};

// A batch of that schema without rows: time passes without them, too.
columns::Batch no_rows(columns::SchemaPtr schema);

// Adds what features and conditions need.
columns::Batch select_columns(const columns::Batch& batch, columns::SchemaPtr schema,
                              std::span<const size_t> positions);

}  // namespace millrace::pipeline
