#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "client/options.h"
#include "client/records.h"
#include "pipeline/resolve.h"
#include "pipeline/status.h"

namespace millrace::registry {
class Registry;
}

namespace millrace::pipeline {

struct WorkerOptions {
  client::Options client;
  // Members of each stage's consumer group in this process, a thread each. Other processes may join the same groups.
  int threads = 1;
  // Where each partition of each source ends, for a run that ends; empty: it runs until it is stopped. Partitions that
  // are missing have no input.
  std::map<client::TopicPartition, Offset> ends;
  bool bounded = false;
};

// A pipeline at work in this process: it makes the topics that are missing, joins the consumer groups, and processes
// the partitions it is given until it is stopped or its bounded input ends. Killing the process at any moment loses
// nothing: whoever gets its partitions goes on from the last commit.
class Worker {
 public:
  // Reaches the broker: topics are made and the registry, where models are trained or served, is read. `plan` must have
  // been resolved without findings; `clock` must outlive the worker.
  static Result<std::unique_ptr<Worker>> make(ResolvedPlan plan, WorkerOptions options, const Clock& clock);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Blocks until `stop`, the end of bounded input, or an error that trying again cannot mend. Once.
  Status run(const std::stop_token& stop);

  // As of the last commit; thread-safe, also while run() runs.
  PipelineStatus status() const;
  const ResolvedPlan& plan() const;
  // The registry, null where the pipeline has no models.
  const registry::Registry* registry() const;

  // "at least once: …": the guarantee that runs.
  static std::string guarantee();

 private:
  struct Impl;
  explicit Worker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::pipeline
