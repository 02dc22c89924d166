#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "log/internal/offset_order.h"
#include "log/internal/segment.h"

// How a segment is read: where an offset or a time is found, and the walk over batch headers from there.
namespace millrace::log {

namespace {

constexpr size_t kScanBytes = 64u << 10;
constexpr uint64_t kWindowBytesMin = 4096;

// The headers of batches that follow each other in a file, read alone where the batches are large, and several at once
// where they are small.
class HeaderReader {
 public:
  explicit HeaderReader(const env::File& file) : file_(file) {}

  // The header at `position`, which is after the last one asked for; shorter where the file is. Valid until the next.
  Result<ByteView> at(uint64_t position, uint64_t end) {
    const uint64_t ahead = position - begin_;
    if (ahead + record::kBatchHeaderBytes > window_bytes_) {
      const bool small = last_ && position - *last_ < kSmallBatchBytes;
      const size_t wanted = std::min<uint64_t>(small ? buffer_.size() : record::kBatchHeaderBytes, end - position);
      MILLRACE_ASSIGN_OR_RETURN(window_bytes_, file_.read_at(position, std::span(buffer_).first(wanted)));
      begin_ = position;
    }
    last_ = position;
    const ByteView window(buffer_.data(), window_bytes_);
    return window.subspan(position - begin_, std::min(record::kBatchHeaderBytes, window_bytes_ - (position - begin_)));
  }

 private:
  static constexpr uint64_t kSmallBatchBytes = 4096;

  const env::File& file_;
  std::array<std::byte, 16u << 10> buffer_;
  uint64_t begin_ = 0;
  size_t window_bytes_ = 0;
  std::optional<uint64_t> last_;
};

}  // namespace

Result<size_t> Segment::read_raw(uint64_t position, size_t bytes, Bytes& out) const {
  const size_t start = out.size();
  size_t from_file = 0;
  Bytes from_tail;
  {
    MutexLock lock(mutex_);
    if (position < file_bytes_) from_file = std::min<uint64_t>(bytes, file_bytes_ - position);
    const uint64_t tail_at = position + from_file - std::min(position + from_file, file_bytes_);
    if (from_file < bytes && position + from_file >= file_bytes_ && tail_at < tail_.size()) {
      const auto begin = tail_.begin() + static_cast<std::ptrdiff_t>(tail_at);
      const auto end =
          begin + static_cast<std::ptrdiff_t>(std::min<uint64_t>(bytes - from_file, tail_.size() - tail_at));
      if (from_file == 0) {
        out.insert(out.end(), begin, end);
        return out.size() - start;
      }
      from_tail.assign(begin, end);
    }
  }
  if (from_file == 0) return size_t{0};
  MILLRACE_ASSIGN_OR_RETURN(const auto log, file());
  out.resize(start + from_file);
  MILLRACE_ASSIGN_OR_RETURN(const size_t got, log->read_at(position, std::span(out).subspan(start)));
  if (got < from_file) return damaged(position + got, "the file has become shorter");
  out.insert(out.end(), from_tail.begin(), from_tail.end());
  return out.size() - start;
}

Segment::Floor Segment::floor_at(const IndexEntry& entry) const {
  return {static_cast<uint64_t>(entry.position), base_offset_, base_offset_ + entry.relative_offset};
}

Result<Segment::Floor> Segment::floor_of(Offset offset) const {
  const Floor first{0, base_offset_, std::nullopt};
  uint64_t count = 0;
  {
    MutexLock lock(mutex_);
    for (const Cursor& cursor : cursors_) {
      if (cursor.offset == offset) return Floor{cursor.position, offset, std::nullopt};
    }
    if (index_in_memory_) {
      const auto after = std::ranges::upper_bound(index_, offset - base_offset_, {}, &IndexEntry::relative_offset);
      return after == index_.begin() ? first : floor_at(*std::prev(after));
    }
    count = index_written_;
  }
  const auto found = count == 0 ? first : floor_in_file(offset, count);
  MutexLock lock(mutex_);
  // Then the file may be another segment's.
  if (detached_) return first;
  if (found && found->position >= file_bytes_) {
    return fail(Errc::kCorruption,
                fmt::format("{} is damaged: offset {} is at byte {} there, and the segment has {} bytes",
                            path(kIndexSuffix), offset.value(), found->position, file_bytes_),
                "restore the file from a copy, or remove it, and start again: then it is built anew");
  }
  return found;
}

Result<Segment::Floor> Segment::floor_in_file(Offset offset, uint64_t count) const {
  MILLRACE_ASSIGN_OR_RETURN(const auto index, files_.open(path(kIndexSuffix), env::OpenMode::kRead));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t after, partition_point(*index, kIndexEntryBytes, count, [&](ByteView entry) {
                              return decode_index_entry(entry).relative_offset <= offset - base_offset_;
                            }));
  if (after == 0) return Floor{0, base_offset_, std::nullopt};
  Bytes entry(kIndexEntryBytes);
  MILLRACE_RETURN_IF_ERROR(index->read_at((after - 1) * kIndexEntryBytes, entry));
  return floor_at(decode_index_entry(entry));
}

