#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "columns/batch.h"
#include "features/aggregate.h"
#include "state/page.h"

namespace millrace::features {

enum class Gaps {
  kNone,  // a key's window without rows gives no row
  kZero,  // from a key's first window on every window gives a row, as long as the watermark goes on
};
enum class LateForWindow {
  kDrop,    // counted
  kReject,  // refused, for the dead letters
};

// An `aggregate` step with tumbling windows [k * size, (k + 1) * size) of event time in UTC, emitted at close.
struct TumblingSpec {
  std::vector<std::string> by;  // columns; may be empty: one group. NULL is a value of its own, as in SQL's GROUP BY
  int64_t size_us = 0;
  std::vector<Aggregate> aggregates;
  Gaps gaps = Gaps::kNone;
  LateForWindow late = LateForWindow::kDrop;
};

struct Aggregated {
  // Closed windows: `by`, window_start, window_end, aggregates; ordered by close, window, then `by`. A row's identity
  // is the input row that closed the window (its offset), at the window's end.
  columns::Batch batch;
  uint64_t taken = 0;    // input rows that went into a window
  uint64_t dropped = 0;  // late ones, under kDrop
  std::vector<Rejected> rejected;
};

// Aggregates of one input partition by key and window. A row is late when its window has closed: its end is at or below
// the watermark on the row's arrival. Rejected are also rows whose event time is too far from 1970 for a window (by
// tens of thousands of years: a wrong unit), and rows with a key too long to keep. Sums are as in KeyedWindows; results
// do not depend on batches. One thread.
class TumblingAggregate final : public state::Paged {
 public:
  // Where event time jumps over more windows than this, they are not filled: keys begin anew.
  static constexpr int64_t kGapWindowsMax = 10'000;

  static Result<std::unique_ptr<TumblingAggregate>> create(const TumblingSpec& spec, columns::SchemaPtr input);
  ~TumblingAggregate() override;

  const columns::SchemaPtr& output_schema() const;
  // Changes when the pages' meaning does: keys, columns, masks, the window's size, what is summed of a column.
  uint64_t signature() const;

  // Take rows in order. `watermarks_us` as in KeyedWindows::process: before a row is looked at, its watermark closes
  // windows.
  Result<Aggregated> process(const columns::Batch& input, std::span<const int64_t> watermarks_us);
  // Close what ends at or below this watermark; `partition` and `offset` become the identity of the emitted rows.
  Result<Aggregated> advance(int64_t watermark_us, PartitionId partition, Offset offset);
  // The input has ended: close everything.
  Result<Aggregated> finish(PartitionId partition, Offset offset);

  // Windows open now, over all keys.
  size_t open_windows() const;

  void collect(state::PageSink& sink) override;
  Status restore(ByteView key, uint64_t page, ByteView value) override;

 private:
  struct Impl;
  explicit TumblingAggregate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::features
