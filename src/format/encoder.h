#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "columns/batch.h"
#include "format/format.h"

namespace millrace::format {

// Writes rows as record values.
//   json: an object per row, members in the schema's order, NULL as null; numbers in their shortest form that reads
//   back
//         the same, decimals as numbers with all their digits, NaN and infinity as null, timestamps as RFC 3339 in UTC.
//   csv:  fields in the schema's order, quoted where RFC 4180 wants it, NULL as nothing (empty text as ""), no line
//   end. raw, text: the schema's only column, a varchar, as it is.
// Immutable once made; any thread.
class Encoder {
 public:
  // `columns` are the names to write, in that order; empty for all of them. kInvalidArgument when one does not exist,
  // or when raw or text would have to write more than one varchar.
  static Result<Encoder> make(Format format, columns::SchemaPtr schema, std::vector<std::string> columns = {});

  // Appends row `row` of `batch`, a batch of the schema given to make(), to `out`.
  void append_row(const columns::Batch& batch, size_t row, std::string& out) const;

  // The header line of csv, without line end.
  std::string csv_header() const;

 private:
  struct Member {
    size_t column;
    std::string prefix;  // ,"name": with the brace before the first
  };

  Encoder() = default;

  Format format_ = Format::kJson;
  columns::SchemaPtr schema_;
  std::vector<Member> members_;
};

}  // namespace millrace::format
