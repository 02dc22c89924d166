#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "client/producer.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

struct FeedOptions {
  const SourcePlan* source = nullptr;
  int32_t partitions = 1;  // of its topic
  std::string path;
  std::function<void(uint64_t bytes, uint64_t bytes_total)> progress;
};

// Sends a file's records to a source's topic: each with the key that the source declares, partitioned as Java's
// producer does, at its event time. A record that cannot be read goes, as it is, where the one before it went.
// Returns the number of records.
Result<uint64_t> feed(client::Producer& producer, const FeedOptions& options, const Clock& clock,
                      const std::stop_token& stop);

}  // namespace millrace::pipeline