Status Segment::scan(Offset from, const std::function<bool(const Found&)>& visit) const {
  if (damage_) return tl::unexpected(*damage_);
  MILLRACE_ASSIGN_OR_RETURN(const Floor floor, floor_of(from));
  const uint64_t end = size_bytes();
  OffsetOrder order(*this, floor, end);
  Bytes window;
  for (uint64_t position = floor.position; position < end;) {
    window.clear();
    MILLRACE_RETURN_IF_ERROR(read_raw(position, std::min<uint64_t>(kScanBytes, end - position), window));
    uint64_t at = 0;
    while (at + record::kBatchHeaderBytes <= window.size()) {
      const Found found{position + at, ByteView(window).subspan(at, record::kBatchHeaderBytes)};
      MILLRACE_ASSIGN_OR_RETURN(const size_t size, order.check(found.header, found.position));
      order.pass(found.view());
      at += size;
      if (found.view().last_offset() < from) continue;
      MILLRACE_RETURN_IF_ERROR(
          order.check_next(position + at, ByteView(window).subspan(std::min<uint64_t>(at, window.size()))));
      if (!visit(found)) return {};
    }
    if (at == 0) return damaged(position, "the file ends in the middle of a record batch");
    position += at;
  }
  return {};
}

Result<BatchRun> Segment::read(const Wanted& wanted, Bytes& out) const {
  if (damage_) return tl::unexpected(*damage_);
  const size_t start = out.size();
  MILLRACE_ASSIGN_OR_RETURN(const Floor floor, floor_of(wanted.from));
  const uint64_t segment_end = size_bytes();
  OffsetOrder order(*this, floor, segment_end);
  uint64_t position = floor.position;
  // Room to skip what lies between an index entry and the offset, and for the header behind what is wanted.
  uint64_t window_bytes = std::max<uint64_t>(
      uint64_t{wanted.bytes_max} + options_.index_interval_bytes + record::kBatchHeaderBytes, kWindowBytesMin);
  const auto from_window = [&](size_t at) { return ByteView(out).subspan(start + at); };
  while (position < segment_end) {
    out.resize(start);
    MILLRACE_ASSIGN_OR_RETURN(const size_t got,
                              read_raw(position, std::min(window_bytes, segment_end - position), out));
    size_t at = 0;
    size_t first = 0;
    while (at + record::kBatchHeaderBytes <= got) {
      MILLRACE_ASSIGN_OR_RETURN(first, order.check(from_window(at), position + at));
      const auto batch = record::BatchView::of_header(from_window(at));
      if (batch.last_offset() >= wanted.from) break;
      order.pass(batch);
      at += first;
    }
    if (at + record::kBatchHeaderBytes > got) {
      if (at == 0) return damaged(position, "the file ends in the middle of a record batch");
      position += at;
      continue;
    }
    if (const auto batch = record::BatchView::of_header(from_window(at)); batch.base_offset() >= wanted.limit) {
      order.pass(batch);
      MILLRACE_RETURN_IF_ERROR(order.check_next(position + at + first, from_window(std::min(at + first, got))));
      break;
    }
    if (first > wanted.bytes_max && !wanted.at_least_one) break;
    if (at + first > got) {
      position += at;
      window_bytes = std::max<uint64_t>(window_bytes, first + record::kBatchHeaderBytes);
      continue;
    }
    size_t end = at;
    BatchRun run;
    while (end + record::kBatchHeaderBytes <= got) {
      MILLRACE_ASSIGN_OR_RETURN(const size_t size, order.check(from_window(end), position + end));
      const auto batch = record::BatchView::of_header(from_window(end));
      if (batch.base_offset() >= wanted.limit || end + size > got) break;
      if (end > at && end + size - at > wanted.bytes_max) break;
      run.next = batch.last_offset() + 1;
      run.records += batch.record_count();
      order.pass(batch);
      end += size;
    }
    MILLRACE_RETURN_IF_ERROR(order.check_next(position + end, from_window(end)));
    run.bytes = end - at;
    out.resize(start + end);
    if (at > 0)
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(start),
                out.begin() + static_cast<std::ptrdiff_t>(start + at));
    remember(run.next, position + end);
    return run;
  }
  out.resize(start);
  return BatchRun{};
}

