#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "base/result.h"
#include "columns/batch.h"
#include "sql/database.h"

namespace millrace::sql {

// What is wrong with a statement, and where.
struct Issue {
  Error error;
  std::optional<size_t> position;  // byte in the statement, where known
};

struct BatchQueryOptions {
  std::string input;          // the name that the statement reads FROM: the step before
  columns::SchemaPtr schema;  // of the batches
  std::string sql;
};

// A row that the statement failed on.
struct RowReject {
  uint32_t row = 0;    // in the input batch
  std::string reason;  // DuckDB's message
};

struct BatchOutput {
  columns::Batch batch;            // with the row ids of the rows they came from, in their order
  std::vector<uint32_t> origin;    // per output row: its row in the input batch
  uint64_t filtered = 0;           // rows that WHERE dropped
  std::vector<RowReject> rejects;  // ascending
};  // batch.rows() + filtered + rejects.size() == input.rows()

// A row-wise SELECT over micro-batches: prepared once, run for each batch through a table function. Every row keeps its
// identity whatever is selected, through a hidden row number injected into the parsed statement. When a batch fails
// (one bad cast fails a whole statement) it is halved until the bad rows are alone. Columns that are only passed on
// share their memory with the input. One thread at a time.
//
// Result types: integers -> bigint; float, double -> double; decimal of up to 18 digits -> decimal, wider -> double;
// date, timestamp in any unit and zone -> timestamp; boolean -> boolean; everything else is cast to varchar.
class BatchQuery {
 public:
  // The statement must be one SELECT that treats rows one by one, reading only the input. Everything else is refused,
  // with the native step that does the job: aggregates (features, aggregate), GROUP BY, window functions and DISTINCT
  // (features, aggregate, dedup), joins (join), ORDER BY and LIMIT, unnest (explode), set operations, other tables,
  // files and table functions, subqueries in expressions, and functions whose answer depends on more than their
  // arguments (random(), now(), current_date, nextval). Fails on names that do not exist, too (with the nearest), and
  // on types that do not fit. Of several mistakes the first in the text is told.
  static tl::expected<std::unique_ptr<BatchQuery>, Issue> make(std::shared_ptr<Database> database,
                                                               BatchQueryOptions options);
  ~BatchQuery();
  BatchQuery(const BatchQuery&) = delete;
  BatchQuery& operator=(const BatchQuery&) = delete;

  const columns::SchemaPtr& output_schema() const;
  // Remarks for lint: "column x: decimal(38,2) becomes double".
  const std::vector<std::string>& notes() const;

  // `input` has the schema given to make(). Fails only when no row is to blame: kTooLarge when memory does not suffice,
  // kInternal.
  Result<BatchOutput> run(const columns::Batch& input);

 private:
  class Impl;
  explicit BatchQuery(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::sql
