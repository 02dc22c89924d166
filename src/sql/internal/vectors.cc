#include "sql/internal/vectors.h"

#include <fmt/core.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/text.h"
#include "sql/internal/api.h"

namespace millrace::sql {
namespace {

using columns::Column;
using columns::Kind;

constexpr int64_t kDayUs = 86'400'000'000;

// The physical integer that DuckDB keeps a DECIMAL of that width in.
duckdb_type decimal_physical(int width) {
  if (width <= 4) return DUCKDB_TYPE_SMALLINT;
  if (width <= 9) return DUCKDB_TYPE_INTEGER;
  return DUCKDB_TYPE_BIGINT;
}

bool valid_at(const uint64_t* validity, size_t row) {
  return validity == nullptr || ((validity[row / 64] >> (row % 64)) & 1) != 0;
}

// Days, seconds and the like to microseconds, staying in range at DuckDB's infinities.
int64_t scaled(int64_t value, int64_t factor) {
  if (value > std::numeric_limits<int64_t>::max() / factor) return std::numeric_limits<int64_t>::max();
  if (value < std::numeric_limits<int64_t>::min() / factor) return std::numeric_limits<int64_t>::min();
  return value * factor;
}

template <typename T, typename Append>
void append_values(const void* data, const uint64_t* validity, size_t rows, Column& column, const Append& append) {
  const T* values = static_cast<const T*>(data);
  for (size_t row = 0; row < rows; ++row) {
    if (valid_at(validity, row))
      append(values[row]);
    else
      column.append_null();
  }
}

std::string_view text_of(const duckdb_string_t& text) {
  constexpr uint32_t kInlineMax = 12;
  const uint32_t length = text.value.inlined.length;
  return {length <= kInlineMax ? text.value.inlined.inlined : text.value.pointer.ptr, length};
}

duckdb_string_t string_of(std::string_view text) {
  constexpr size_t kInlineMax = 12;
  duckdb_string_t result;
  std::memset(&result, 0, sizeof(result));
  result.value.inlined.length = static_cast<uint32_t>(text.size());
  if (text.size() <= kInlineMax) {
    if (!text.empty()) std::memcpy(result.value.inlined.inlined, text.data(), text.size());
  } else {
    std::memcpy(result.value.pointer.prefix, text.data(), sizeof(result.value.pointer.prefix));
    result.value.pointer.ptr = const_cast<char*>(text.data());  // DuckDB only reads it
  }
  return result;
}

void fill_validity(duckdb_vector vector, const Column& column, size_t begin, size_t count) {
  if (!column.has_nulls()) return;
  api().vector_ensure_validity_writable(vector);
  uint64_t* validity = api().vector_get_validity(vector);
  if (begin % 64 == 0) {
    std::memcpy(validity, column.validity().data() + begin / 64, (count + 63) / 64 * sizeof(uint64_t));
    return;
  }
  for (size_t row = 0; row < count; ++row) {
    const uint64_t bit = uint64_t{1} << (row % 64);
    if (column.is_valid(begin + row))
      validity[row / 64] |= bit;
    else
      validity[row / 64] &= ~bit;
  }
}

template <typename T>
void fill_narrowed(void* data, const Column& column, size_t begin, size_t count) {
  T* values = static_cast<T*>(data);
  for (size_t row = 0; row < count; ++row) values[row] = static_cast<T>(column.int64s()[begin + row]);
}

}  // namespace

TypeMapping map_type(duckdb_logical_type type) {
  const duckdb_type id = api().get_type_id(type);
  switch (id) {
    case DUCKDB_TYPE_BOOLEAN:
      return {columns::kBoolean, id, "", "", "BOOLEAN"};
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
      return {columns::kBigint, id, "", "", id == DUCKDB_TYPE_BIGINT ? "BIGINT" : "INTEGER"};
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
      return {columns::kBigint, id, "BIGINT", "values beyond 64 bits fail", "HUGEINT"};
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
      return {columns::kDouble, id, "", "", id == DUCKDB_TYPE_FLOAT ? "FLOAT" : "DOUBLE"};
    case DUCKDB_TYPE_DECIMAL: {
      const uint8_t width = api().decimal_width(type);
      const uint8_t scale = api().decimal_scale(type);
      const std::string name = fmt::format("DECIMAL({},{})", width, scale);
      if (width > 18) return {columns::kDouble, id, "DOUBLE", fmt::format("{} becomes double", name), name};
      return {{Kind::kDecimal, width, scale}, api().decimal_internal_type(type), "", "", name};
    }
    case DUCKDB_TYPE_DATE:
      return {columns::kTimestamp, id, "", "", "DATE"};
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
      return {columns::kTimestamp, id, "", "", "TIMESTAMP"};
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return {columns::kTimestamp, id, "", "", "TIMESTAMP WITH TIME ZONE"};
    case DUCKDB_TYPE_VARCHAR:
      return {columns::kVarchar, id, "", "", "VARCHAR"};
    default:  // intervals, times, blobs, lists, structs, and what later versions bring
      return {columns::kVarchar, id, "VARCHAR", "becomes varchar", "VARCHAR"};
  }
}

std::string sql_type(columns::Type type) { return to_upper(type.to_string()); }

duckdb_logical_type make_logical_type(columns::Type type) {
  switch (type.kind) {
    case Kind::kBoolean:
      return api().create_logical_type(DUCKDB_TYPE_BOOLEAN);
    case Kind::kBigint:
      return api().create_logical_type(DUCKDB_TYPE_BIGINT);
    case Kind::kDouble:
      return api().create_logical_type(DUCKDB_TYPE_DOUBLE);
    case Kind::kDecimal:
      return api().create_decimal_type(type.width, type.scale);
    case Kind::kTimestamp:
      return api().create_logical_type(DUCKDB_TYPE_TIMESTAMP);
    case Kind::kVarchar:
      return api().create_logical_type(DUCKDB_TYPE_VARCHAR);
  }
  return nullptr;
}

void append_vector(Column& column, duckdb_vector vector, const TypeMapping& mapping, size_t rows) {
  const void* data = api().vector_get_data(vector);
  const uint64_t* validity = api().vector_get_validity(vector);
  const auto integers = [&]<typename T>() {
    append_values<T>(data, validity, rows, column, [&](T value) { column.append_int64(static_cast<int64_t>(value)); });
  };
  const auto times = [&](int64_t factor) {
    append_values<int64_t>(data, validity, rows, column,
                           [&](int64_t value) { column.append_int64(scaled(value, factor)); });
  };
  switch (mapping.physical) {
    case DUCKDB_TYPE_BOOLEAN:
      return append_values<bool>(data, validity, rows, column, [&](bool value) { column.append_boolean(value); });
    case DUCKDB_TYPE_TINYINT:
      return integers.operator()<int8_t>();
    case DUCKDB_TYPE_SMALLINT:
      return integers.operator()<int16_t>();
    case DUCKDB_TYPE_INTEGER:
      return integers.operator()<int32_t>();
    case DUCKDB_TYPE_UTINYINT:
      return integers.operator()<uint8_t>();
    case DUCKDB_TYPE_USMALLINT:
      return integers.operator()<uint16_t>();
    case DUCKDB_TYPE_UINTEGER:
      return integers.operator()<uint32_t>();
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return integers.operator()<int64_t>();
    case DUCKDB_TYPE_TIMESTAMP_S:
      return times(1'000'000);
    case DUCKDB_TYPE_TIMESTAMP_MS:
      return times(1'000);
    case DUCKDB_TYPE_TIMESTAMP_NS:
      return append_values<int64_t>(data, validity, rows, column, [&](int64_t value) {
        column.append_int64(value / 1'000 - (value % 1'000 < 0 ? 1 : 0));
      });
    case DUCKDB_TYPE_DATE:
      return append_values<int32_t>(data, validity, rows, column,
                                    [&](int32_t days) { column.append_int64(scaled(days, kDayUs)); });
    case DUCKDB_TYPE_FLOAT:
      return append_values<float>(data, validity, rows, column, [&](float value) { column.append_double(value); });
    case DUCKDB_TYPE_DOUBLE:
      return append_values<double>(data, validity, rows, column, [&](double value) { column.append_double(value); });
    case DUCKDB_TYPE_VARCHAR:
      return append_values<duckdb_string_t>(
          data, validity, rows, column, [&](const duckdb_string_t& value) { column.append_text_copy(text_of(value)); });
    default:  // map_type asks for a cast of all others
      MILLRACE_CHECK(false, "a vector that should have been cast");
  }
}

void fill_vector(duckdb_vector vector, const Column& column, size_t begin, size_t count, bool share_text) {
  void* data = api().vector_get_data(vector);
  fill_validity(vector, column, begin, count);
  switch (column.type().kind) {
    case Kind::kBoolean:
      std::memcpy(data, column.booleans().data() + begin, count);
      return;
    case Kind::kDouble:
      std::memcpy(data, column.doubles().data() + begin, count * sizeof(double));
      return;
    case Kind::kBigint:
    case Kind::kTimestamp:
      std::memcpy(data, column.int64s().data() + begin, count * sizeof(int64_t));
      return;
    case Kind::kDecimal: {
      const duckdb_type physical = decimal_physical(column.type().width);
      if (physical == DUCKDB_TYPE_SMALLINT)
        fill_narrowed<int16_t>(data, column, begin, count);
      else if (physical == DUCKDB_TYPE_INTEGER)
        fill_narrowed<int32_t>(data, column, begin, count);
      else
        std::memcpy(data, column.int64s().data() + begin, count * sizeof(int64_t));
      return;
    }
    case Kind::kVarchar: {
      if (share_text) {
        auto* values = static_cast<duckdb_string_t*>(data);
        for (size_t row = 0; row < count; ++row) values[row] = string_of(column.texts()[begin + row]);
        return;
      }
      for (size_t row = 0; row < count; ++row) {
        const std::string_view text = column.texts()[begin + row];
        if (column.is_valid(begin + row)) api().vector_assign_string_element_len(vector, row, text.data(), text.size());
      }
      return;
    }
  }
}

}  // namespace millrace::sql
