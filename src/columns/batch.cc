#include "columns/batch.h"

#include "base/check.h"

namespace millrace::columns {

Batch::Batch(SchemaPtr schema, std::vector<ColumnPtr> columns, std::vector<RowId> rows)
    : schema_(std::move(schema)), columns_(std::move(columns)), rows_(std::move(rows)) {
  MILLRACE_CHECK(columns_.size() == schema_->size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    MILLRACE_CHECK(columns_[i]->size() == rows_.size(), schema_->field(i).name);
    MILLRACE_CHECK(columns_[i]->type() == schema_->field(i).type, schema_->field(i).name);
  }
}

const Column* Batch::find(std::string_view name) const {
  const auto index = schema_->index_of(name);
  return index ? columns_[*index].get() : nullptr;
}

Batch Batch::gather(std::span<const uint32_t> rows) const {
  std::vector<ColumnPtr> columns;
  columns.reserve(columns_.size());
  for (const ColumnPtr& column : columns_) columns.push_back(column->gather(rows));
  std::vector<RowId> ids;
  ids.reserve(rows.size());
  for (const uint32_t row : rows) ids.push_back(rows_[row]);
  return Batch(schema_, std::move(columns), std::move(ids));
}

Batch Batch::with_columns(SchemaPtr schema, std::vector<ColumnPtr> more) const {
  std::vector<ColumnPtr> columns = columns_;
  columns.insert(columns.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return Batch(std::move(schema), std::move(columns), rows_);
}

}  // namespace millrace::columns
