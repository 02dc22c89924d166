#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace millrace::http {

// What the console's first page shows, at one moment. Counts are totals since the server started; the page derives
// rates.
struct TopicRow {
  std::string name;
  int64_t partitions = 0;
  uint64_t records_in = 0;
  uint64_t records_out = 0;
};

struct GroupRow {
  std::string name;
  std::string state;  // Kafka's names
  int64_t members = 0;
  int64_t lag = 0;  // records, all partitions together
};

struct PipelineRow {
  std::string name;
  std::string state;  // starting, running, stopped, failed
  std::optional<std::string> error;
  uint64_t rows_in = 0;
  uint64_t rows_out = 0;
  uint64_t filtered = 0;
  uint64_t dead_letters = 0;
  uint64_t waiting = 0;
};

// A table of the warehouse; `rows` and `rejected` since the start.
struct TableRow {
  std::string name;
  std::string topic;
  uint64_t rows = 0;                 // carried into it
  uint64_t rejected = 0;             // records that were no rows
  int64_t lag = 0;                   // records of the topic that are not in it yet
  std::optional<std::string> error;  // what keeps it from being filled at the moment
};

struct ModelRow {
  std::string name;
  std::string algorithm;
  int64_t version = 0;                    // the newest; 0: none yet
  int64_t champion = 0;                   // 0: none yet
  uint64_t rows = 0;                      // learned from
  std::string leading;                    // the metric to look at first
  std::map<std::string, double> learner;  // metric -> value; NaN: not known yet
  std::map<std::string, double> live;
};

struct EventRow {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = 0;
  int64_t timestamp_ms = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;  // shortened
};

struct Overview {
  int64_t at_ms = 0;  // UTC
  std::string version;
  std::string kafka;  // HOST:PORT
  std::vector<TopicRow> topics;
  std::vector<GroupRow> groups;
  std::vector<PipelineRow> pipelines;
  std::vector<ModelRow> models;
  std::vector<TableRow> tables;
  std::vector<EventRow> events;  // newest first
};

// One JSON object on one line, as docs/manual/http-api.md describes it. Offsets are text: they pass 2^53, where
// JavaScript's numbers stop being exact.
std::string to_json(const Overview& overview);

}  // namespace millrace::http
