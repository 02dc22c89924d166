#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::format {

struct CsvField {
  std::string_view text;
  bool quoted = false;
};

// Splits one CSV row (RFC 4180), which may span lines inside quotes, into `fields`. Quoted fields with doubled quotes
// are rewritten into `scratch`; the other views point into `row`. Returns nullptr, or what is wrong with the row.
const char* split_csv_row(std::string_view row, char delimiter, std::vector<CsvField>& fields, std::string& scratch);

}  // namespace millrace::format
