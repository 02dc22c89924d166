#pragma once

#include <cstdint>
#include <vector>

#include "columns/batch.h"
#include "learn/trainer.h"
#include "pipeline/internal/train_core.h"
#include "pipeline/internal/waiting_rows.h"

namespace millrace::pipeline {

// What a label step did with one run of rows, for the train steps behind it: they predict where waits began and learn
// where waits ended, in the order in which that happened, once the rows have come through the steps between. Written by
// the label, read by its trainers until the next run.
struct LabelPass {
  size_t trainers = 0;  // how many there are; each has its number, and a prediction under it in every waiting row

  columns::Batch arriving;           // rows of the label's input
  columns::Batch released;           // rows of its output
  std::vector<ScriptOp> script;      // predict: rows of `arriving`; learn: rows of `released`
  std::vector<WaitingRow*> waiting;  // per arriving row: where it waits, null if it waits no longer
  std::vector<uint32_t> arrived_as;  // per released row: its number in `arriving`, else TrainCore::kNone
  std::vector<WaitingRow> left;      // per released row: how it waited
};

}  // namespace millrace::pipeline
