#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "learn/internal/judged_sums.h"
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
// Memory: 8 bytes a row kept (16 in regression), at most max(window_rows, exact_rows if ranking) + 2^16 rows and 1 MB
// of bins. Copies share the rows kept, so copying is cheap. Not thread-safe.
class Metrics {
 public:
  explicit Metrics(Task task, MetricsOptions options = {});

  // A row's label is there. A prediction that is not a finite number counts as unscored; in binary classification one
  // outside [0, 1] is taken as the nearer end. Precondition: is_valid_label().
  void judge(double prediction, double label);

  Task task() const { return task_; }
  const MetricsOptions& options() const { return options_; }
  uint64_t rows() const { return sums_.rows; }
  uint64_t unscored() const { return sums_.unscored; }

  // Over everything judged, and over the window. The AUC sorts the rows kept (some 100 ms for 10^6): callers that show
  // it live ask once in a while. `unscored` is that of everything, in both.
  MetricsReport total() const;
  MetricsReport window() const;
  // The same over several partitions of one stream, in partition order: the AUC is that of all rows together, the
  // window that of all windows together. All have the same task; there is at least one.
  static MetricsReport total(std::span<const Metrics* const> parts);
  static MetricsReport window(std::span<const Metrics* const> parts);

  // State in pages numbered below kPagesMax. Changed pages are those since the last call of take_changed_pages(), or
  // since construction or restore().
  static constexpr uint32_t kPagesMax = 1u << 28;
  std::vector<StatePage> all_pages() const;
  std::vector<StatePage> take_changed_pages();
  // From a complete set of pages in any order; pages without bytes are ignored. kCorruption for anything else. Going on
  // from here equals never having stopped.
  static Result<Metrics> restore(std::span<const StatePage> pages);

 private:
  // So many rows make a chunk, and a chunk is a page: 16 KiB, in regression 32.
  static constexpr size_t kChunkRows = 2048;
  // Chunks leave together, so that the pages of the bins, which they change, are written seldom.
  static constexpr size_t kChunksDropped = 32;
  // Binary: a score_key a row. Regression: the bits of prediction and label in turn.
  using Chunk = std::vector<uint64_t>;

  size_t row_values() const { return task_ == Task::kBinary ? 1 : 2; }
  uint64_t kept_rows_max() const;
  uint64_t kept_rows() const { return rows() - first_chunk_ * kChunkRows; }
  void drop_old_chunks();
  const Chunk& chunk(uint64_t number) const;
  // Calls visit(const uint64_t* row) for each of the last `count` rows, oldest first.
  template <typename Visit>
  void visit_last_rows(uint64_t count, Visit visit) const;

  void append_pages(bool only_changed, std::vector<StatePage>& out) const;
  Bytes header_page() const;
  Bytes chunk_page(uint64_t number) const;
  Bytes bins_page(size_t page) const;
  Status restore_header(ByteView page);
  Result<Chunk> restore_chunk(ByteView page, size_t rows) const;

  Task task_;
  MetricsOptions options_;
  internal::JudgedSums sums_;
  // Chunk first_chunk_ + i is full_[i]; tail_ is the one behind them, not full yet.
  std::deque<std::shared_ptr<const Chunk>> full_;
  Chunk tail_;
  uint64_t first_chunk_ = 0;
  std::shared_ptr<const internal::ScoreBins> bins_;  // ranking: of the rows no longer kept; null while all are

  // As of the last take_changed_pages().
  uint64_t clean_rows_ = 0;
  uint64_t clean_unscored_ = 0;
  uint64_t clean_first_chunk_ = 0;
  bool header_is_clean_ = false;
};

}  // namespace millrace::learn
