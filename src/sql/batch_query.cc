#include "sql/batch_query.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/mutex.h"
#include "base/text.h"
#include "sql/internal/api.h"
#include "sql/internal/batch_function.h"
#include "sql/internal/statement_tree.h"
#include "sql/internal/vectors.h"

namespace millrace::sql {
namespace {

using columns::Batch;
using columns::Column;

tl::unexpected<Issue> issue(Error error, std::optional<size_t> position = {}) {
  return tl::unexpected<Issue>(Issue{std::move(error), position});
}

// The first text between double quotes.
std::string quoted_part(std::string_view message) {
  const size_t begin = message.find('"');
  const size_t end = begin == std::string_view::npos ? begin : message.find('"', begin + 1);
  return end == std::string_view::npos ? std::string() : std::string(message.substr(begin + 1, end - begin - 1));
}

// A statement kept prepared.
class PreparedQuery {
 public:
  PreparedQuery() = default;
  ~PreparedQuery() { api().destroy_prepare(&statement_); }
  PreparedQuery(const PreparedQuery&) = delete;
  PreparedQuery& operator=(const PreparedQuery&) = delete;

  // The error's message is DuckDB's, uncleaned.
  Status prepare(Connection& connection, const std::string& sql) {
    api().destroy_prepare(&statement_);
    if (api().prepare(static_cast<duckdb_connection>(connection.handle()), sql.c_str(), &statement_) == DuckDBSuccess)
      return {};
    const char* message = api().prepare_error(statement_);
    return fail(Errc::kInvalidArgument, message == nullptr ? "the statement cannot be prepared" : message);
  }

  struct OutputColumn {
    std::string name;
    TypeMapping mapping;
  };
  std::vector<OutputColumn> outputs() const {
    std::vector<OutputColumn> outputs;
    for (uint64_t i = 0; i < api().prepared_statement_column_count(statement_); ++i) {
      const char* name = api().prepared_statement_column_name(statement_, i);
      duckdb_logical_type type = api().prepared_statement_column_logical_type(statement_, i);
      outputs.push_back({name == nullptr ? "" : name, map_type(type)});
      api().destroy_logical_type(&type);
      api().free(const_cast<char*>(name));
    }
    return outputs;
  }

  duckdb_prepared_statement get() const { return statement_; }

 private:
  duckdb_prepared_statement statement_ = nullptr;
};

// Aggregates, now() and the like are a property of the library: read once for all.
Result<std::shared_ptr<const FunctionCatalog>> function_catalog(Connection& connection) {
  static Mutex mutex;
  static std::shared_ptr<const FunctionCatalog> catalog GUARDED_BY(mutex);
  {
    MutexLock lock(mutex);
    if (catalog) return catalog;
  }
  MILLRACE_ASSIGN_OR_RETURN(auto loaded, FunctionCatalog::load(connection));
  MutexLock lock(mutex);
  catalog = loaded;
  return loaded;
}

}  // namespace

class BatchQuery::Impl {
 public:
  Impl(std::shared_ptr<Database> database, BatchQueryOptions options)
      : database_(std::move(database)), options_(std::move(options)) {}

  ~Impl() {
    if (connection_ && !view_.empty()) static_cast<void>(connection_->execute("DROP VIEW IF EXISTS " + view_));
  }

  tl::expected<void, Issue> init() {
    auto connection = database_->connect();
    if (!connection) return issue(connection.error());
    connection_ = std::move(*connection);
    auto tree = StatementTree::parse(*connection_, options_.sql);
    if (!tree) return issue(tree.error().error, tree.error().position);
    const auto catalog = function_catalog(*connection_);
    if (!catalog) return issue(catalog.error());
    if (auto found = tree->check(**catalog, options_.input)) return tl::unexpected(std::move(*found));
    if (auto status = make_view(); !status) return issue(status.error());
    if (auto prepared = prepare(*tree); !prepared) return prepared;
    return {};
  }

