#include "log/internal/offset_order.h"

#include <fmt/format.h>

#include <limits>

namespace millrace::log {

Result<size_t> Segment::OffsetOrder::check(ByteView header, uint64_t position) const {
  const int64_t size = record::BatchView::size_field(header);
  if (size < static_cast<int64_t>(record::kBatchHeaderBytes) || static_cast<uint64_t>(size) > file_end_ - position)
    return segment_.damaged(position, "no record batch is here");
  const auto batch = record::BatchView::of_header(header);
  const Offset base = batch.base_offset();
  const auto& end = segment_.sparse_end_;
  // No segment spans more, by its format; and the offsets of what is here can be counted with.
  bool fits = base >= next_ && base - next_ <= std::numeric_limits<int32_t>::max() && batch.last_offset_delta() >= 0;
  if (fits && last_) fits = batch.last_offset() == *last_;
  if (fits && !last_ && !end) fits = base == next_;
  if (fits && end) {
    const Offset behind = batch.last_offset() + 1;
    fits = position + static_cast<uint64_t>(size) == file_end_ ? behind == *end : behind < *end;
  }
  if (fits) return static_cast<size_t>(size);
  return segment_.damaged(position, fmt::format("the base offset {} of the record batch here does not fit {}",
                                                base.value(), last_ ? "its index entry" : "those beside it"));
}

Status Segment::OffsetOrder::check_next(uint64_t position, ByteView window) const {
  // Where none are missing a batch that begins where it must ends there, too.
  if (!segment_.sparse_end_ || position >= file_end_) return {};
  Bytes header;
  if (window.size() < record::kBatchHeaderBytes) {
    MILLRACE_RETURN_IF_ERROR(segment_.read_raw(position, record::kBatchHeaderBytes, header));
    window = header;
    if (window.size() < record::kBatchHeaderBytes)
      return segment_.damaged(position, "the file ends in the middle of a record batch");
  }
  MILLRACE_RETURN_IF_ERROR(check(window, position));
  return {};
}

}  // namespace millrace::log
