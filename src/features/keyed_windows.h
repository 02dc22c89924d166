#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "columns/batch.h"
#include "features/aggregate.h"
#include "state/page.h"

namespace millrace::features {

struct Window {
  std::string name;       // as written: "24h"; the last part of column names
  int64_t length_us = 0;  // above 0
};

// Which rows of the key a window of length w sees from a row at (t, offset): those with time > t - w that come
// earlier in (event time, offset); kAfterEvent: and the row itself.
enum class Asof { kBeforeEvent, kAfterEvent };

// What happens to a row below the watermark on its arrival. kScore and kUpdate: it sees the state as of its event time
// and becomes part of the key's history; they differ only for ticks, which later versions bring. kReject: it is
// refused.
enum class LateRows { kScore, kUpdate, kReject };

struct WindowedAggregate {
  Aggregate aggregate;
  std::vector<Window> windows;  // empty: the step's
};

// The value of `column` in the key's latest earlier row; NULL where there is none.
struct LastValue {
  std::string name;
  std::string column;
};

// A `features` step. Columns come out as <aggregate>_<window>, all windows of the first aggregate first, then `last`.
struct FeatureSpec {
  std::vector<std::string> keys;  // columns; a row with a NULL among them has no key, thus no history
  Asof asof = Asof::kBeforeEvent;
  std::vector<Window> windows;
  std::vector<WindowedAggregate> aggregates;
  std::vector<LastValue> last;
  LateRows late = LateRows::kScore;
  // How late a row may be and still find its windows complete; rows are kept this much longer. Negative: an eighth of
  // the longest window. Later rows see what is left of their windows.
  int64_t lateness_us = -1;
  // When a key without new rows is forgotten, its last values included.
  int64_t forget_us = 400LL * 86'400 * 1'000'000;
};

struct Processed {
  columns::Batch batch;            // the rows taken, widened by the features, in input order
  std::vector<Rejected> rejected;  // ascending; for the dead letters
  uint64_t late_rows = 0;          // among the input
};

// The windowed features of one input partition: state per key, incremental, in event time. Results are those of the
// definition computed over the whole input (a row sees the rows that arrived before it), whatever the batches, and
// whether or not state was saved and restored in between: sums of BIGINT and DECIMAL are exact, sums of DOUBLE are
// compensated (Neumaier) over the window's rows, never differences of running sums. Rows are kept as long as a window
// can reach them. One thread.
class KeyedWindows final : public state::Paged {
 public:
  // kInvalidArgument names the column or aggregate that does not fit `input`.
  static Result<std::unique_ptr<KeyedWindows>> create(const FeatureSpec& spec, columns::SchemaPtr input);
  ~KeyedWindows() override;

  // The input's columns, then the features.
  const columns::SchemaPtr& output_schema() const;
  // Changes when the pages' meaning does: keys, columns, masks, windows' reach.
  uint64_t signature() const;

  // Compute the features of each row in order, and take the row into its key's history. `watermarks_us` has one value a
  // row, never falling: the source's watermark when the row arrived, not counting the row itself (INT64_MIN at first).
  // Rejected, and taken into no history: late rows under kReject, and rows with a key or `last` text too long to keep.
  // A sum that does not fit its type is NULL. Fails (kCorruption) only on state that was restored wrongly.
  Result<Processed> process(const columns::Batch& input, std::span<const int64_t> watermarks_us);

  // Let go of rows that no window can reach any more. Never changes results; call it now and then, with the watermark.
  // Looks at up to `keys_max` keys a call, going round.
  void expire(int64_t watermark_us, size_t keys_max);

  size_t keys() const;
  size_t rows_kept() const;
  size_t bytes() const;

  void collect(state::PageSink& sink) override;
  Status restore(ByteView key, uint64_t page, ByteView value) override;

 private:
  struct Impl;
  explicit KeyedWindows(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::features
