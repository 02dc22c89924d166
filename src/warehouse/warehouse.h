#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "client/options.h"
#include "env/file_system.h"
#include "format/decoder.h"

namespace millrace::warehouse {

// What a table sink asks for.
enum class Mode {
  kAppend,  // a row per record
  kUpsert,  // the newest row per key
};
struct TableSpec {
  std::string name;
  std::string topic;       // json, written by a pipeline
  columns::Schema schema;  // of the rows
  Mode mode = Mode::kAppend;
  std::vector<std::string> key;  // kUpsert: columns of `schema`

  friend bool operator==(const TableSpec&, const TableSpec&) = default;
};

// A table and how far it is.
struct TableStatus {
  TableSpec spec;
  uint64_t rows_carried = 0;  // into it since the start
  uint64_t rejected = 0;      // records since the start that were no rows; the log names them
  int64_t lag = 0;            // records of the topic that are not in it yet, as last seen
  std::string trouble;        // what keeps it from being filled at the moment; empty: nothing
};

// How the records of a topic are to be read, where a running pipeline declares it. Thread-safe.
struct TopicSchema {
  format::Format format = format::Format::kJson;
  columns::Schema columns;
  std::optional<format::TimeColumn> time;
};
class TopicSchemas {
 public:
  virtual ~TopicSchemas() = default;
  virtual std::optional<TopicSchema> find(const std::string& topic) const = 0;
};

struct Options {
  std::string directory;    // holds warehouse.duckdb; exists
  client::Options cluster;  // where the topics are; an empty bootstrap: nowhere, tables are only read
  uint64_t memory_bytes_max = 512ull << 20;
  size_t commit_rows_max = 65'536;                  // a transaction takes at most so many rows,
  std::chrono::milliseconds commit_interval{200};   // and the first of them waits at most so long
  std::chrono::milliseconds query_timeout{60'000};  // where a query gives none
};

// A statement's answer.
enum class AnswerFormat { kJson, kCsv, kParquet };
struct QueryOptions {
  AnswerFormat format = AnswerFormat::kJson;
  std::optional<std::chrono::milliseconds> timeout;
  uint64_t answer_bytes_max = 256ull << 20;  // a longer answer is kTooLarge
  std::stop_token cancel;                    // whoever asked is gone
};
struct Answer {
  //   kJson:    {"columns":[{"name":"n","type":"BIGINT"}],"rows":[[1]]}; decimals as numbers, times as RFC 3339 in UTC
  //   kCsv:     a header line and the rows (RFC 4180), lines ended by LF
  //   kParquet: a file's bytes
  std::string body;
  uint64_t rows = 0;
};
std::string_view content_type(AnswerFormat format);
Result<AnswerFormat> parse_answer_format(std::string_view name);

// The tables of a data folder: their one owner. It carries table sinks' topics into their tables, rows and offsets in
// one transaction of the database (docs/formats/warehouse.md), so that every record is in its table exactly once,
// whatever crashes; and it answers SQL over the tables and over topics. The database is opened, and its library loaded,
// when there is a table or a query. Thread-safe.
class Warehouse {
 public:
  // Nothing is opened but what is there: tables of earlier runs are filled again from start() on. `schemas` may be
  // null; it, `clock`, `files` and `metrics` must outlive the warehouse.
  static Result<std::unique_ptr<Warehouse>> open(Options options, const Clock& clock, env::FileSystem& files,
                                                 Metrics& metrics, const TopicSchemas* schemas);
  ~Warehouse();  // as stop()

  // Begin to carry topics into tables.
  Status start();
  // Finish the transaction under way, cancel the queries, join the threads. Idempotent.
  void stop();

  // Make the table if it is new, and fill it from its topic's beginning; one that is there goes on where it was.
  // Columns may be added to it. kConflict when it is there with another topic, mode, key or types; kInvalidArgument for
  // names that begin with an underscore, and for keys that are no columns.
  Status declare(const TableSpec& spec);

  std::vector<TableStatus> tables() const;
  // Waits until every table holds what its topic held when this was called. kTimedOut, or what keeps a table back.
  Status catch_up(std::chrono::milliseconds timeout);

  // Runs one SELECT (or WITH, FROM, VALUES, SHOW, DESCRIBE, SUMMARIZE, EXPLAIN) in a read-only transaction; everything
  // else is refused by name. Besides tables it may read topic('name', from := 'earliest', rows := n): the records of a
  // topic from `from` (earliest, an offset, a negative number of last records, or a time; each per partition) to the
  // ends it had when the statement began, as _partition, _offset, _timestamp, _key, value, and the declared columns
  // where `schemas` knows the topic (NULL for records that do not fit them). Blocks. kInvalidArgument with the
  // statement's error, kTooLarge for memory or answer, kTimedOut, kCancelled.
  Result<Answer> query(const std::string& sql, const QueryOptions& options = {});
  // The same on a thread of the warehouse's; `done` is called there, once. At most kQueriesWaitingMax wait: more are
  // kUnavailable, at once and on the caller's thread.
  void query_async(std::string sql, QueryOptions options, std::function<void(Result<Answer>)> done);
  static constexpr size_t kQueriesWaitingMax = 16;

 private:
  class Impl;
  explicit Warehouse(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::warehouse
