#include "learn/metrics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "base/check.h"
#include "learn/internal/state_codec.h"

namespace millrace::learn {
namespace {

using internal::JudgedSums;
using internal::ScoreBins;

// Page numbers: 0 is the header, then the bins, then chunk c at kFirstChunkPage + c.
constexpr uint32_t kFirstBinsPage = 1;
constexpr size_t kBinsPerPage = 2048;
constexpr size_t kBinsPages = ScoreBins::kBins / kBinsPerPage;
constexpr uint32_t kFirstChunkPage = 64;
static_assert(kFirstBinsPage + kBinsPages <= kFirstChunkPage);

// Larger settings than any machine holds; they bound what a header can make restore() reserve.
constexpr uint64_t kKeptRowsMax = 1ull << 32;

void judge_row(JudgedSums& sums, Task task, const uint64_t* row) {
  switch (task) {
    case Task::kBinary:
      sums.add_binary(internal::key_score(*row), internal::key_label(*row));
      break;
    case Task::kRegression:
      sums.add_regression(std::bit_cast<double>(row[0]), std::bit_cast<double>(row[1]));
      break;
  }
}

void set_ranking(MetricsReport& report, const internal::Ranking& ranking) {
  report.auc = ranking.auc;
  report.auc_error = ranking.auc_error;
  report.average_precision = ranking.average_precision;
}

}  // namespace

Metrics::Metrics(Task task, MetricsOptions options) : task_(task), options_(options) {
  MILLRACE_CHECK(kept_rows_max() <= kKeptRowsMax);
}

uint64_t Metrics::kept_rows_max() const {
  const bool exact = options_.ranking && task_ == Task::kBinary;
  return std::max<uint64_t>(options_.window_rows, exact ? options_.exact_rows : 0);
}

void Metrics::judge(double prediction, double label) {
  if (!std::isfinite(prediction)) {
    ++sums_.unscored;
    return;
  }
  switch (task_) {
    case Task::kBinary: {
      // The sum turns -0 into 0, whose bits sort first.
      const double score = std::clamp(prediction, 0.0, 1.0) + 0.0;
      tail_.push_back(internal::score_key(score, label == 1));
      sums_.add_binary(score, label == 1);
      break;
    }
    case Task::kRegression:
      tail_.push_back(std::bit_cast<uint64_t>(prediction));
      tail_.push_back(std::bit_cast<uint64_t>(label));
      sums_.add_regression(prediction, label);
      break;
  }
  if (tail_.size() < kChunkRows * row_values()) return;
  full_.push_back(std::make_shared<const Chunk>(std::move(tail_)));
  tail_ = {};
  tail_.reserve(kChunkRows * row_values());
  if (kept_rows() >= kept_rows_max() + kChunksDropped * kChunkRows) drop_old_chunks();
}

void Metrics::drop_old_chunks() {
  std::shared_ptr<ScoreBins> bins;
  if (options_.ranking && task_ == Task::kBinary)
    bins = bins_ ? std::make_shared<ScoreBins>(*bins_) : std::make_shared<ScoreBins>();
  for (size_t i = 0; i < kChunksDropped; ++i) {
    if (bins)
      for (const uint64_t key : *full_.front()) bins->add(key);
    full_.pop_front();
    ++first_chunk_;
  }
  bins_ = std::move(bins);
}

const Metrics::Chunk& Metrics::chunk(uint64_t number) const {
  const uint64_t index = number - first_chunk_;
  return index < full_.size() ? *full_[index] : tail_;
}

template <typename Visit>
void Metrics::visit_last_rows(uint64_t count, Visit visit) const {
  const uint64_t first_row = rows() - std::min(count, kept_rows());
  const size_t width = row_values();
  for (uint64_t number = first_row / kChunkRows; number * kChunkRows < rows(); ++number) {
    const Chunk& values = chunk(number);
    const size_t skipped = number == first_row / kChunkRows ? first_row % kChunkRows : 0;
    for (size_t i = skipped * width; i < values.size(); i += width) visit(&values[i]);
  }
}

MetricsReport Metrics::total() const {
  const Metrics* self = this;
  return total(std::span(&self, 1));
}

MetricsReport Metrics::window() const {
  const Metrics* self = this;
  return window(std::span(&self, 1));
}

MetricsReport Metrics::total(std::span<const Metrics* const> parts) {
  MILLRACE_CHECK(!parts.empty());
  JudgedSums sums;
  uint64_t kept = 0;
  bool ranking = true;
  bool exact = true;
  for (const Metrics* part : parts) {
    MILLRACE_CHECK(part->task_ == parts[0]->task_);
    sums.add(part->sums_);
    kept += part->kept_rows();
    ranking = ranking && part->options_.ranking;
    exact = exact && part->first_chunk_ == 0;
  }
  MetricsReport report = sums.report(parts[0]->task_);
  if (report.task != Task::kBinary || !ranking || report.rows == 0) return report;
  if (exact) {
    std::vector<uint64_t> keys;
    keys.reserve(kept);
    for (const Metrics* part : parts)
      part->visit_last_rows(part->rows(), [&](const uint64_t* row) { keys.push_back(*row); });
    set_ranking(report, internal::rank_exactly(keys));
    return report;
  }
  ScoreBins bins;
  for (const Metrics* part : parts) {
    if (part->bins_) bins.add(*part->bins_);
    part->visit_last_rows(part->rows(), [&](const uint64_t* row) { bins.add(*row); });
  }
  set_ranking(report, internal::rank_bins(bins));
  return report;
}

MetricsReport Metrics::window(std::span<const Metrics* const> parts) {
  MILLRACE_CHECK(!parts.empty());
  const Task task = parts[0]->task_;
  JudgedSums sums;
  std::vector<uint64_t> keys;
  for (const Metrics* part : parts) {
    MILLRACE_CHECK(part->task_ == task);
    part->visit_last_rows(part->options_.window_rows, [&](const uint64_t* row) {
      judge_row(sums, task, row);
      if (task == Task::kBinary) keys.push_back(*row);
    });
    sums.unscored += part->sums_.unscored;
  }
  MetricsReport report = sums.report(task);
  if (!keys.empty()) set_ranking(report, internal::rank_exactly(keys));
  return report;
}

std::vector<StatePage> Metrics::all_pages() const {
  std::vector<StatePage> pages;
  append_pages(false, pages);
  return pages;
}

std::vector<StatePage> Metrics::take_changed_pages() {
  std::vector<StatePage> pages;
  if (header_is_clean_ && clean_rows_ == rows() && clean_unscored_ == unscored()) return pages;
  append_pages(true, pages);
  clean_rows_ = rows();
  clean_unscored_ = unscored();
  clean_first_chunk_ = first_chunk_;
  header_is_clean_ = true;
  return pages;
}

void Metrics::append_pages(bool only_changed, std::vector<StatePage>& out) const {
  out.push_back({0, header_page()});
  if (bins_ && (!only_changed || clean_first_chunk_ != first_chunk_))
    for (size_t page = 0; page < kBinsPages; ++page)
      out.push_back({kFirstBinsPage + static_cast<uint32_t>(page), bins_page(page)});
  const auto number_of = [](uint64_t chunk) { return kFirstChunkPage + static_cast<uint32_t>(chunk); };
  if (only_changed) {
    // Chunks that came and went since the last time were never written.
    const uint64_t written_end = (clean_rows_ + kChunkRows - 1) / kChunkRows;
    for (uint64_t gone = clean_first_chunk_; gone < std::min(first_chunk_, written_end); ++gone)
      out.push_back({number_of(gone), {}});
  }
  const uint64_t first = only_changed ? std::max(first_chunk_, clean_rows_ / kChunkRows) : first_chunk_;
  for (uint64_t number = first; number * kChunkRows < rows(); ++number)
    out.push_back({number_of(number), chunk_page(number)});
}

Bytes Metrics::header_page() const {
  Bytes page = internal::begin_page();
  ByteWriter out(page);
  out.fixed(static_cast<uint8_t>(task_));
  out.uvarint(options_.window_rows);
  out.fixed(static_cast<uint8_t>(options_.ranking));
  out.uvarint(options_.exact_rows);
  sums_.serialize(out);
  out.uvarint(first_chunk_);
  internal::end_page(page);
  return page;
}

Bytes Metrics::chunk_page(uint64_t number) const {
  Bytes page = internal::begin_page();
  ByteWriter out(page);
  for (const uint64_t value : chunk(number)) out.fixed(value);
  internal::end_page(page);
  return page;
}

Bytes Metrics::bins_page(size_t index) const {
  Bytes page = internal::begin_page();
  ByteWriter out(page);
  for (size_t i = index * kBinsPerPage; i < (index + 1) * kBinsPerPage; ++i) {
    out.uvarint(bins_->positives[i]);
    out.uvarint(bins_->negatives[i]);
  }
  internal::end_page(page);
  return page;
}

Status Metrics::restore_header(ByteView page) {
  MILLRACE_ASSIGN_OR_RETURN(const ByteView body, internal::open_page(page));
  ByteReader in(body);
  MILLRACE_ASSIGN_OR_RETURN(const auto task, in.fixed<uint8_t>());
  if (task > static_cast<uint8_t>(Task::kRegression)) return fail(Errc::kCorruption, "metrics of an unknown task");
  task_ = static_cast<Task>(task);
  MILLRACE_ASSIGN_OR_RETURN(options_.window_rows, in.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const auto ranking, in.fixed<uint8_t>());
  options_.ranking = ranking != 0;
  MILLRACE_ASSIGN_OR_RETURN(options_.exact_rows, in.uvarint());
  MILLRACE_RETURN_IF_ERROR(sums_.deserialize(in));
  MILLRACE_ASSIGN_OR_RETURN(first_chunk_, in.uvarint());
  MILLRACE_RETURN_IF_ERROR(internal::expect_end(in));
  const bool possible = options_.window_rows <= kKeptRowsMax && options_.exact_rows <= kKeptRowsMax &&
                        rows() / kChunkRows < kPagesMax - kFirstChunkPage && first_chunk_ <= rows() / kChunkRows &&
                        kept_rows() < kept_rows_max() + kChunksDropped * kChunkRows;
  if (!possible) return fail(Errc::kCorruption, "the metrics' counts are impossible");
  return {};
}

Result<Metrics::Chunk> Metrics::restore_chunk(ByteView page, size_t rows) const {
  MILLRACE_ASSIGN_OR_RETURN(const ByteView body, internal::open_page(page));
  if (body.size() != rows * row_values() * sizeof(uint64_t))
    return fail(Errc::kCorruption, "a page of judged rows has another size than its rows");
  ByteReader in(body);
  Chunk values;
  values.reserve(kChunkRows * row_values());
  for (size_t i = 0; i < rows * row_values(); ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t value, in.fixed<uint64_t>());
    if (task_ == Task::kBinary && !(internal::key_score(value) <= 1))
      return fail(Errc::kCorruption, "a judged score is not between 0 and 1");
    values.push_back(value);
  }
  return values;
}

