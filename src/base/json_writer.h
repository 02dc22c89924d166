#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace {

// Writes JSON (RFC 8259) into a string, left to right; commas and colons are its business. The caller balances begin
// and end.
//   JsonWriter json(out); json.begin_object().key("rows").number(3).end_object();
// Doubles are written in the shortest form that reads back as the same value; NaN and infinity, which JSON lacks, as
// null. Text that is not UTF-8 has its bad bytes replaced by U+FFFD. Not thread-safe.
class JsonWriter {
 public:
  // Appends to `out`, which must outlive the writer.
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);

  JsonWriter& text(std::string_view value);
  JsonWriter& number(int64_t value);
  JsonWriter& number(uint64_t value);
  JsonWriter& number(int value) { return number(static_cast<int64_t>(value)); }
  JsonWriter& number(double value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  // `json` must be one complete JSON value already.
  JsonWriter& raw(std::string_view json);

 private:
  void separate();

  std::string& out_;
  bool needs_comma_ = false;
};

// `value` as a JSON string literal, appended to `out`, quotes included.
void append_json_string(std::string& out, std::string_view value);

}  // namespace millrace
