#pragma once

#include <string_view>

#include "base/result.h"

namespace millrace::format {

// What a record's value is.
enum class Format {
  kJson,  // one JSON object (RFC 8259), UTF-8
  kCsv,   // one CSV row (RFC 4180), its fields in the order of the declared columns; an empty field is NULL
  kRaw,   // any bytes, as the one column `value`; bytes that are not UTF-8 become U+FFFD, so that no line is lost
  kText,  // like kRaw, but bytes that are not UTF-8 make the record a dead letter
};

// json, csv, raw, text. Formats of the language that this version lacks (avro, protobuf, debezium, apache, syslog)
// fail with kNotBuiltYet.
Result<Format> parse_format(std::string_view name);
std::string_view format_name(Format format);

}  // namespace millrace::format
