#include "columns/column.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace millrace::columns {

std::string_view Arena::store(std::string_view text) {
  if (text.empty()) return {};
  if (used_ + text.size() > capacity_) {
    capacity_ = std::max(kBlockBytes, text.size());
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(capacity_));
    used_ = 0;
  }
  char* place = blocks_.back().get() + used_;
  std::memcpy(place, text.data(), text.size());
  used_ += text.size();
  return {place, text.size()};
}

double Column::as_double(size_t row) const {
  if (is_null(row)) return std::numeric_limits<double>::quiet_NaN();
  switch (type_.kind) {
    case Kind::kBoolean:
      return booleans_[row];
    case Kind::kBigint:
    case Kind::kTimestamp:
      return static_cast<double>(int64s_[row]);
    case Kind::kDouble:
      return doubles_[row];
    case Kind::kDecimal:
      return static_cast<double>(int64s_[row]) / static_cast<double>(power_of_ten(type_.scale));
    case Kind::kVarchar:
      return std::numeric_limits<double>::quiet_NaN();
  }
  return std::numeric_limits<double>::quiet_NaN();
}

namespace {

void append_decimal(int64_t scaled, int scale, std::string& out) {
  if (scale == 0) {
    fmt::format_to(std::back_inserter(out), "{}", scaled);
    return;
  }
  // The magnitude as unsigned: the most negative value has no positive twin.
  const uint64_t magnitude = scaled < 0 ? 0 - static_cast<uint64_t>(scaled) : static_cast<uint64_t>(scaled);
  const auto unit = static_cast<uint64_t>(power_of_ten(scale));
  fmt::format_to(std::back_inserter(out), "{}{}.{:0{}}", scaled < 0 ? "-" : "", magnitude / unit, magnitude % unit,
                 scale);
}

void write_digits(int64_t value, char* out, int digits) {
  for (int i = digits; i-- > 0; value /= 10) out[i] = static_cast<char>('0' + value % 10);
}

// The date of a day count is computed as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": years begin
// in March there, so that leap days come last.
void append_timestamp(int64_t us, std::string& out) {
  constexpr int64_t kUsPerSecond = 1'000'000;
  constexpr int64_t kDaySeconds = 86'400;
  int64_t seconds = us / kUsPerSecond;
  int64_t fraction = us % kUsPerSecond;
  if (fraction < 0) {
    fraction += kUsPerSecond;
    --seconds;
  }
  int64_t days = seconds / kDaySeconds;
  int64_t second = seconds % kDaySeconds;
  if (second < 0) {
    second += kDaySeconds;
    --days;
  }
  days += 719'468;  // from 0000-03-01
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);

  if (year < 0 || year > 9'999) {
    fmt::format_to(std::back_inserter(out), "{:05}", year);
  } else {
    char digits[4];
    write_digits(year, digits, 4);
    out.append(digits, 4);
  }
  char rest[] = "-00-00T00:00:00.000000";
  write_digits(month, rest + 1, 2);
  write_digits(day, rest + 4, 2);
  write_digits(second / 3'600, rest + 7, 2);
  write_digits(second / 60 % 60, rest + 10, 2);
  write_digits(second % 60, rest + 13, 2);
  size_t length = 15;
  if (fraction != 0) {
    write_digits(fraction, rest + 16, 6);
    length = 22;
    while (rest[length - 1] == '0') --length;
  }
  out.append(rest, length);
  out += 'Z';
}

}  // namespace

std::string format_timestamp(int64_t us) {
  std::string text;
  append_timestamp(us, text);
  return text;
}

void Column::append_text(size_t row, std::string& out) const {
  if (is_null(row)) return;
  switch (type_.kind) {
    case Kind::kBoolean:
      out += booleans_[row] != 0 ? "true" : "false";
      return;
    case Kind::kBigint:
      fmt::format_to(std::back_inserter(out), "{}", int64s_[row]);
      return;
    case Kind::kDouble:
      fmt::format_to(std::back_inserter(out), "{}", doubles_[row]);
      return;
    case Kind::kDecimal:
      append_decimal(int64s_[row], type_.scale, out);
      return;
    case Kind::kTimestamp:
      append_timestamp(int64s_[row], out);
      return;
    case Kind::kVarchar:
      out += texts_[row];
      return;
  }
}

void Column::reserve(size_t rows) {
  validity_.reserve((rows + 63) / 64);
  switch (type_.kind) {
    case Kind::kBoolean:
      booleans_.reserve(rows);
      return;
    case Kind::kBigint:
    case Kind::kDecimal:
    case Kind::kTimestamp:
      int64s_.reserve(rows);
      return;
    case Kind::kDouble:
      doubles_.reserve(rows);
      return;
    case Kind::kVarchar:
      texts_.reserve(rows);
      return;
  }
}

void Column::append_null() {
  push_validity(false);
  switch (type_.kind) {
    case Kind::kBoolean:
      booleans_.push_back(0);
      return;
    case Kind::kBigint:
    case Kind::kDecimal:
    case Kind::kTimestamp:
      int64s_.push_back(0);
      return;
    case Kind::kDouble:
      doubles_.push_back(0);
      return;
    case Kind::kVarchar:
      texts_.emplace_back();
      return;
  }
}

void Column::append_text_copy(std::string_view value) {
  if (!arena_) {
    arena_ = std::make_shared<Arena>();
    owners_.push_back(arena_);
  }
  append_text_view(arena_->store(value));
}

void Column::append_from(const Column& other, size_t row) {
  MILLRACE_CHECK(other.type_ == type_);
  if (other.is_null(row)) return append_null();
  switch (type_.kind) {
    case Kind::kBoolean:
      return append_boolean(other.booleans_[row] != 0);
    case Kind::kBigint:
    case Kind::kDecimal:
    case Kind::kTimestamp:
      return append_int64(other.int64s_[row]);
    case Kind::kDouble:
      return append_double(other.doubles_[row]);
    case Kind::kVarchar:
      return append_text_view(other.texts_[row]);
  }
}

void Column::keep_alive(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }

void Column::keep_alive_with(const Column& other) {
  owners_.insert(owners_.end(), other.owners_.begin(), other.owners_.end());
}

ColumnPtr Column::gather(std::span<const uint32_t> rows) const {
  auto result = std::make_shared<Column>(type_);
  const auto take = [&rows](const auto& from, auto& to) {
    to.resize(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) to[i] = from[rows[i]];
  };
  switch (type_.kind) {
    case Kind::kBoolean:
      take(booleans_, result->booleans_);
      break;
    case Kind::kBigint:
    case Kind::kDecimal:
    case Kind::kTimestamp:
      take(int64s_, result->int64s_);
      break;
    case Kind::kDouble:
      take(doubles_, result->doubles_);
      break;
    case Kind::kVarchar:
      take(texts_, result->texts_);
      break;
  }
  result->size_ = rows.size();
  result->validity_.assign((rows.size() + 63) / 64, ~uint64_t{0});
  if (has_nulls()) {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (is_valid(rows[i])) continue;
      result->validity_[i / 64] &= ~(uint64_t{1} << (i % 64));
      ++result->null_count_;
    }
  }
  result->keep_alive_with(*this);
  return result;
}

}  // namespace millrace::columns
