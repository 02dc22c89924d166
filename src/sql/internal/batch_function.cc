#include "sql/internal/batch_function.h"

#include <numeric>
#include <vector>

#include "sql/internal/api.h"
#include "sql/internal/statement_tree.h"
#include "sql/internal/vectors.h"

namespace millrace::sql {
namespace {

struct Scan {
  std::vector<uint64_t> columns;  // that the statement asks for
  size_t next = 0;
};

BatchWindow& window_of(void* extra) { return **static_cast<std::shared_ptr<BatchWindow>*>(extra); }

void bind(duckdb_bind_info info) {
  const BatchWindow& window = window_of(api().bind_get_extra_info(info));
  for (const columns::Field& field : window.schema->fields()) {
    duckdb_logical_type type = make_logical_type(field.type);
    api().bind_add_result_column(info, field.name.c_str(), type);
    api().destroy_logical_type(&type);
  }
  duckdb_logical_type type = make_logical_type(columns::kBigint);
  api().bind_add_result_column(info, std::string(kRowColumn).c_str(), type);
  api().destroy_logical_type(&type);
}

void init(duckdb_init_info info) {
  auto scan = std::make_unique<Scan>();
  scan->next = window_of(api().init_get_extra_info(info)).begin;
  for (uint64_t i = 0; i < api().init_get_column_count(info); ++i)
    scan->columns.push_back(api().init_get_column_index(info, i));
  // Rows leave in the order in which they came.
  api().init_set_max_threads(info, 1);
  api().init_set_init_data(info, scan.release(), [](void* data) { delete static_cast<Scan*>(data); });
}

void scan_rows(duckdb_function_info info, duckdb_data_chunk output) {
  const BatchWindow& window = window_of(api().function_get_extra_info(info));
  Scan& scan = *static_cast<Scan*>(api().function_get_init_data(info));
  const size_t rows = std::min<size_t>(api().vector_size(), window.end - scan.next);
  const size_t width = window.schema->size();
  for (size_t i = 0; i < scan.columns.size(); ++i) {
    duckdb_vector vector = api().data_chunk_get_vector(output, i);
    if (scan.columns[i] < width) {
      fill_vector(vector, window.batch->column(scan.columns[i]), scan.next, rows, true);
    } else if (scan.columns[i] == width) {
      auto* numbers = static_cast<int64_t*>(api().vector_get_data(vector));
      std::iota(numbers, numbers + rows, static_cast<int64_t>(scan.next));
    }
  }
  scan.next += rows;
  api().data_chunk_set_size(output, rows);
}

}  // namespace

Status register_batch_function(Connection& connection, const std::string& name, std::shared_ptr<BatchWindow> window) {
  duckdb_table_function function = api().create_table_function();
  api().table_function_set_name(function, name.c_str());
  api().table_function_set_extra_info(function, new std::shared_ptr<BatchWindow>(std::move(window)),
                                      [](void* data) { delete static_cast<std::shared_ptr<BatchWindow>*>(data); });
  api().table_function_set_bind(function, bind);
  api().table_function_set_init(function, init);
  api().table_function_set_function(function, scan_rows);
  api().table_function_supports_projection_pushdown(function, true);
  const auto state = api().register_table_function(static_cast<duckdb_connection>(connection.handle()), function);
  api().destroy_table_function(&function);
  if (state != DuckDBSuccess) return fail(Errc::kInternal, "the batch function " + name + " cannot be registered");
  return {};
}

}  // namespace millrace::sql
