#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"

namespace millrace::pipeline {

// A record that a sink writes. Views are read before write() returns.
struct SinkRecord {
  size_t sink = 0;  // in Plan::sinks
  PartitionId source_partition;
  std::optional<std::string_view> key;
  std::string_view value;
  int64_t timestamp_ms = -1;
};

// A record that a step could not take, with its raw bytes where they are still at hand.
struct DeadLetter {
  std::string_view topic;
  PartitionId partition;
  Offset offset;
  std::string_view step;
  std::string_view error;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  bool value_is_row = false;  // the raw record is gone: the value is the row, as JSON
  int64_t timestamp_ms = -1;
};

struct RoundRecord;

// Where a task's rows go: a producer, or a test's memory. One thread.
class Outputs {
 public:
  virtual ~Outputs() = default;
  virtual Status write(const SinkRecord& record) = 0;
  virtual Status dead_letter(const DeadLetter& letter) = 0;
  // A piece of a learner at a cut, for the topic of rounds.
  virtual Status round_record(const RoundRecord& record) = 0;
};

}  // namespace millrace::pipeline
