#include "features/internal/plan.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"

namespace millrace::features {

namespace {

constexpr int64_t kDecimalLimit = 1'000'000'000'000'000'000;  // DECIMAL(18, s) holds less than 10^18 units

bool fits(__int128 sum, const columns::Type& type) {
  if (type.kind == columns::Kind::kDecimal) return sum > -kDecimalLimit && sum < kDecimalLimit;
  return sum >= std::numeric_limits<int64_t>::min() && sum <= std::numeric_limits<int64_t>::max();
}

// Nearly always the sum fits 64 bits, and converting 128 is slow.
double to_double(__int128 sum) {
  const auto narrow = static_cast<int64_t>(sum);
  return narrow == sum ? static_cast<double>(narrow) : static_cast<double>(sum);
}

void append_default(const Aggregate& aggregate, columns::Column& out) {
  if (!aggregate.default_value) {
    out.append_null();
    return;
  }
  if (out.type().kind == columns::Kind::kDouble) {
    out.append_double(*aggregate.default_value);
    return;
  }
  const double unit = static_cast<double>(columns::power_of_ten(out.type().scale));
  const double scaled = std::round(*aggregate.default_value * unit);
  constexpr double kInt64Limit = 0x1p63;
  if (scaled >= -kInt64Limit && scaled < kInt64Limit)
    out.append_int64(static_cast<int64_t>(scaled));
  else
    out.append_null();
}

double deviations(const Totals& totals, Function function) {
  const double squares = squared_deviations(totals.partial, totals.count);
  const bool sample = function == Function::kStddev || function == Function::kVar;
  const double variance = squares / static_cast<double>(sample ? totals.count - 1 : totals.count);
  const bool root = function == Function::kStddev || function == Function::kStddevPop;
  return root ? std::sqrt(variance) : variance;
}

}  // namespace

Result<size_t> column_index(const columns::Schema& schema, std::string_view name, std::string_view use) {
  if (const auto index = schema.index_of(name)) return *index;
  const auto nearest = nearest_name(name, schema.names());
  return fail(Errc::kInvalidArgument, fmt::format("{}: there is no column {}", use, name),
              nearest ? fmt::format("did you mean {}?", *nearest) : std::string());
}

std::vector<columns::ColumnPtr> share(std::vector<columns::Column> columns) {
  std::vector<columns::ColumnPtr> shared;
  shared.reserve(columns.size());
  for (columns::Column& column : columns) shared.push_back(std::make_shared<const columns::Column>(std::move(column)));
  return shared;
}

std::optional<size_t> slot_for(const Aggregate& aggregate, const columns::Schema& input, std::vector<Slot>& slots) {
  Slot slot;
  if (!aggregate.where.empty()) slot.where = *input.index_of(aggregate.where);
  if (!aggregate.column.empty()) {
    slot.column = *input.index_of(aggregate.column);
    slot.type = input.field(slot.column).type;
    slot.exact = slot.type.kind == columns::Kind::kBigint || slot.type.kind == columns::Kind::kDecimal ||
                 slot.type.kind == columns::Kind::kTimestamp;
    if (slot.type.kind == columns::Kind::kDecimal)
      slot.unit = static_cast<double>(columns::power_of_ten(slot.type.scale));
  }
  if (slot.column == kNoColumn && slot.where == kNoColumn) return std::nullopt;
  auto found = std::find(slots.begin(), slots.end(), slot);
  if (found == slots.end()) found = slots.insert(slots.end(), slot);
  found->summed |= aggregate.function != Function::kCount;
  switch (aggregate.function) {
    case Function::kCount:
      break;
    case Function::kSum:
    case Function::kAvg:
      found->scanned |= !found->exact;
      break;
    case Function::kMin:
    case Function::kMax:
    case Function::kStddev:
    case Function::kStddevPop:
    case Function::kVar:
    case Function::kVarPop:
      found->scanned = true;
      found->spread = true;
      break;
  }
  return static_cast<size_t>(found - slots.begin());
}

void append_result(const Aggregate& aggregate, const Slot* slot, const Totals& totals, columns::Column& out) {
  if (aggregate.function == Function::kCount) {
    out.append_int64(totals.count);
    return;
  }
  const bool sample = aggregate.function == Function::kStddev || aggregate.function == Function::kVar;
  if (totals.count == 0 && aggregate.function == Function::kSum) {
    slot->exact ? out.append_int64(0) : out.append_double(0);
    return;
  }
  if (totals.count == 0 || (sample && totals.count < 2)) {
    append_default(aggregate, out);
    return;
  }
  switch (aggregate.function) {
    case Function::kCount:
      return;
    case Function::kSum:
      if (!slot->exact)
        out.append_double(totals.partial.sum.value());
      else if (fits(totals.exact_sum, out.type()))
        out.append_int64(static_cast<int64_t>(totals.exact_sum));
      else
        out.append_null();
      return;
    case Function::kAvg: {
      const double sum = slot->exact ? to_double(totals.exact_sum) / slot->unit : totals.partial.sum.value();
      out.append_double(sum / static_cast<double>(totals.count));
      return;
    }
    case Function::kMin:
    case Function::kMax: {
      const int64_t ordered = aggregate.function == Function::kMin ? totals.partial.min : totals.partial.max;
      slot->exact ? out.append_int64(ordered) : out.append_double(from_ordered(ordered));
      return;
    }
    case Function::kStddev:
    case Function::kStddevPop:
    case Function::kVar:
    case Function::kVarPop:
      out.append_double(deviations(totals, aggregate.function));
      return;
  }
}

bool append_key(const columns::Batch& batch, const std::vector<size_t>& columns, size_t row, bool null_is_a_value,
                std::string& out) {
  const auto append_uint64 = [&out](uint64_t bits) {
    char bytes[8];
    for (int i = 7; i >= 0; --i, bits >>= 8) bytes[i] = static_cast<char>(bits);
    out.append(bytes, sizeof bytes);
  };
  for (const size_t index : columns) {
    const columns::Column& column = batch.column(index);
    const bool valid = column.is_valid(row);
    if (!valid && !null_is_a_value) return false;
    if (null_is_a_value) out.push_back(valid ? '\1' : '\0');
    if (!valid) continue;
    switch (column.type().kind) {
      case columns::Kind::kBoolean:
        out.push_back(static_cast<char>(column.booleans()[row]));
        break;
      case columns::Kind::kBigint:
      case columns::Kind::kDecimal:
      case columns::Kind::kTimestamp:
        // The sign flipped, so that the bytes' order is the numbers'.
        append_uint64(static_cast<uint64_t>(column.int64s()[row]) ^ (1ull << 63));
        break;
      case columns::Kind::kDouble:
        append_uint64(static_cast<uint64_t>(to_ordered(column.doubles()[row] + 0.0)) ^ (1ull << 63));
        break;
      case columns::Kind::kVarchar: {
        const std::string_view text = column.texts()[row];
        // The last text needs no length: it ends with the key.
        if (index != columns.back()) append_uint64(text.size());
        out.append(text);
        break;
      }
    }
  }
  return true;
}

uint64_t stable_hash(std::string_view text) {
  // FNV-1a, 64 bits.
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace millrace::features
