#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "columns/type.h"
#include "format/decoder.h"
#include "format/internal/schema_node.h"

namespace millrace::format {

// A declared column, as the parsers of record values see it.
struct Slot {
  std::string name;
  columns::Type type;
  bool wanted = false;   // its value goes into the batch
  bool is_time = false;  // the event time is read from it
  // What a JSON Schema says of it, and what messages call it then; null: nothing.
  const SchemaNode* rule = nullptr;
  std::string pointer;
};

// One value on its way from a record to a column: kept apart until the whole record is known to be good.
struct Cell {
  enum class State : uint8_t { kAbsent, kNull, kSet };
  State state = State::kAbsent;
  bool volatile_text = false;  // text lies in the parser's memory: copy it
  int64_t integer = 0;         // kBoolean, kBigint, kDecimal (scaled), kTimestamp
  double number = 0;           // kDouble
  std::string_view text;       // kVarchar; of kTimestamp what it was read from

  void set_integer(int64_t value) {
    state = State::kSet;
    integer = value;
  }
  void set_number(double value) {
    state = State::kSet;
    number = value;
  }
  void set_text(std::string_view value, bool is_volatile) {
    state = State::kSet;
    text = value;
    volatile_text = is_volatile;
  }
};

// What a parser says of one record's value.
struct ParsedRow {
  std::optional<int64_t> event_time_us;
  bool only_time = true;  // nothing but the time column was set
};

// Turns one record value after the other into cells. One thread.
class RowParser {
 public:
  virtual ~RowParser() = default;

  // Fills `cells`, one a slot, all absent before; text may point into `value` or, marked volatile, into memory of the
  // parser's own that lasts until the next call. `value` is followed by at least kPadding readable bytes. The error's
  // message is what a dead letter says.
  virtual Result<ParsedRow> parse(std::string_view value, std::span<Cell> cells) = 0;
  // The undeclared fields of the last record as a JSON object, empty if there were none.
  virtual std::string_view rest() const { return {}; }

  static constexpr size_t kPadding = 64;
};

// `closed`: a field that is no slot is refused.
std::unique_ptr<RowParser> make_json_parser(std::span<const Slot> slots, std::optional<TimeFormat> time,
                                            bool wants_rest, bool closed);
std::unique_ptr<RowParser> make_csv_parser(std::span<const Slot> slots, std::optional<TimeFormat> time, char delimiter);

// "column amount: expected decimal(12,2), got the text "12,50"", or "/amount: type: expected number, got …".
std::string wrong_type(const Slot& slot, std::string_view what, std::string_view value);
// `value` cut to a length fit for a message, repaired to UTF-8.
std::string shown(std::string_view value);

// Reads `text`, a JSON number or what people write for one, as `scale` digits behind the point, exactly: nullopt if it
// is no number, if digits other than 0 would be lost, or if it has more than `width` digits.
std::optional<int64_t> parse_decimal(std::string_view text, int width, int scale);

}  // namespace millrace::format
