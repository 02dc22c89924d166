#pragma once

#include <duckdb.h>

#include <cstdint>
#include <optional>
#include <string>

#include "columns/column.h"
#include "columns/type.h"

namespace millrace::sql {

// How a DuckDB type becomes one of ours.
struct TypeMapping {
  columns::Type type;
  duckdb_type physical = DUCKDB_TYPE_INVALID;  // what the vector's data are
  std::string cast;  // what the statement must cast the column to first; empty: it can be read as it is
  std::string note;  // what is lost, for people; empty: nothing
  std::string name;  // DuckDB's name, for kinds that have a short one
};

TypeMapping map_type(duckdb_logical_type type);

// Our type as DuckDB's. The caller destroys it.
duckdb_logical_type make_logical_type(columns::Type type);
// Our type as SQL: "DECIMAL(12,2)".
std::string sql_type(columns::Type type);

// Appends `rows` values of `vector`, whose type maps to the column's as `mapping` says. Text is copied.
void append_vector(columns::Column& column, duckdb_vector vector, const TypeMapping& mapping, size_t rows);

// Writes rows [begin, begin + count) of `column` to a vector of its make_logical_type, whose memory is fresh. With
// `share_text` the vector points into the column's text, which must then outlive all use of it.
void fill_vector(duckdb_vector vector, const columns::Column& column, size_t begin, size_t count, bool share_text);

}  // namespace millrace::sql