Result<BatchRun> Segment::read_or_locate(const Wanted& wanted, Bytes& out, std::optional<env::FileRange>& range) const {
  if (damage_) return tl::unexpected(*damage_);
  uint64_t file_end = 0;
  {
    MutexLock lock(mutex_);
    file_end = file_bytes_;
  }
  if (std::min<uint64_t>(wanted.bytes_max, file_end) < kRangeBytesMin) return read(wanted, out);
  MILLRACE_ASSIGN_OR_RETURN(const Floor floor, floor_of(wanted.from));
  uint64_t position = floor.position;
  if (file_end - std::min(position, file_end) < kRangeBytesMin) return read(wanted, out);
  MILLRACE_ASSIGN_OR_RETURN(const std::shared_ptr<const env::File> log, file());
  MILLRACE_ASSIGN_OR_RETURN(const BatchRun run, locate(*log, wanted, OffsetOrder(*this, floor, file_end), position));
  // All of the file may lie before what is wanted.
  if (position == file_end) return read(wanted, out);
  if (run.bytes == 0) return run;
  // Now it can still be told; once an answer has begun only its connection can be closed.
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, log->size());
  if (size < position + run.bytes) return damaged(size, "the file has become shorter");
  remember(run.next, position + run.bytes);
  range = {.file = log, .position = position, .bytes = run.bytes};
  return run;
}

Result<BatchRun> Segment::locate(const env::File& file, const Wanted& wanted, OffsetOrder order,
                                 uint64_t& position) const {
  BatchRun run;
  HeaderReader headers(file);
  for (uint64_t at = position; at < order.file_end();) {
    MILLRACE_ASSIGN_OR_RETURN(const ByteView header, headers.at(at, order.file_end()));
    if (header.size() < record::kBatchHeaderBytes) return damaged(at, "the file ends in the middle of a record batch");
    const auto batch = record::BatchView::of_header(header);
    MILLRACE_ASSIGN_OR_RETURN(const size_t size, order.check(header, at));
    const uint64_t next = at + size;
    if (batch.last_offset() < wanted.from) {
      order.pass(batch);
      position = at = next;
      continue;
    }
    if (batch.base_offset() >= wanted.limit) {
      order.pass(batch);
      if (run.bytes == 0) MILLRACE_RETURN_IF_ERROR(order.check_next(next, {}));
      break;
    }
    if (run.bytes + size > wanted.bytes_max && (run.bytes > 0 || !wanted.at_least_one)) break;
    order.pass(batch);
    at = next;
    run.bytes += size;
    run.next = batch.last_offset() + 1;
    run.records += batch.record_count();
  }
  return run;
}

void Segment::remember(Offset offset, uint64_t position) const {
  MutexLock lock(mutex_);
  cursors_[next_cursor_++ % cursors_.size()] = {offset, position};
}

Result<Bytes> Segment::read_batch(uint64_t position) const {
  Bytes batch;
  MILLRACE_RETURN_IF_ERROR(read_raw(position, record::kBatchHeaderBytes, batch));
  const int64_t size = batch.size() < record::kBatchHeaderBytes ? 0 : record::BatchView::size_field(batch);
  if (size < static_cast<int64_t>(record::kBatchHeaderBytes) || static_cast<uint64_t>(size) > size_bytes() - position) {
    return damaged(position, "no record batch is here");
  }
  batch.clear();
  MILLRACE_RETURN_IF_ERROR(read_raw(position, static_cast<size_t>(size), batch));
  return batch;
}

TimestampedOffset Segment::max_timestamp() const {
  MutexLock lock(mutex_);
  return {.offset = max_timestamp_offset_, .timestamp_ms = max_timestamp_ms_};
}

Result<Offset> Segment::floor_of_time(int64_t timestamp_ms) const {
  uint64_t count = 0;
  {
    MutexLock lock(mutex_);
    if (index_in_memory_) {
      const auto after = std::ranges::lower_bound(time_index_, timestamp_ms, {}, &TimeIndexEntry::timestamp_ms);
      return after == time_index_.begin() ? base_offset_ : base_offset_ + std::prev(after)->relative_offset;
    }
    count = time_index_written_;
  }
  auto found = floor_of_time_in_file(timestamp_ms, count);
  MutexLock lock(mutex_);
  if (detached_) return base_offset_;
  return found;
}

Result<Offset> Segment::floor_of_time_in_file(int64_t timestamp_ms, uint64_t count) const {
  if (count == 0) return base_offset_;
  MILLRACE_ASSIGN_OR_RETURN(const auto index, files_.open(path(kTimeIndexSuffix), env::OpenMode::kRead));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t after,
                            partition_point(*index, kTimeIndexEntryBytes, count, [&](ByteView entry) {
                              return decode_time_index_entry(entry).timestamp_ms < timestamp_ms;
                            }));
  if (after == 0) return base_offset_;
  Bytes entry(kTimeIndexEntryBytes);
  MILLRACE_RETURN_IF_ERROR(index->read_at((after - 1) * kTimeIndexEntryBytes, entry));
  return base_offset_ + decode_time_index_entry(entry).relative_offset;
}

}  // namespace millrace::log
