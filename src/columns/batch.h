#pragma once

#include <span>
#include <vector>

#include "base/ids.h"
#include "columns/column.h"
#include "columns/schema.h"

namespace millrace::columns {

// Where a row came from and when it happened. It stays with the row through every step: it orders rows (event time,
// then offset), finds the raw record of a dead letter, and becomes the timestamp of what is written for the row.
struct RowId {
  PartitionId partition;      // of the source topic
  Offset offset;              // in that partition
  int64_t event_time_us = 0;  // UTC; the record's timestamp where the source declares no time

  friend bool operator==(const RowId&, const RowId&) = default;
};

// Rows as columns. All columns have as many rows as there are row ids. Cheap to copy: columns are shared.
class Batch {
 public:
  Batch() : schema_(std::make_shared<const Schema>()) {}
  // `columns` match the schema's fields one to one, in type and number.
  Batch(SchemaPtr schema, std::vector<ColumnPtr> columns, std::vector<RowId> rows);

  size_t rows() const { return rows_.size(); }
  const Schema& schema() const { return *schema_; }
  const SchemaPtr& schema_ptr() const { return schema_; }
  const Column& column(size_t index) const { return *columns_[index]; }
  const ColumnPtr& column_ptr(size_t index) const { return columns_[index]; }
  // The column of that name, null if there is none.
  const Column* find(std::string_view name) const;
  const RowId& row_id(size_t row) const { return rows_[row]; }
  std::span<const RowId> row_ids() const { return rows_; }

  // The rows at `rows`, in that order.
  Batch gather(std::span<const uint32_t> rows) const;
  // This batch with more columns behind its own; `schema` is the widened one.
  Batch with_columns(SchemaPtr schema, std::vector<ColumnPtr> more) const;

 private:
  SchemaPtr schema_;
  std::vector<ColumnPtr> columns_;
  std::vector<RowId> rows_;
};

}  // namespace millrace::columns
