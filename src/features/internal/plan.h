#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "columns/batch.h"
#include "features/aggregate.h"
#include "features/internal/partial.h"

namespace millrace::features {

inline constexpr size_t kNoColumn = SIZE_MAX;

// What an aggregate looks at: the values of a column, or mere rows, where a condition holds. Aggregates share slots.
struct Slot {
  size_t column = kNoColumn;  // none: count(*) with a condition
  size_t where = kNoColumn;
  columns::Type type;
  bool exact = false;    // BIGINT, DECIMAL, TIMESTAMP: sums are integers
  double unit = 1;       // an exact value is its integer divided by this
  bool summed = false;   // some function needs its values, not only their number
  bool scanned = false;  // some function needs more of them than their exact sum
  bool spread = false;   // and more than their sum: extremes or squares

  bool has_values() const { return column != kNoColumn; }
  friend bool operator==(const Slot& a, const Slot& b) { return a.column == b.column && a.where == b.where; }
};

// The value that a row gives a slot.
struct SlotValue {
  bool counts = false;
  int64_t exact = 0;
  double real = 0;

  int64_t ordered(const Slot& slot) const { return slot.exact ? exact : to_ordered(real); }
  double as_double(const Slot& slot) const { return slot.exact ? static_cast<double>(exact) / slot.unit : real; }
};

// Where `name` stands in `schema`. kInvalidArgument, with the nearest name, where it does not; `use` says what asked.
Result<size_t> column_index(const columns::Schema& schema, std::string_view name, std::string_view use);

// Columns that are complete, as a batch takes them.
std::vector<columns::ColumnPtr> share(std::vector<columns::Column> columns);

// Adds `aggregate`'s slot to `slots`, unless an equal one is there, and gives its place; count(*) without a condition
// has none. The aggregate was checked by result_type(); Boolean and text columns only count.
std::optional<size_t> slot_for(const Aggregate& aggregate, const columns::Schema& input, std::vector<Slot>& slots);

inline SlotValue read_slot(const Slot& slot, const columns::Batch& batch, size_t row) {
  SlotValue value;
  if (slot.where != kNoColumn) {
    const columns::Column& mask = batch.column(slot.where);
    if (!mask.is_valid(row) || mask.booleans()[row] == 0) return value;
  }
  if (!slot.has_values()) {
    value.counts = true;
    return value;
  }
  const columns::Column& column = batch.column(slot.column);
  if (!column.is_valid(row)) return value;
  if (slot.exact) {
    value.exact = column.int64s()[row];
  } else if (slot.type.kind == columns::Kind::kDouble) {
    value.real = column.doubles()[row];
    if (!std::isfinite(value.real)) return value;
  }
  value.counts = true;
  return value;
}

// Everything that aggregates of one slot need to know of a set of rows.
struct Totals {
  int64_t count = 0;
  __int128 exact_sum = 0;
  Partial partial;
};

// Appends `aggregate`'s result over rows with these totals; `slot` is null for count(*).
void append_result(const Aggregate& aggregate, const Slot* slot, const Totals& totals, columns::Column& out);

// The bytes that identify a row's values in `columns`: equal for equal values, and never for others. False where one is
// NULL and `null_is_a_value` is not set.
bool append_key(const columns::Batch& batch, const std::vector<size_t>& columns, size_t row, bool null_is_a_value,
                std::string& out);

// A hash of text that stays the same from run to run, for signatures.
uint64_t stable_hash(std::string_view text);

}  // namespace millrace::features
