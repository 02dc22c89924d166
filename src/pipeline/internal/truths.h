#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pipeline/internal/specs.h"
#include "state/page.h"

namespace millrace::pipeline {

// The rows that labels are computed from, by key: their time and the value of the column that is aggregated. The label
// step says how long they are needed. One thread.
class Truths final : public state::Paged {
 public:
  explicit Truths(LabelValue value) : value_(std::move(value)) {}

  void add(const std::string& key, int64_t time_us, Offset offset, std::optional<double> value);

  // The label over the rows of `key` with time in (after_us, until_us]: NULL where the aggregate of nothing is; and how
  // many rows matched.
  struct Label {
    std::optional<double> value;  // of booleans 0 and 1
    uint64_t matches = 0;
  };
  Label label(const std::string& key, int64_t after_us, int64_t until_us) const;

  // Let go of the rows of `key` at or before `time_us`.
  void forget(const std::string& key, int64_t time_us);
  // The next (time, key) whose rows may be forgotten as far as its time is at or below `watermark_us`; taken out.
  std::optional<std::pair<int64_t, std::string>> pop_expired(int64_t watermark_us);

  void collect(state::PageSink& sink) override;
  Status restore(ByteView key, uint64_t page, ByteView value) override;

 private:
  struct Truth {
    int64_t time_us = 0;
    int64_t offset = 0;
    std::optional<double> value;
    bool written = false;
  };
  void insert(const std::string& key, Truth truth);

  LabelValue value_;
  std::unordered_map<std::string, std::vector<Truth>> by_key_;  // each by (time, offset)
  std::set<std::pair<int64_t, std::string>> expiry_;            // (time, key) of every row kept
  std::vector<std::pair<std::string, int64_t>> fresh_;          // (key, offset) to be written, if still kept
  std::vector<std::pair<std::string, int64_t>> gone_;
};

}  // namespace millrace::pipeline
