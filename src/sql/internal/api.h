#pragma once

#include <duckdb.h>

#include <string>

#include "base/result.h"

namespace millrace::sql {

// DuckDB's C functions that this module calls. The library is opened at run time, so each is a pointer.
// clang-format off
#define MILLRACE_DUCKDB_FUNCTIONS(X) \
  X(library_version) X(free) X(create_config) X(set_config) X(destroy_config) X(open_ext) X(close) X(connect) \
  X(disconnect) X(interrupt) X(query) X(destroy_result) X(result_error) X(result_error_type) X(column_count) \
  X(column_name) X(column_logical_type) X(rows_changed) X(fetch_chunk) X(prepare) X(prepare_error) X(destroy_prepare) \
  X(nparams) X(prepared_statement_type) X(prepared_statement_column_count) X(prepared_statement_column_name) \
  X(prepared_statement_column_logical_type) X(bind_varchar_length) X(execute_prepared) X(pending_prepared_streaming) \
  X(execute_pending) X(pending_error) X(destroy_pending) X(extract_statements) X(extract_statements_error) \
  X(prepare_extracted_statement) X(destroy_extracted) X(create_logical_type) X(create_decimal_type) \
  X(destroy_logical_type) X(get_type_id) X(decimal_width) X(decimal_scale) X(decimal_internal_type) \
  X(vector_size) X(create_data_chunk) X(destroy_data_chunk) X(data_chunk_reset) X(data_chunk_get_column_count) \
  X(data_chunk_get_vector) X(data_chunk_get_size) X(data_chunk_set_size) X(vector_get_data) X(vector_get_validity) \
  X(vector_ensure_validity_writable) X(vector_assign_string_element_len) \
  X(create_table_function) X(destroy_table_function) X(table_function_set_name) X(table_function_add_parameter) \
  X(table_function_add_named_parameter) X(table_function_set_extra_info) X(table_function_set_bind) \
  X(table_function_set_init) X(table_function_set_function) X(table_function_supports_projection_pushdown) \
  X(register_table_function) X(bind_get_extra_info) X(bind_add_result_column) X(bind_get_parameter_count) \
  X(bind_get_parameter) X(bind_get_named_parameter) X(bind_set_bind_data) X(bind_set_error) X(bind_set_cardinality) \
  X(init_get_extra_info) X(init_get_bind_data) X(init_get_column_count) X(init_get_column_index) \
  X(init_set_init_data) X(init_set_max_threads) X(init_set_error) \
  X(function_get_extra_info) X(function_get_bind_data) X(function_get_init_data) X(function_set_error) \
  X(get_varchar) X(destroy_value) X(is_null_value) \
  X(appender_create) X(appender_error) X(append_data_chunk) X(appender_flush) X(appender_destroy) \
  X(appender_column_count) X(appender_column_type)
// clang-format on

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is part of a name.
struct Api {
#define MILLRACE_DUCKDB_POINTER(name) decltype(&::duckdb_##name) name = nullptr;
  MILLRACE_DUCKDB_FUNCTIONS(MILLRACE_DUCKDB_POINTER)
#undef MILLRACE_DUCKDB_POINTER
};
// NOLINTEND(bugprone-macro-parentheses)

// Opens the library once for the process: `path`, else MILLRACE_DUCKDB_LIBRARY, else ../lib/millrace/libduckdb.so and
// ../lib/libduckdb.so beside the running binary's folder. A failure is not remembered. Thread-safe.
Result<const Api*> load_api(const std::string& path = {});

// The loaded functions. Precondition: load_api() succeeded before.
const Api& api();

// DuckDB's message fit for users: its first line, without the name of the error's class and without advice to install
// extensions, which cannot be done here.
std::string clean_message(const char* message);
// "Did you mean …?" from the further lines of a message, empty if there is none.
std::string hint_of(const char* message);
Errc errc_of(duckdb_error_type type);

}  // namespace millrace::sql
