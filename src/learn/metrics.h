#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "learn/internal/score_bins.h"
#include "learn/learner.h"
#include "learn/metrics_report.h"
#include "learn/state_page.h"

namespace millrace::learn {

struct MetricsOptions {
  // The sliding window: the last so many judged rows.
  size_t window_rows = 10'000;
  // Whether the AUC and average precision over everything are wanted; they need the scores kept.
  bool ranking = true;
  // So many scores are kept for an exact AUC. Rows beyond that are counted in 2^16 bins, and the AUC has an error
  // bound.
  size_t exact_rows = 1'000'000;

  friend bool operator==(const MetricsOptions&, const MetricsOptions&) = default;
};

// Prequential metrics of one partition: each row is judged once, when its label is there, by the prediction that was
// made when the event came. What they say depends on the rows and their order only.
// Memory: 8 bytes a row kept (16 in regression), at most max(window_rows, exact_rows if ranking) rows and 1 MB of bins.
// Copies share the rows kept, so copying is cheap. Not thread-safe.
class Metrics {
 public:
  explicit Metrics(Task task, MetricsOptions options = {});

  // A row's label is there. A prediction that is not a number counts as unscored. Precondition: is_valid_label().
  void judge(double prediction, double label);

  Task task() const { return task_; }
  const MetricsOptions& options() const { return options_; }
  uint64_t rows() const { return rows_; }

  // Over everything judged, and over the window. The AUC sorts the rows kept (some 100 ms for 10^6): callers that show
  // it live ask once in a while.
  MetricsReport total() const;
  MetricsReport window() const;
  // The same over several partitions of one stream, in partition order: the AUC is that of all rows together, the
  // window that of all windows together. All have the same task; there is at least one.
  static MetricsReport total(std::span<const Metrics* const> parts);
  static MetricsReport window(std::span<const Metrics* const> parts);

  // State in pages numbered from 0 to kPagesMax. Changed pages are those since the last call of take_changed_pages().
  static constexpr uint32_t kPagesMax = 1u << 28;
  std::vector<StatePage> all_pages() const;
  std::vector<StatePage> take_changed_pages();
  // From a complete set of pages in any order; pages without bytes are ignored. kCorruption for anything else.
  static Result<Metrics> restore(std::span<const StatePage> pages);

 private:
  // So many rows make a chunk, and a chunk is a page: 16 KiB, in regression 32.
  static constexpr size_t kChunkRows = 2048;
  // Binary: the score, its sign bit set when the label is 1. Regression: prediction and label in turn.
  using Chunk = std::vector<double>;

  size_t row_values() const { return task_ == Task::kBinary ? 1 : 2; }
  size_t kept_rows_max() const;
  void keep(double prediction, double label);
  void drop_old_chunks();
  uint64_t kept_rows() const { return rows_ - first_chunk_ * kChunkRows; }
  template <typename Visit>
  void visit_last_rows(uint64_t count, Visit visit) const;

  StatePage header_page() const;
  StatePage chunk_page(uint64_t chunk) const;
  void append_bin_pages(std::vector<StatePage>& out) const;
  Status restore_header(ByteView bytes);
  Status restore_chunk(uint64_t chunk, ByteView bytes);

  Task task_;
  MetricsOptions options_;

  uint64_t rows_ = 0;
  uint64_t unscored_ = 0;
  internal::JudgedSums sums_;
  // Chunk first_chunk_ + i is full_[i]; tail_ is the one behind them, not full yet.
  std::deque<std::shared_ptr<const Chunk>> full_;
  Chunk tail_;
  uint64_t first_chunk_ = 0;
  std::shared_ptr<const internal::ScoreBins> bins_;  // of the rows no longer kept; null while all are

  // As of the last take_changed_pages().
  uint64_t clean_rows_ = 0;
  uint64_t clean_first_chunk_ = 0;
  bool header_changed_ = true;
};

}  // namespace millrace::learn
