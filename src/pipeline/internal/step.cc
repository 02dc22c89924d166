#include "pipeline/internal/step.h"

#include "base/check.h"

namespace millrace::pipeline {

Result<StepOutput> Step::process_side(const columns::Batch&, const Timeline&) {
  MILLRACE_CHECK(false, "only steps with two sources get rows of a second one");
  return StepOutput{};
}

void Step::collect(state::ChangelogGroup&) {}

Result<bool> Step::restore(const state::PageId&, ByteView) { return false; }

columns::Batch no_rows(columns::SchemaPtr schema) {
  std::vector<columns::ColumnPtr> columns;
  columns.reserve(schema->size());
  for (const columns::Field& field : schema->fields())
    columns.push_back(std::make_shared<const columns::Column>(field.type));
  return {std::move(schema), std::move(columns), {}};
}

columns::Batch select_columns(const columns::Batch& batch, columns::SchemaPtr schema,
                              std::span<const size_t> positions) {
  std::vector<columns::ColumnPtr> columns;
  columns.reserve(positions.size());
  for (const size_t position : positions) columns.push_back(batch.column_ptr(position));
  return {std::move(schema), std::move(columns), {batch.row_ids().begin(), batch.row_ids().end()}};
}

}  // namespace millrace::pipeline