  const columns::SchemaPtr& output_schema() const { return output_schema_; }
  const std::vector<std::string>& notes() const { return notes_; }

  Result<BatchOutput> run(const Batch& input) {
    MILLRACE_CHECK(input.schema().size() == options_.schema->size());
    BatchOutput output;
    Collected collected;
    for (const Source& source : computed_) {
      collected.columns.push_back(std::make_shared<Column>(source.mapping.type));
      collected.columns.back()->reserve(input.rows());
    }
    if (runs_statement_) {
      window_->batch = &input;
      const Status status = run_range(0, input.rows(), collected, output.rejects);
      window_->batch = nullptr;
      MILLRACE_RETURN_IF_ERROR(status);
      output.origin = std::move(collected.origin);
    } else {
      output.origin.resize(input.rows());
      std::iota(output.origin.begin(), output.origin.end(), 0u);
    }
    assemble(input, collected, output);
    return output;
  }

 private:
  // Where a column of the output comes from.
  struct Source {
    std::optional<size_t> input;  // passed on
    size_t result = 0;            // else: column of the statement's result
    TypeMapping mapping;
  };
  struct Collected {
    std::vector<std::shared_ptr<Column>> columns;  // one a computed column
    std::vector<uint32_t> origin;
  };

  Status make_view() {
    const std::vector<columns::Field>& fields = options_.schema->fields();
    for (size_t i = 0; i < fields.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        if (same_name(fields[i].name, fields[j].name))
          return fail(
              Errc::kInvalidArgument,
              fmt::format("columns {} and {} differ only in case, which SQL ignores", fields[j].name, fields[i].name),
              "rename one of them");
    window_ = std::make_shared<BatchWindow>();
    window_->schema = options_.schema;
    const uint64_t number = database_->unique_number();
    const std::string function = fmt::format("__millrace_batch_{}", number);
    MILLRACE_RETURN_IF_ERROR(register_batch_function(*connection_, function, window_));
    view_ = fmt::format("__millrace_input_{}", number);
    return connection_->execute(fmt::format("CREATE VIEW {} AS SELECT * FROM {}()", view_, function)).map([](uint64_t) {
    });
  }

  tl::expected<void, Issue> prepare(const StatementTree& tree) {
    auto sql = StatementTree::to_sql(*connection_, tree.with_row_number(options_.input, view_));
    if (!sql) return issue(sql.error());
    if (auto status = statement_.prepare(*connection_, *sql); !status) return explained(tree, status.error().message);
    std::vector<PreparedQuery::OutputColumn> outputs = statement_.outputs();
    MILLRACE_CHECK(!outputs.empty() && outputs.back().name == kRowColumn);
    const size_t row_result = outputs.size() - 1;
    outputs.pop_back();
    for (size_t i = 0; i < outputs.size(); ++i)
      if (outputs[i].name.find(kRowColumn) == std::string::npos) all_.push_back({std::nullopt, i, outputs[i].mapping});
    if (auto status = make_schema(outputs); !status) return issue(status.error());
    // Columns that need no computing need no DuckDB either. Where that is not understood the whole statement runs.
    if (!prune(tree)) {
      std::string list;
      for (Source& source : all_) {
        add_to_list(list, source, source.result);
        source.result = computed_.size();
        computed_.push_back(source);
      }
      if (auto status = wrap(*sql, list, row_result); !status) return explained(tree, status.error().message);
    }
    return {};
  }

  Status make_schema(const std::vector<PreparedQuery::OutputColumn>& outputs) {
    std::vector<columns::Field> fields;
    for (const Source& source : all_) {
      const std::string& name = outputs[source.result].name;
      for (const columns::Field& field : fields)
        if (field.name == name)
          return fail(Errc::kInvalidArgument, fmt::format("two columns are named {}", name),
                      "give one of them another name with AS");
      fields.push_back({name, source.mapping.type});
      if (!source.mapping.note.empty()) notes_.push_back(fmt::format("column {}: {}", name, source.mapping.note));
    }
    if (fields.empty()) return fail(Errc::kInvalidArgument, "the statement selects no column");
    output_schema_ = std::make_shared<const columns::Schema>(std::move(fields));
    return {};
  }

  // Leaves to the statement only what must be computed. False if that cannot be told apart.
  bool prune(const StatementTree& tree) {
    const auto items = tree.output_items(options_.input, *options_.schema);
    if (!items || items->size() != all_.size()) return false;
    std::vector<Source> sources = all_;
    std::vector<Source> computed;
    std::string list;
    for (size_t i = 0; i < items->size(); ++i) {
      Source& source = sources[i];
      source.input = (*items)[i].input;
      if (source.input) {
        if (options_.schema->field(*source.input).type != source.mapping.type) return false;
        continue;
      }
      add_to_list(list, source, computed.size());
      source.result = computed.size();
      computed.push_back(source);
    }
    if (!computed.empty() || tree.has_where()) {
      auto sql = StatementTree::to_sql(*connection_, tree.with_row_number_of(options_.input, view_, *items));
      if (!sql) return false;
      PreparedQuery trial;
      if (!trial.prepare(*connection_, *sql)) return false;
      const auto outputs = trial.outputs();
      if (outputs.size() != computed.size() + 1) return false;
      for (size_t i = 0; i < computed.size(); ++i)
        if (outputs[i].mapping.type != computed[i].mapping.type ||
            outputs[i].mapping.physical != computed[i].mapping.physical)
          return false;
      if (!wrap(*sql, list, computed.size())) return false;
      runs_statement_ = true;
    } else {
      runs_statement_ = false;
    }
    all_ = std::move(sources);
    computed_ = std::move(computed);
    return true;
  }

  // "CAST(#3 AS DOUBLE)" or "#3".
  static void add_to_list(std::string& list, const Source& source, size_t result) {
    list += source.mapping.cast.empty() ? fmt::format("#{}, ", result + 1)
                                        : fmt::format("CAST(#{} AS {}), ", result + 1, source.mapping.cast);
  }

  // Prepares `sql` with only the results of `list`, then the row number.
  Status wrap(const std::string& sql, const std::string& list, size_t row_result) {
    MILLRACE_RETURN_IF_ERROR(
        statement_.prepare(*connection_, fmt::format("SELECT {}#{} FROM ({})", list, row_result + 1, sql)));
    const auto outputs = statement_.outputs();
    for (size_t i = 0; i + 1 < outputs.size(); ++i) result_mappings_.push_back(outputs[i].mapping);
    return {};
  }

  tl::expected<void, Issue> explained(const StatementTree& tree, const std::string& message) const {
    const std::string name = quoted_part(message);
    if (message.find("Referenced column") != std::string::npos) {
      const std::vector<std::string> names = options_.schema->names();
      const auto nearest = nearest_name(name, names);
      return issue(Error{Errc::kInvalidArgument, fmt::format("{} has no column {}", options_.input, name),
                         nearest ? fmt::format("did you mean {}?", *nearest) : std::string()},
                   tree.find_column(name));
    }
    constexpr std::string_view kFunction = "Function with name ";
    if (const size_t at = message.find(kFunction); at != std::string::npos) {
      std::string_view function = std::string_view(message).substr(at + kFunction.size());
      function = function.substr(0, function.find_first_of(" \n"));
      if (function.size() > 2 && function.front() == '"') function = function.substr(1, function.size() - 2);
      return issue(
          Error{Errc::kInvalidArgument, fmt::format("there is no function {}", function), hint_of(message.c_str())},
          tree.find_function(function));
    }
    return issue(Error{Errc::kInvalidArgument, clean_message(message.c_str()), hint_of(message.c_str())});
  }

  // Runs rows [begin, end); where they fail, their halves.
  Status run_range(size_t begin, size_t end, Collected& collected, std::vector<RowReject>& rejects) {
    if (begin == end) return {};
    window_->begin = begin;
    window_->end = end;
    duckdb_result result{};
    if (api().execute_prepared(statement_.get(), &result) == DuckDBSuccess) {
      collect(result, collected);
      api().destroy_result(&result);
      return {};
    }
    const Errc code = errc_of(api().result_error_type(&result));
    std::string message = clean_message(api().result_error(&result));
    api().destroy_result(&result);
    if (code != Errc::kInvalidArgument) return fail(code, std::move(message));
    if (end - begin == 1) {
      rejects.push_back({static_cast<uint32_t>(begin), std::move(message)});
      return {};
    }
    const size_t middle = begin + (end - begin) / 2;
    MILLRACE_RETURN_IF_ERROR(run_range(begin, middle, collected, rejects));
    return run_range(middle, end, collected, rejects);
  }

  void collect(duckdb_result& result, Collected& collected) {
    while (duckdb_data_chunk chunk = api().fetch_chunk(result)) {
      const size_t rows = api().data_chunk_get_size(chunk);
      for (size_t i = 0; i < computed_.size(); ++i)
        append_vector(*collected.columns[i], api().data_chunk_get_vector(chunk, i), result_mappings_[i], rows);
      const auto* numbers =
          static_cast<const int64_t*>(api().vector_get_data(api().data_chunk_get_vector(chunk, computed_.size())));
      for (size_t row = 0; row < rows; ++row) collected.origin.push_back(static_cast<uint32_t>(numbers[row]));
      api().destroy_data_chunk(&chunk);
    }
  }

  void assemble(const Batch& input, Collected& collected, BatchOutput& output) const {
    const std::vector<uint32_t>& origin = output.origin;
    // One thread reads one source: rows leave a filter and a projection in the order in which they came.
    MILLRACE_CHECK(std::is_sorted(origin.begin(), origin.end()), "SQL changed the order of rows");
    const bool all = origin.size() == input.rows();
    std::vector<columns::ColumnPtr> columns;
    columns.reserve(all_.size());
    for (const Source& source : all_) {
      if (!source.input)
        columns.push_back(std::move(collected.columns[source.result]));
      else
        columns.push_back(all ? input.column_ptr(*source.input) : input.column(*source.input).gather(origin));
    }
    std::vector<columns::RowId> ids;
    ids.reserve(origin.size());
    for (const uint32_t row : origin) ids.push_back(input.row_id(row));
    output.filtered = input.rows() - origin.size() - output.rejects.size();
    output.batch = Batch(output_schema_, std::move(columns), std::move(ids));
  }

  std::shared_ptr<Database> database_;
  BatchQueryOptions options_;
  std::unique_ptr<Connection> connection_;
  std::shared_ptr<BatchWindow> window_;
  std::string view_;
  PreparedQuery statement_;
  std::vector<Source> all_;                   // one a column of the output
  std::vector<Source> computed_;              // of those what the statement computes
  std::vector<TypeMapping> result_mappings_;  // of the statement's result, without the row number
  bool runs_statement_ = true;
  columns::SchemaPtr output_schema_;
  std::vector<std::string> notes_;
};

BatchQuery::BatchQuery(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BatchQuery::~BatchQuery() = default;

tl::expected<std::unique_ptr<BatchQuery>, Issue> BatchQuery::make(std::shared_ptr<Database> database,
                                                                  BatchQueryOptions options) {
  auto impl = std::make_unique<Impl>(std::move(database), std::move(options));
  if (auto status = impl->init(); !status) return tl::unexpected<Issue>(std::move(status).error());
  return std::unique_ptr<BatchQuery>(new BatchQuery(std::move(impl)));
}

const columns::SchemaPtr& BatchQuery::output_schema() const { return impl_->output_schema(); }
const std::vector<std::string>& BatchQuery::notes() const { return impl_->notes(); }
Result<BatchOutput> BatchQuery::run(const columns::Batch& input) { return impl_->run(input); }

}  // namespace millrace::sql
