#pragma once

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/result.h"
#include "columns/batch.h"

namespace millrace::pipeline {

// One row as bytes, for rows that wait in state: partition, offset and event time, then each column of the schema: a
// byte that says whether it is there, and its value (text with its length). docs/formats/pipeline-state.md has the
// layout.
void encode_row(const columns::Batch& batch, size_t row, ByteWriter& out);

// Collects decoded rows into one batch.
class RowDecoder {
 public:
  explicit RowDecoder(columns::SchemaPtr schema);
  // kCorruption where the bytes are no row of this schema.
  Status add(ByteReader& in);
  columns::Batch finish() &&;

 private:
  columns::SchemaPtr schema_;
  std::vector<std::shared_ptr<columns::Column>> columns_;
  std::vector<columns::RowId> rows_;
};

}  // namespace millrace::pipeline
