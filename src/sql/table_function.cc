#include <fmt/core.h>

#include "base/check.h"
#include "sql/database.h"
#include "sql/internal/api.h"
#include "sql/internal/vectors.h"

// Connection::register_table: TableSource behind DuckDB's table functions.
namespace millrace::sql {
namespace {

struct Function {
  size_t positional;
  std::vector<std::string> named;
  TableFactory factory;
};

struct Scan {
  std::vector<uint64_t> columns;  // that the statement asks for
  columns::Batch batch;
  size_t next = 0;
};

std::optional<std::string> text_of(duckdb_value value) {
  if (value == nullptr) return std::nullopt;
  std::optional<std::string> result;
  if (!api().is_null_value(value)) {
    char* text = api().get_varchar(value);
    if (text != nullptr) result = text;
    api().free(text);
  }
  api().destroy_value(&value);
  return result;
}

// Errors cross DuckDB as one text.
std::string message_of(const Error& error) {
  return error.hint.empty() ? error.message : fmt::format("{} (try: {})", error.message, error.hint);
}

TableSource& source_of(void* bound) { return **static_cast<std::shared_ptr<TableSource>*>(bound); }

void bind(duckdb_bind_info info) {
  const auto& function = *static_cast<Function*>(api().bind_get_extra_info(info));
  TableArguments arguments;
  for (size_t i = 0; i < function.positional; ++i)
    arguments.positional.push_back(text_of(api().bind_get_parameter(info, i)));
  for (const std::string& name : function.named)
    if (auto value = text_of(api().bind_get_named_parameter(info, name.c_str())))
      arguments.named.emplace_back(name, std::move(*value));
  auto source = function.factory(arguments);
  if (!source) return api().bind_set_error(info, message_of(source.error()).c_str());
  for (const columns::Field& field : (*source)->schema().fields()) {
    duckdb_logical_type type = make_logical_type(field.type);
    api().bind_add_result_column(info, field.name.c_str(), type);
    api().destroy_logical_type(&type);
  }
  api().bind_set_bind_data(info, new std::shared_ptr<TableSource>(std::move(*source)),
                           [](void* data) { delete static_cast<std::shared_ptr<TableSource>*>(data); });
}

void init(duckdb_init_info info) {
  if (const auto status = source_of(api().init_get_bind_data(info)).rewind(); !status)
    return api().init_set_error(info, message_of(status.error()).c_str());
  auto scan = std::make_unique<Scan>();
  for (uint64_t i = 0; i < api().init_get_column_count(info); ++i)
    scan->columns.push_back(api().init_get_column_index(info, i));
  api().init_set_max_threads(info, 1);
  api().init_set_init_data(info, scan.release(), [](void* data) { delete static_cast<Scan*>(data); });
}

void scan_rows(duckdb_function_info info, duckdb_data_chunk output) {
  TableSource& source = source_of(api().function_get_bind_data(info));
  Scan& scan = *static_cast<Scan*>(api().function_get_init_data(info));
  if (scan.next == scan.batch.rows()) {
    auto batch = source.next();
    if (!batch) return api().function_set_error(info, message_of(batch.error()).c_str());
    scan.batch = std::move(*batch);
    scan.next = 0;
  }
  const size_t rows = std::min<size_t>(api().vector_size(), scan.batch.rows() - scan.next);
  for (size_t i = 0; rows > 0 && i < scan.columns.size(); ++i) {
    if (scan.columns[i] >= scan.batch.schema().size()) continue;
    // The batch may be gone before the rows are: text is copied.
    fill_vector(api().data_chunk_get_vector(output, i), scan.batch.column(scan.columns[i]), scan.next, rows, false);
  }
  scan.next += rows;
  api().data_chunk_set_size(output, rows);
}

}  // namespace

Status Connection::register_table(const std::string& name, size_t positional, const std::vector<std::string>& named,
                                  TableFactory factory) {
  duckdb_table_function function = api().create_table_function();
  api().table_function_set_name(function, name.c_str());
  duckdb_logical_type varchar = make_logical_type(columns::kVarchar);
  for (size_t i = 0; i < positional; ++i) api().table_function_add_parameter(function, varchar);
  for (const std::string& parameter : named)
    api().table_function_add_named_parameter(function, parameter.c_str(), varchar);
  api().destroy_logical_type(&varchar);
  api().table_function_set_extra_info(function, new Function{positional, named, std::move(factory)},
                                      [](void* data) { delete static_cast<Function*>(data); });
  api().table_function_set_bind(function, bind);
  api().table_function_set_init(function, init);
  api().table_function_set_function(function, scan_rows);
  api().table_function_supports_projection_pushdown(function, true);
  const auto state = api().register_table_function(static_cast<duckdb_connection>(handle_), function);
  api().destroy_table_function(&function);
  if (state != DuckDBSuccess)
    return fail(Errc::kAlreadyExists, fmt::format("the table function {} is registered already", name));
  return {};
}

}  // namespace millrace::sql
