#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "columns/batch.h"

namespace millrace::sql {

struct DatabaseOptions {
  std::string path;  // empty: in memory
  uint64_t memory_bytes_max = 256ull << 20;
  int threads = 1;
  // Where statements may spill when memory runs out; empty: nowhere, they fail with kTooLarge.
  std::string temp_directory;
  // Whether statements may reach files. Never where a user's statements run.
  bool external_access = false;
  // Tests point at another library; empty: MILLRACE_DUCKDB_LIBRARY, else beside the binary.
  std::string library;
};

class Connection;

// One DuckDB instance, locked down: no files, no network, no extensions to install or load, time zone UTC, a fixed
// amount of memory, and settings that no statement can change. Loads the library when the first instance of the process
// is opened (about 60 ms and 30 MB). Thread-safe; connections keep it open.
class Database : public std::enable_shared_from_this<Database> {
 public:
  // kUnavailable when the library cannot be loaded; kConflict when another process has the file open; kCorruption when
  // it is no database of a version this one reads; kIo.
  static Result<std::shared_ptr<Database>> open(DatabaseOptions options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Result<std::unique_ptr<Connection>> connect();

  // DuckDB's version: "v1.5.6".
  static Result<std::string> library_version();

  // Internal to this module: the C handle.
  void* handle() const { return handle_; }
  // A number no other caller of this database gets.
  uint64_t unique_number() { return next_number_.fetch_add(1); }

 private:
  Database() = default;

  void* handle_ = nullptr;
  std::atomic<uint64_t> next_number_{1};
};

// A statement's rows, batch after batch. Row ids hold the row's number in the result as offset. The connection must
// outlive it, and runs nothing else until the stream is read to its end or destroyed; the transaction of a statement
// that is not read to its end is rolled back when the connection's next one begins.
class ResultStream {
 public:
  ~ResultStream();
  ResultStream(ResultStream&&) noexcept;
  ResultStream& operator=(ResultStream&&) noexcept;

  // Columns in our types (see column_type below); names as DuckDB gives them, made unique by _1, _2 …
  const columns::SchemaPtr& schema() const;
  // DuckDB's own type names, column by column: what the user's statement returned.
  const std::vector<std::string>& sql_types() const;
  // Rows inserted, updated or deleted, for statements that return no rows.
  uint64_t rows_changed() const;
  // At most 2,048 rows; nullopt at the end. kCancelled after interrupt().
  Result<std::optional<columns::Batch>> next();

 private:
  friend class Connection;
  struct Impl;
  explicit ResultStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Rows that a statement can read as `FROM name()`; see Connection::register_table.
class TableSource {
 public:
  virtual ~TableSource() = default;
  virtual const columns::Schema& schema() const = 0;
  // Called when a statement begins to read; then next() until it gives an empty batch. From the statement's thread.
  virtual Status rewind() = 0;
  virtual Result<columns::Batch> next() = 0;
};

// Makes the source that a call of a table function reads, when a statement is bound: arguments are its constants as
// text, in order, then named ones as (name, text). From the statement's thread.
struct TableArguments {
  std::vector<std::optional<std::string>> positional;
  std::vector<std::pair<std::string, std::string>> named;
};
using TableFactory = std::function<Result<std::shared_ptr<TableSource>>(const TableArguments& arguments)>;

// One conversation with a database. One thread at a time, but for interrupt().
class Connection {
 public:
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Runs one statement, or several of which the last one's result counts; constants go in as `parameters` ($1, $2 …,
  // text that DuckDB casts; one statement only). Rows are computed as they are read. kInvalidArgument with DuckDB's
  // message for what the statement does wrong, kTooLarge when memory does not suffice, kCancelled after interrupt().
  Result<ResultStream> query(std::string_view sql, const std::vector<std::string>& parameters = {});
  // Runs it to its end and forgets the rows; the number of rows changed.
  Result<uint64_t> execute(std::string_view sql, const std::vector<std::string>& parameters = {});

  // Appends rows to table `table`, whose columns must match the batch's in number and order. Part of the open
  // transaction, if there is one.
  Status append(std::string_view table, const columns::Batch& batch);

  // Makes `FROM name(...)` read what `factory` returns, for every connection of this database. It takes `positional`
  // varchar arguments, and the named ones listed (varchar, may be left out). Precondition: the name is new.
  Status register_table(const std::string& name, size_t positional, const std::vector<std::string>& named,
                        TableFactory factory);

  // What kind of statements a text holds, without running them. kInvalidArgument when it does not parse.
  enum class Kind { kSelect, kExplain, kOther };
  Result<std::vector<Kind>> kinds(std::string_view sql);

  // Stops the running statement from any thread; it returns kCancelled. Nothing happens when none runs.
  void interrupt();

  Database& database() { return *database_; }
  // Internal to this module: the C handle.
  void* handle() const { return handle_; }

 private:
  friend class Database;
  Connection(std::shared_ptr<Database> database, void* handle) : database_(std::move(database)), handle_(handle) {}

  std::shared_ptr<Database> database_;
  void* handle_;
};

// `name` as an SQL identifier, `text` as an SQL literal; quoted so that they can be nothing else.
std::string quote_identifier(std::string_view name);
std::string quote_literal(std::string_view text);

}  // namespace millrace::sql
