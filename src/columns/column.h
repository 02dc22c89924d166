#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "columns/type.h"

namespace millrace::columns {

// Memory for text, in blocks that never move: a view that store() returned is valid as long as the arena.
class Arena {
 public:
  std::string_view store(std::string_view text);

 private:
  static constexpr size_t kBlockBytes = 64 << 10;
  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t used_ = 0;
  size_t capacity_ = 0;
};

// The values of one column: a type, a validity bit a row, and one vector of values. NULL rows hold a zero value.
// Written through append_* and set_*, then shared as shared_ptr<const Column> and never changed.
class Column {
 public:
  explicit Column(Type type) : type_(type) {}

  const Type& type() const { return type_; }
  size_t size() const { return size_; }

  bool is_valid(size_t row) const { return (validity_[row / 64] >> (row % 64)) & 1; }
  bool is_null(size_t row) const { return !is_valid(row); }
  // One bit a row, least significant first, 1 = not NULL; DuckDB's layout. Bits past size() are unspecified.
  std::span<const uint64_t> validity() const { return validity_; }
  bool has_nulls() const { return null_count_ > 0; }
  size_t null_count() const { return null_count_; }

  // The values, one a row. Precondition: the column's kind is stored so (type.h says which kind is stored as what).
  std::span<const uint8_t> booleans() const { return booleans_; }
  std::span<const int64_t> int64s() const { return int64s_; }  // kBigint, kDecimal, kTimestamp
  std::span<const double> doubles() const { return doubles_; }
  std::span<const std::string_view> texts() const { return texts_; }

  // Row `row` as a number: kBoolean as 0 or 1, kDecimal as its value, kTimestamp in microseconds. NaN for NULL, and for
  // kVarchar.
  double as_double(size_t row) const;
  // Row `row` as users and keys see it: numbers in their shortest form, timestamps as RFC 3339 in UTC; NULL is appended
  // as nothing.
  void append_text(size_t row, std::string& out) const;

  void reserve(size_t rows);
  void append_null();
  // The appends are inline: a decoder calls one for every value of every record.
  void append_boolean(bool value) {
    MILLRACE_CHECK(type_.kind == Kind::kBoolean);
    push_validity(true);
    booleans_.push_back(value ? 1 : 0);
  }
  // kBigint, kDecimal (scaled), kTimestamp
  void append_int64(int64_t value) {
    MILLRACE_CHECK(type_.kind == Kind::kBigint || type_.kind == Kind::kDecimal || type_.kind == Kind::kTimestamp);
    push_validity(true);
    int64s_.push_back(value);
  }
  void append_double(double value) {
    MILLRACE_CHECK(type_.kind == Kind::kDouble);
    push_validity(true);
    doubles_.push_back(value);
  }
  // Copies `value` into memory of the column's own.
  void append_text_copy(std::string_view value);
  // Keeps the view; whoever owns its bytes must be given to keep_alive().
  void append_text_view(std::string_view value) {
    MILLRACE_CHECK(type_.kind == Kind::kVarchar);
    push_validity(true);
    texts_.push_back(value);
  }
  // Row `row` of `other`, a column of the same type. Text is not copied: call keep_alive_with(other) once.
  void append_from(const Column& other, size_t row);

  // Owners of bytes that views in this column point into live as long as the column.
  void keep_alive(std::shared_ptr<const void> owner);
  void keep_alive_with(const Column& other);

  // The rows at `rows`, in that order (repeats allowed), as a new column; text is shared.
  std::shared_ptr<const Column> gather(std::span<const uint32_t> rows) const;

 private:
  void push_validity(bool valid) {
    if (size_ % 64 == 0) validity_.push_back(0);
    if (valid)
      validity_.back() |= uint64_t{1} << (size_ % 64);
    else
      ++null_count_;
    ++size_;
  }

  Type type_;
  size_t size_ = 0;
  size_t null_count_ = 0;
  std::vector<uint64_t> validity_;
  std::vector<uint8_t> booleans_;
  std::vector<int64_t> int64s_;
  std::vector<double> doubles_;
  std::vector<std::string_view> texts_;
  std::shared_ptr<Arena> arena_;
  std::vector<std::shared_ptr<const void>> owners_;
};

using ColumnPtr = std::shared_ptr<const Column>;

// Microseconds since 1970 as RFC 3339 in UTC, the fraction only where there is one: 2026-11-21T10:00:00.25Z.
std::string format_timestamp(int64_t us);

}  // namespace millrace::columns
