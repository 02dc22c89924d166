#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/clock.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

// Watches the share of dead letters over a stretch of time. One thread.
class FailWindow {
 public:
  explicit FailWindow(std::optional<FailRatio> limit) : limit_(limit) {}

  // What was read and buried since the last call. Returns the share where it is over the limit.
  std::optional<double> add(MonoTime now, uint64_t records, uint64_t dead_letters) {
    if (!limit_) return std::nullopt;
    if (records > 0) {
      spans_.push_back({now, records, dead_letters});
      records_ += records;
      dead_letters_ += dead_letters;
    }
    while (!spans_.empty() && spans_.front().at < now - std::chrono::microseconds(limit_->window_us)) {
      records_ -= spans_.front().records;
      dead_letters_ -= spans_.front().dead_letters;
      spans_.pop_front();
    }
    // A handful of records says nothing about a share.
    if (records_ < kRecordsMin) return std::nullopt;
    const double share = static_cast<double>(dead_letters_) / static_cast<double>(records_);
    return share > limit_->ratio ? std::optional<double>(share) : std::nullopt;
  }
  static constexpr uint64_t kRecordsMin = 100;

 private:
  struct Span {
    MonoTime at;
    uint64_t records, dead_letters;
  };
  std::optional<FailRatio> limit_;
  std::deque<Span> spans_;
  uint64_t records_ = 0, dead_letters_ = 0;
};

}  // namespace millrace::pipeline
