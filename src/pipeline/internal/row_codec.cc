#include "pipeline/internal/row_codec.h"

namespace millrace::pipeline {

using columns::Kind;

void encode_row(const columns::Batch& batch, size_t row, ByteWriter& out) {
  const columns::RowId& id = batch.row_id(row);
  out.varint(id.partition.value());
  out.varint(id.offset.value());
  out.fixed(id.event_time_us);
  for (size_t c = 0; c < batch.schema().size(); ++c) {
    const columns::Column& column = batch.column(c);
    const bool valid = column.is_valid(row);
    out.fixed<uint8_t>(valid ? 1 : 0);
    if (!valid) continue;
    switch (column.type().kind) {
      case Kind::kBoolean:
        out.fixed<uint8_t>(column.booleans()[row]);
        break;
      case Kind::kBigint:
      case Kind::kDecimal:
      case Kind::kTimestamp:
        out.fixed(column.int64s()[row]);
        break;
      case Kind::kDouble:
        out.float64(column.doubles()[row]);
        break;
      case Kind::kVarchar: {
        const std::string_view text = column.texts()[row];
        out.uvarint(text.size());
        out.text(text);
        break;
      }
    }
  }
}

RowDecoder::RowDecoder(columns::SchemaPtr schema) : schema_(std::move(schema)) {
  for (const columns::Field& field : schema_->fields())
    columns_.push_back(std::make_shared<columns::Column>(field.type));
}

Status RowDecoder::add(ByteReader& in) {
  columns::RowId id;
  MILLRACE_ASSIGN_OR_RETURN(const int64_t partition, in.varint());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t offset, in.varint());
  MILLRACE_ASSIGN_OR_RETURN(id.event_time_us, in.fixed<int64_t>());
  id.partition = PartitionId(static_cast<int32_t>(partition));
  id.offset = Offset(offset);
  for (const auto& column : columns_) {
    MILLRACE_ASSIGN_OR_RETURN(const uint8_t valid, in.fixed<uint8_t>());
    if (valid > 1) return fail(Errc::kCorruption, "a stored row has a value that is neither there nor NULL");
    if (valid == 0) {
      column->append_null();
      continue;
    }
    switch (column->type().kind) {
      case Kind::kBoolean: {
        MILLRACE_ASSIGN_OR_RETURN(const uint8_t value, in.fixed<uint8_t>());
        column->append_boolean(value != 0);
        break;
      }
      case Kind::kBigint:
      case Kind::kDecimal:
      case Kind::kTimestamp: {
        MILLRACE_ASSIGN_OR_RETURN(const int64_t value, in.fixed<int64_t>());
        column->append_int64(value);
        break;
      }
      case Kind::kDouble: {
        MILLRACE_ASSIGN_OR_RETURN(const double value, in.float64());
        column->append_double(value);
        break;
      }
      case Kind::kVarchar: {
        MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, in.uvarint());
        MILLRACE_ASSIGN_OR_RETURN(const std::string_view text, in.text(size));
        column->append_text_copy(text);
        break;
      }
    }
  }
  rows_.push_back(id);
  return {};
}

columns::Batch RowDecoder::finish() && {
  std::vector<columns::ColumnPtr> columns(columns_.begin(), columns_.end());
  return {schema_, std::move(columns), std::move(rows_)};
}

}  // namespace millrace::pipeline
