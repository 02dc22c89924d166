#include "sql/database.h"

#include <fmt/core.h>

#include "base/check.h"
#include "sql/internal/api.h"
#include "sql/internal/vectors.h"

namespace millrace::sql {
namespace {

duckdb_connection c_connection(const Connection& connection) {
  return static_cast<duckdb_connection>(connection.handle());
}

tl::unexpected<Error> failure(duckdb_error_type type, const char* message) {
  const Errc code = errc_of(type);
  if (code == Errc::kCancelled) return fail(code, "the statement was cancelled");
  if (code == Errc::kTooLarge)
    return fail(code, "the statement needs more memory than it may use", "select fewer rows or columns");
  return fail(code, clean_message(message), hint_of(message));
}

// Errors of DuckDB's before a result exists carry no type; it is in the text.
tl::unexpected<Error> failure(const char* message) {
  const std::string_view text = message == nullptr ? std::string_view() : std::string_view(message);
  if (text.starts_with("INTERRUPT")) return failure(DUCKDB_ERROR_INTERRUPT, message);
  if (text.starts_with("Out of Memory")) return failure(DUCKDB_ERROR_OUT_OF_MEMORY, message);
  return failure(DUCKDB_ERROR_INVALID_INPUT, message);
}

Errc open_errc(std::string_view message) {
  if (message.find("lock") != std::string_view::npos) return Errc::kConflict;
  if (message.find("not a valid DuckDB database") != std::string_view::npos ||
      message.find("version") != std::string_view::npos || message.find("orrupt") != std::string_view::npos)
    return Errc::kCorruption;
  return Errc::kIo;
}

std::string memory_setting(uint64_t bytes) { return fmt::format("{}B", bytes); }

class Config {
 public:
  Config() { MILLRACE_CHECK(api().create_config(&config_) == DuckDBSuccess); }
  ~Config() { api().destroy_config(&config_); }
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  void set(const char* name, const std::string& value) {
    MILLRACE_CHECK(api().set_config(config_, name, value.c_str()) == DuckDBSuccess, name);
  }
  duckdb_config get() const { return config_; }

