#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "columns/batch.h"

namespace millrace::pipeline {

// Before any event, and behind the last.
inline constexpr int64_t kBeginningOfTime = std::numeric_limits<int64_t>::min();
inline constexpr int64_t kEndOfTime = std::numeric_limits<int64_t>::max();

// How event time moved while a run of records arrived: per record (in the order of offsets) the watermark on its
// arrival, and the watermark behind the last. Rows keep their offset through every step, so each step finds the time of
// its rows' arrival here, also where rows between them were filtered.
struct Timeline {
  std::vector<int64_t> offsets;    // ascending
  std::vector<int64_t> before_us;  // one per offset, never falling
  int64_t end_us = kBeginningOfTime;
  PartitionId partition;
  bool final = false;  // the input has ended: end_us is kEndOfTime

  size_t size() const { return offsets.size(); }
  int64_t after_us(size_t entry) const { return entry + 1 < before_us.size() ? before_us[entry + 1] : end_us; }
  Offset last_offset() const { return Offset(offsets.empty() ? -1 : offsets.back()); }

  // Per row of `batch` (rows in the order of offsets) the watermark on arrival, into `watermarks_us`.
  void arrivals(const columns::Batch& batch, std::vector<int64_t>& watermarks_us) const {
    watermarks_us.resize(batch.rows());
    size_t entry = 0;
    for (size_t row = 0; row < batch.rows(); ++row) {
      const int64_t offset = batch.row_id(row).offset.value();
      while (entry < offsets.size() && offsets[entry] < offset) ++entry;
      watermarks_us[row] = entry < offsets.size() ? before_us[entry] : end_us;
    }
  }
};

}  // namespace millrace::pipeline
