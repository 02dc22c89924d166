#pragma once

#include "log/internal/segment.h"

namespace millrace::log {

// What a walk over batch headers holds each of them against: the batch before, the one behind, the index entry that led
// there, and the ends of the segment. For a batch's base offset is not under its checksum, and a wrong one would give
// records to readers at offsets of others, or hide them. In a segment that was compacted a batch that stands wrongly
// within the gap beside it cannot be told. Not longer than the segment.
class Segment::OffsetOrder {
 public:
  OffsetOrder(const Segment& segment, const Floor& floor, uint64_t file_end)
      : segment_(segment), next_(floor.next), last_(floor.last), file_end_(file_end) {}

  // The size of the batch at `position`, the first one or that behind the last one passed; `header` has its header at
  // least. kCorruption where it would go beyond the end, or its offsets cannot be there. A batch that is not passed may
  // be checked again.
  Result<size_t> check(ByteView header, uint64_t position) const;
  void pass(const record::BatchView& batch) {
    next_ = batch.last_offset() + 1;
    last_.reset();
  }
  // That the batch passed last ends before the one that follows at `position`: only then may it be handed out, or ends
  // the walk. `window` is what is in memory from there on; the header is read where it is too short.
  Status check_next(uint64_t position, ByteView window) const;

  uint64_t file_end() const { return file_end_; }

 private:
  const Segment& segment_;
  Offset next_;                 // where the batches passed end
  std::optional<Offset> last_;  // the last offset that the next batch has by its index entry
  const uint64_t file_end_;
};

}  // namespace millrace::log