 private:
  duckdb_config config_ = nullptr;
};

}  // namespace

Result<std::shared_ptr<Database>> Database::open(DatabaseOptions options) {
  MILLRACE_RETURN_IF_ERROR(load_api(options.library));
  Config config;
  config.set("threads", fmt::format("{}", options.threads));
  config.set("memory_limit", memory_setting(options.memory_bytes_max));
  config.set("temp_directory", options.temp_directory);
  config.set("autoinstall_known_extensions", "false");
  config.set("autoload_known_extensions", "false");
  config.set("allow_community_extensions", "false");
  config.set("allow_unsigned_extensions", "false");
  char* message = nullptr;
  duckdb_database handle = nullptr;
  const char* path = options.path.empty() ? nullptr : options.path.c_str();
  if (api().open_ext(path, &handle, config.get(), &message) != DuckDBSuccess) {
    const std::string text = message == nullptr ? std::string() : std::string(message);
    api().free(message);
    const Errc code = open_errc(text);
    return fail(code,
                fmt::format("{}: {}", options.path.empty() ? "a database in memory" : options.path,
                            clean_message(text.c_str())),
                code == Errc::kConflict ? "stop the other process that has it open" : std::string());
  }
  std::shared_ptr<Database> database(new Database());
  database->handle_ = handle;
  MILLRACE_ASSIGN_OR_RETURN(const auto connection, database->connect());
  // The order matters: after the last one nothing can be changed any more.
  MILLRACE_RETURN_IF_ERROR(connection->execute("SET GLOBAL TimeZone = 'UTC'"));
  if (!options.external_access)
    MILLRACE_RETURN_IF_ERROR(connection->execute("SET GLOBAL enable_external_access = false"));
  MILLRACE_RETURN_IF_ERROR(connection->execute("SET GLOBAL lock_configuration = true"));
  return database;
}

Database::~Database() {
  if (handle_ == nullptr) return;
  auto handle = static_cast<duckdb_database>(handle_);
  api().close(&handle);
}

Result<std::unique_ptr<Connection>> Database::connect() {
  duckdb_connection handle = nullptr;
  if (api().connect(static_cast<duckdb_database>(handle_), &handle) != DuckDBSuccess)
    return fail(Errc::kInternal, "the database takes no further connection");
  return std::unique_ptr<Connection>(new Connection(shared_from_this(), handle));
}

Result<std::string> Database::library_version() {
  MILLRACE_RETURN_IF_ERROR(load_api());
  return std::string(api().library_version());
}

Connection::~Connection() {
  auto handle = c_connection(*this);
  api().disconnect(&handle);
}

void Connection::interrupt() { api().interrupt(c_connection(*this)); }

namespace {

// What a result's columns are in our types.
struct ResultColumns {
  columns::SchemaPtr schema;
  std::vector<TypeMapping> mappings;
  std::vector<std::string> sql_types;
};

}  // namespace

// What a result is read from, and what must live as long.
struct ResultStream::Impl {
  ~Impl() {
    api().destroy_result(&result);
    api().destroy_prepare(&statement);
  }
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  duckdb_prepared_statement statement = nullptr;
  duckdb_result result{};
  ResultColumns columns;
  int64_t rows_read = 0;
  bool ended = false;
};

ResultStream::ResultStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ResultStream::~ResultStream() = default;
ResultStream::ResultStream(ResultStream&&) noexcept = default;
ResultStream& ResultStream::operator=(ResultStream&&) noexcept = default;

const columns::SchemaPtr& ResultStream::schema() const { return impl_->columns.schema; }
const std::vector<std::string>& ResultStream::sql_types() const { return impl_->columns.sql_types; }
uint64_t ResultStream::rows_changed() const { return api().rows_changed(&impl_->result); }

Result<std::optional<columns::Batch>> ResultStream::next() {
  if (impl_->ended) return std::nullopt;
  duckdb_data_chunk chunk = api().fetch_chunk(impl_->result);
  if (chunk == nullptr || api().data_chunk_get_size(chunk) == 0) {
    api().destroy_data_chunk(&chunk);
    impl_->ended = true;
    if (const char* message = api().result_error(&impl_->result); message != nullptr && *message != '\0')
      return failure(api().result_error_type(&impl_->result), message);
    return std::nullopt;
  }
  const size_t rows = api().data_chunk_get_size(chunk);
  std::vector<columns::ColumnPtr> columns;
  const std::vector<TypeMapping>& mappings = impl_->columns.mappings;
  columns.reserve(mappings.size());
  for (size_t i = 0; i < mappings.size(); ++i) {
    auto column = std::make_shared<columns::Column>(mappings[i].type);
    column->reserve(rows);
    append_vector(*column, api().data_chunk_get_vector(chunk, i), mappings[i], rows);
    columns.push_back(std::move(column));
  }
  api().destroy_data_chunk(&chunk);
  std::vector<columns::RowId> ids(rows);
  for (columns::RowId& id : ids) id.offset = Offset(impl_->rows_read++);
  return columns::Batch(impl_->columns.schema, std::move(columns), std::move(ids));
}

namespace {

struct Extracted {
  explicit Extracted(duckdb_connection connection, const std::string& sql) {
    count = api().extract_statements(connection, sql.c_str(), &statements);
  }
  ~Extracted() { api().destroy_extracted(&statements); }
  Extracted(const Extracted&) = delete;
  Extracted& operator=(const Extracted&) = delete;

  duckdb_extracted_statements statements = nullptr;
  uint64_t count = 0;
};

struct Prepared {
  ~Prepared() { api().destroy_prepare(&statement); }
  Prepared() = default;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  duckdb_prepared_statement release() { return std::exchange(statement, nullptr); }

