#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "learn/metrics.h"
#include "pipeline/counters.h"

namespace millrace::pipeline {

// What a partition's training looks like; cheap to copy.
struct PartitionMetrics {
  int32_t partition = 0;
  learn::Metrics learner, prior, last;
  learn::Metrics live;  // judges no rows where the pipeline serves no prediction of the model
  uint64_t rows_learned = 0;
};

struct ModelStatus {
  std::string name;
  std::string step;                          // the train step
  int64_t version = 0;                       // the newest that is registered; 0: there is none
  int64_t champion = 0;                      // the one that serves; 0: none does
  uint64_t rows = 0;                         // learned, all partitions that are here
  std::vector<PartitionMetrics> partitions;  // ascending

  // Over everything, in partition order; asks for all scores, so not for every refresh of a page.
  learn::MetricsReport learner() const;
  learn::MetricsReport live() const;
  learn::MetricsReport learner_window() const;
  learn::MetricsReport live_window() const;
};

struct SinkStatus {
  std::string id;
  std::string topic;
  uint64_t written = 0;
};

// A pipeline as it was at its last commit. Counters count since this process started it.
struct PipelineStatus {
  std::string name;
  std::string state;        // "starting", "running", "finished", "stopped", "failed"
  std::string error;        // of a failed one
  double busy_seconds = 0;  // from the first record read to the last commit that moved
  uint64_t records_in = 0;
  uint64_t rows_out = 0;  // written to sinks, all together
  uint64_t filtered = 0;
  uint64_t dead_letters = 0;
  uint64_t waiting = 0;
  int partitions = 0;               // held by this process
  std::vector<StepCounters> steps;  // sources first, then steps, in the plan's order
  std::vector<SinkStatus> sinks;
  std::vector<ModelStatus> models;

  double events_per_s() const;  // over busy_seconds
};

}  // namespace millrace::pipeline