Result<Metrics> Metrics::restore(std::span<const StatePage> pages) {
  std::map<uint32_t, ByteView> by_number;
  for (const StatePage& page : pages)
    if (!page.bytes.empty()) by_number[page.number] = page.bytes;
  size_t used = 0;
  const auto find = [&](uint64_t number) -> Result<ByteView> {
    const auto found = by_number.find(static_cast<uint32_t>(number));
    if (found == by_number.end()) return fail(Errc::kCorruption, "a page of the metrics is missing");
    ++used;
    return found->second;
  };

  Metrics metrics(Task::kBinary, {.window_rows = 0, .ranking = false, .exact_rows = 0});
  MILLRACE_ASSIGN_OR_RETURN(const ByteView header, find(0));
  MILLRACE_RETURN_IF_ERROR(metrics.restore_header(header));
  for (uint64_t number = metrics.first_chunk_; number * kChunkRows < metrics.rows(); ++number) {
    MILLRACE_ASSIGN_OR_RETURN(const ByteView page, find(kFirstChunkPage + number));
    const uint64_t rows = std::min<uint64_t>(kChunkRows, metrics.rows() - number * kChunkRows);
    MILLRACE_ASSIGN_OR_RETURN(Chunk values, metrics.restore_chunk(page, rows));
    if (rows == kChunkRows)
      metrics.full_.push_back(std::make_shared<const Chunk>(std::move(values)));
    else
      metrics.tail_ = std::move(values);
  }
  if (metrics.first_chunk_ > 0 && metrics.options_.ranking && metrics.task_ == Task::kBinary) {
    auto bins = std::make_shared<ScoreBins>();
    for (size_t index = 0; index < kBinsPages; ++index) {
      MILLRACE_ASSIGN_OR_RETURN(const ByteView page, find(kFirstBinsPage + index));
      MILLRACE_ASSIGN_OR_RETURN(const ByteView body, internal::open_page(page));
      ByteReader in(body);
      for (size_t i = index * kBinsPerPage; i < (index + 1) * kBinsPerPage; ++i) {
        MILLRACE_ASSIGN_OR_RETURN(bins->positives[i], in.uvarint());
        MILLRACE_ASSIGN_OR_RETURN(bins->negatives[i], in.uvarint());
      }
      MILLRACE_RETURN_IF_ERROR(internal::expect_end(in));
    }
    metrics.bins_ = std::move(bins);
  }
  if (used != by_number.size()) return fail(Errc::kCorruption, "a page of the metrics is one too many");
  metrics.clean_rows_ = metrics.rows();
  metrics.clean_unscored_ = metrics.unscored();
  metrics.clean_first_chunk_ = metrics.first_chunk_;
  metrics.header_is_clean_ = true;
  return metrics;
}

}  // namespace millrace::learn