  duckdb_prepared_statement statement = nullptr;
};

Status prepare(duckdb_connection connection, Extracted& extracted, uint64_t index, Prepared& prepared) {
  if (api().prepare_extracted_statement(connection, extracted.statements, index, &prepared.statement) != DuckDBSuccess)
    return failure(api().prepare_error(prepared.statement));
  return {};
}

// SELECT CAST(#1 AS VARCHAR) AS "x", #2 AS "y" FROM (…), or empty if no column needs it.
std::string with_casts(duckdb_prepared_statement statement, std::string_view sql) {
  std::string list;
  bool needed = false;
  const uint64_t count = api().prepared_statement_column_count(statement);
  for (uint64_t i = 0; i < count; ++i) {
    duckdb_logical_type type = api().prepared_statement_column_logical_type(statement, i);
    const TypeMapping mapping = map_type(type);
    api().destroy_logical_type(&type);
    const char* name = api().prepared_statement_column_name(statement, i);
    needed |= !mapping.cast.empty();
    const std::string& cast = mapping.cast;
    list += cast.empty() ? fmt::format("{}#{}", i == 0 ? "" : ", ", i + 1)
                         : fmt::format("{}CAST(#{} AS {})", i == 0 ? "" : ", ", i + 1, cast);
    list += " AS " + quote_identifier(name == nullptr ? "" : name);
    api().free(const_cast<char*>(name));
  }
  if (!needed) return {};
  while (!sql.empty() && (sql.back() == ';' || std::isspace(static_cast<unsigned char>(sql.back())) != 0))
    sql.remove_suffix(1);
  // The line end closes a comment.
  return fmt::format("SELECT {} FROM (\n{}\n)", list, sql);
}

// All statements of a text but the last run for what they do.
Status run_all_but_last(duckdb_connection connection, Extracted& extracted) {
  for (uint64_t i = 0; i + 1 < extracted.count; ++i) {
    Prepared prepared;
    MILLRACE_RETURN_IF_ERROR(prepare(connection, extracted, i, prepared));
    duckdb_result result;
    Status status;
    if (api().execute_prepared(prepared.statement, &result) != DuckDBSuccess)
      status = failure(api().result_error_type(&result), api().result_error(&result));
    api().destroy_result(&result);
    MILLRACE_RETURN_IF_ERROR(status);
  }
  return {};
}

// The types of a statement's columns, as it declares them.
std::vector<std::string> type_names(duckdb_prepared_statement statement) {
  std::vector<std::string> names;
  for (uint64_t i = 0; i < api().prepared_statement_column_count(statement); ++i) {
    duckdb_logical_type type = api().prepared_statement_column_logical_type(statement, i);
    names.push_back(map_type(type).name);
    api().destroy_logical_type(&type);
  }
  return names;
}

std::string unique_name(std::string name, const std::vector<columns::Field>& fields) {
  const auto taken = [&fields](const std::string& candidate) {
    for (const columns::Field& field : fields)
      if (field.name == candidate) return true;
    return false;
  };
  if (!taken(name)) return name;
  for (int i = 1;; ++i) {
    std::string candidate = fmt::format("{}_{}", name, i);
    if (!taken(candidate)) return candidate;
  }
}

// `declared_types`: those of the statement before its columns were cast.
Result<ResultColumns> columns_of(duckdb_result& result, const std::vector<std::string>& declared_types) {
  ResultColumns columns;
  std::vector<columns::Field> fields;
  for (uint64_t i = 0; i < api().column_count(&result); ++i) {
    duckdb_logical_type type = api().column_logical_type(&result, i);
    const TypeMapping& mapping = columns.mappings.emplace_back(map_type(type));
    api().destroy_logical_type(&type);
    if (!mapping.cast.empty())
      return fail(Errc::kUnsupported,
                  fmt::format("column {} has a type that this statement cannot return", api().column_name(&result, i)));
    fields.push_back({unique_name(api().column_name(&result, i), fields), mapping.type});
    columns.sql_types.push_back(i < declared_types.size() ? declared_types[i] : mapping.name);
  }
  columns.schema = std::make_shared<const columns::Schema>(std::move(fields));
  return columns;
}

}  // namespace

Result<ResultStream> Connection::query(std::string_view sql, const std::vector<std::string>& parameters) {
  const duckdb_connection connection = c_connection(*this);
  Extracted extracted(connection, std::string(sql));
  if (extracted.count == 0) {
    const char* message = api().extract_statements_error(extracted.statements);
    if (message == nullptr) return fail(Errc::kInvalidArgument, "there is no statement");
    return failure(message);
  }
  if (extracted.count > 1 && !parameters.empty())
    return fail(Errc::kInvalidArgument, "parameters need a single statement");
  MILLRACE_RETURN_IF_ERROR(run_all_but_last(connection, extracted));
  Prepared prepared;
  MILLRACE_RETURN_IF_ERROR(prepare(connection, extracted, extracted.count - 1, prepared));
  const std::vector<std::string> declared_types = type_names(prepared.statement);
  const bool selects = api().prepared_statement_type(prepared.statement) == DUCKDB_STATEMENT_TYPE_SELECT;
  if (selects && extracted.count == 1) {
    if (const std::string cast = with_casts(prepared.statement, sql); !cast.empty()) {
      Extracted wrapped(connection, cast);
      Prepared again;
      if (wrapped.count == 1 && prepare(connection, wrapped, 0, again)) std::swap(prepared.statement, again.statement);
    }
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (api().bind_varchar_length(prepared.statement, i + 1, parameters[i].data(), parameters[i].size()) !=
        DuckDBSuccess)
      return fail(Errc::kInvalidArgument, fmt::format("the statement has no parameter ${}", i + 1));
  }
  auto impl = std::make_unique<ResultStream::Impl>();
  impl->statement = prepared.release();
  duckdb_pending_result pending = nullptr;
  if (api().pending_prepared_streaming(impl->statement, &pending) != DuckDBSuccess) {
    const auto error = failure(api().pending_error(pending));
    api().destroy_pending(&pending);
    return error;
  }
  const bool good = api().execute_pending(pending, &impl->result) == DuckDBSuccess;
  api().destroy_pending(&pending);
  if (!good) return failure(api().result_error_type(&impl->result), api().result_error(&impl->result));
  MILLRACE_ASSIGN_OR_RETURN(impl->columns, columns_of(impl->result, declared_types));
  return ResultStream(std::move(impl));
}

Result<uint64_t> Connection::execute(std::string_view sql, const std::vector<std::string>& parameters) {
  MILLRACE_ASSIGN_OR_RETURN(ResultStream result, query(sql, parameters));
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, result.next());
    if (!batch) return result.rows_changed();
  }
}

