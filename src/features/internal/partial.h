#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace millrace::features {

// A sum of doubles with the error of its additions beside it (Neumaier 1974, after Kahan): as good as twice the
// precision, so that the rounded result hardly depends on the order of the terms.
struct CompensatedSum {
  double sum = 0;
  double error = 0;

  void add(double x) {
    const double total = sum + x;
    const double part = total - sum;
    error += (sum - (total - part)) + (x - part);
    sum = total;
  }
  // The square with its rounding error, too.
  void add_square(double x) {
    const double square = x * x;
    add(square);
    error += std::fma(x, x, -square);
  }
  void add(const CompensatedSum& other) {
    add(other.sum);
    error += other.error;
  }
  double value() const { return sum + error; }
};

// Order-preserving images of values as integers, so that one pair of fields holds the extremes of every type.
inline int64_t to_ordered(double value) {
  const auto bits = std::bit_cast<int64_t>(value);
  return bits ^ static_cast<int64_t>(static_cast<uint64_t>(bits >> 63) >> 1);
}
inline double from_ordered(int64_t ordered) {
  return std::bit_cast<double>(ordered ^ static_cast<int64_t>(static_cast<uint64_t>(ordered >> 63) >> 1));
}

// What rows of one column add up to, but for their number. Partials of disjoint rows merge by add().
struct Partial {
  CompensatedSum sum;
  CompensatedSum squares;
  int64_t min = std::numeric_limits<int64_t>::max();  // ordered images
  int64_t max = std::numeric_limits<int64_t>::min();

  void add(double value, int64_t ordered) {
    sum.add(value);
    squares.add_square(value);
    min = std::min(min, ordered);
    max = std::max(max, ordered);
  }
  void add(const Partial& other) {
    sum.add(other.sum);
    squares.add(other.squares);
    min = std::min(min, other.min);
    max = std::max(max, other.max);
  }
};

// The sum of squared distances from the mean, of `count` > 0 values.
inline double squared_deviations(const Partial& partial, int64_t count) {
  // Equal values must give exactly 0: a quotient by a standard deviation of 1e-17 would be a very wrong feature.
  if (partial.min == partial.max) return 0;
  const auto n = static_cast<double>(count);
  const double s = partial.sum.value();
  const double rest = (partial.sum.sum - s) + partial.sum.error;
  const double square = s * s;
  const double square_error = std::fma(s, s, -square) + 2 * s * rest;
  const double mean_square = square / n;
  const double mean_square_error = (std::fma(-mean_square, n, square) + square_error) / n;
  const double total = (partial.squares.sum - mean_square) + (partial.squares.error - mean_square_error);
  return std::max(total, 0.0);
}

}  // namespace millrace::features
