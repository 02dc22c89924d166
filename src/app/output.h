#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace millrace {
class JsonWriter;
}

namespace millrace::app {

enum class OutputFormat { kTable, kJson, kCsv, kYaml };

Result<OutputFormat> parse_output_format(std::string_view name);

// A value to print: missing, truth, number or text.
using Cell = std::variant<std::monostate, bool, int64_t, double, std::string>;

// What a command has to show: names and rows, rendered as the user asked with -o.
struct Listing {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
  std::string empty_note;  // shown on stderr instead of an empty table: how to get the first row
};

// Table: aligned to the widest cell, numbers to the right, counting wide (CJK) characters as two. JSON: an array of
// objects. CSV: RFC 4180 with a header. YAML: a list of maps.
void print(const Listing& listing, OutputFormat format, std::ostream& out, std::ostream& notes);

// Append the row, an object keyed by the columns' names, to an array that `json` is in, or to an empty text.
void write_json_row(const Listing& listing, const std::vector<Cell>& row, JsonWriter& json);

// One JSON object a row and line, with no array around them: for rows that go on coming.
void print_json_lines(const Listing& listing, std::ostream& out);

// The last column alone, as it is, a line each.
void print_last_column(const Listing& listing, std::ostream& out);

}  // namespace millrace::app
