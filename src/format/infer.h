#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "columns/schema.h"
#include "format/file_reader.h"
#include "format/format.h"

namespace millrace::format {

// What a sample of rows looks like: a suggestion for a person to check, never applied at run time.
struct Inferred {
  Format format = Format::kJson;
  columns::Schema columns;  // in order of first appearance
  std::string time_column;  // empty: none looks like a time
  std::string time_format;  // as TimeFormat::parse takes it
  uint64_t rows = 0;        // looked at
  uint64_t unreadable = 0;  // of those, not rows at all
};

// From record values: all JSON objects, else lines of text (raw).
//   true/false only: boolean; integers within 64 bits: bigint; other numbers: double; text in which every value is a
//   time of one known form: timestamp; anything else (nested values too): varchar. A column that is only ever null:
//   varchar. The time column is the first timestamp, else the first integer column named like a time (time, ts,
//   timestamp, date, at) whose values are plausible seconds, milliseconds or microseconds.
Inferred infer_records(std::span<const std::string_view> values);

// From the first `rows_max` records of a file; csv fields are typed by what they read as, and codes with leading zeros
// stay varchar.
Result<Inferred> infer_file(const FileReaderOptions& options, uint64_t rows_max = 10'000);

// The `sources:` entry that declares it, as YAML, two blanks deep under its name.
std::string to_source_yaml(const Inferred& inferred, std::string_view source, std::string_view topic);

}  // namespace millrace::format