Status Connection::append(std::string_view table, const columns::Batch& batch) {
  duckdb_appender appender = nullptr;
  const std::string name(table);
  const auto close = [&](const char* what) {
    const auto error = fail(Errc::kInvalidArgument, fmt::format("table {}: {}", name, clean_message(what)));
    api().appender_destroy(&appender);
    return error;
  };
  if (api().appender_create(c_connection(*this), nullptr, name.c_str(), &appender) != DuckDBSuccess)
    return close(api().appender_error(appender));
  if (api().appender_column_count(appender) != batch.schema().size())
    return close("the rows have another number of columns");
  std::vector<duckdb_logical_type> types;
  for (const columns::Field& field : batch.schema().fields()) types.push_back(make_logical_type(field.type));
  duckdb_data_chunk chunk = api().create_data_chunk(types.data(), types.size());
  for (duckdb_logical_type& type : types) api().destroy_logical_type(&type);
  const size_t step = api().vector_size();
  bool good = true;
  for (size_t begin = 0; good && begin < batch.rows(); begin += step) {
    const size_t count = std::min(step, batch.rows() - begin);
    api().data_chunk_reset(chunk);
    for (size_t i = 0; i < batch.schema().size(); ++i)
      fill_vector(api().data_chunk_get_vector(chunk, i), batch.column(i), begin, count, false);
    api().data_chunk_set_size(chunk, count);
    good = api().append_data_chunk(appender, chunk) == DuckDBSuccess;
  }
  api().destroy_data_chunk(&chunk);
  if (!good || api().appender_flush(appender) != DuckDBSuccess) return close(api().appender_error(appender));
  api().appender_destroy(&appender);
  return {};
}

Result<std::vector<Connection::Kind>> Connection::kinds(std::string_view sql) {
  Extracted extracted(c_connection(*this), std::string(sql));
  if (extracted.count == 0) {
    const char* message = api().extract_statements_error(extracted.statements);
    if (message == nullptr) return std::vector<Kind>{};
    return failure(message);
  }
  std::vector<Kind> kinds;
  for (uint64_t i = 0; i < extracted.count; ++i) {
    Prepared prepared;
    MILLRACE_RETURN_IF_ERROR(prepare(c_connection(*this), extracted, i, prepared));
    const duckdb_statement_type type = api().prepared_statement_type(prepared.statement);
    kinds.push_back(type == DUCKDB_STATEMENT_TYPE_SELECT    ? Kind::kSelect
                    : type == DUCKDB_STATEMENT_TYPE_EXPLAIN ? Kind::kExplain
                                                            : Kind::kOther);
  }
  return kinds;
}

std::string quote_identifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string quote_literal(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + '\'';
}

}  // namespace millrace::sql
