#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/logging.h"
#include "log/internal/segment.h"

// How a segment comes to be: made anew, or opened from its files, whose indexes are checked and, where they do not fit,
// rebuilt.
namespace millrace::log {

namespace {

constexpr size_t kRebuildBytes = 1u << 20;
constexpr Offset kNoEnd{std::numeric_limits<int64_t>::max()};

}  // namespace

std::shared_ptr<Segment> Segment::make(env::FileSystem& files, std::string directory, Offset base_offset,
                                       const Options& options) {
  return std::shared_ptr<Segment>(new Segment(files, std::move(directory), base_offset, options));
}

std::shared_ptr<Segment> Segment::make_damaged(env::FileSystem& files, std::string directory, Offset base_offset,
                                               Error damage) {
  auto segment = make(files, std::move(directory), base_offset, {});
  segment->damage_ = std::move(damage);
  MutexLock lock(segment->mutex_);
  segment->index_in_memory_ = false;  // there is nothing to sync
  segment->closed_ = true;
  return segment;
}

Result<std::shared_ptr<Segment>> Segment::open_active(env::FileSystem& files, std::string directory,
                                                      const SegmentEnd& end, Offset log_end, const Options& options) {
  auto segment = make(files, std::move(directory), end.base_offset, options);
  if (end.bytes == 0) return segment;
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, segment->open_file(kLogSuffix));
  if (size < end.bytes)
    return segment->damaged(size, fmt::format("the file ends before its durable {} bytes", end.bytes));
  {
    MutexLock lock(segment->mutex_);
    segment->file_bytes_ = end.bytes;
    segment->max_timestamp_ms_ = end.max_timestamp_ms;
    segment->max_timestamp_offset_ = end.max_timestamp_offset;
  }
  if (!segment->load_indexes(end.index_entries, end.time_index_entries)) {
    log_warning("log", "{}: building the indexes anew", segment->log_path());
    MILLRACE_RETURN_IF_ERROR(segment->rebuild(end.bytes, log_end));
  }
  MILLRACE_RETURN_IF_ERROR(segment->check_active_end(log_end));
  segment->note_open();
  return segment;
}

Result<uint64_t> Segment::open_file(const char* suffix) {
  MILLRACE_ASSIGN_OR_RETURN(auto file, files_.open(path(suffix), env::OpenMode::kReadWrite));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
  MutexLock lock(mutex_);
  file_ = std::move(file);
  file_bytes_ = size;
  return size;
}

Status Segment::trim() {
  uint64_t bytes = 0;
  {
    MutexLock lock(mutex_);
    bytes = file_bytes_;
    if (keeps_rest_ || (file_ == nullptr && bytes == 0)) return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto log, file());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, log->size());
  if (size <= bytes) return {};
  return write([&](env::File& file) { return file.truncate(bytes); });
}

Result<Segment::Closed> Segment::open_closed(env::FileSystem& files, std::string directory, Offset base_offset,
                                             Offset end_offset, const Options& options) {
  auto segment = make(files, std::move(directory), base_offset, options);
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, segment->open_file(kLogSuffix));
  segment->sparse_end_ = end_offset;
  auto next = segment->check_closed();
  if (!next || *next > end_offset) {
    log_warning("log", "{}: building the indexes anew", segment->log_path());
    next = segment->rebuild(size, end_offset);
    if (!next) return tl::unexpected(std::move(next).error());
  }
  segment->sparse_end_ = *next;
  segment->close_for_append();
  MutexLock lock(segment->mutex_);
  segment->file_.reset();  // opened again when it is read
  return Closed{segment, *next};
}

Result<std::shared_ptr<Segment>> Segment::open_cleaned(env::FileSystem& files, std::string directory,
                                                       Offset base_offset, const char* suffix, const Options& options) {
  auto segment = make(files, std::move(directory), base_offset, options);
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, segment->open_file(suffix));
  {
    MutexLock lock(segment->mutex_);
    // What compaction has written: so it stays open until a sync(), when it has its name.
    segment->writes_ = {.begun = 1, .ended = 1};
  }
  segment->sparse_end_ = kNoEnd;
  MILLRACE_ASSIGN_OR_RETURN(segment->sparse_end_, segment->rebuild(size, kNoEnd));
  segment->close_for_append();
  segment->note_open();
  return segment;
}

Status Segment::load_indexes(uint64_t index_entries, uint64_t time_index_entries) {
  const auto load = [&](const char* suffix, uint64_t bytes) -> Result<Bytes> {
    if (bytes == 0) return Bytes{};
    MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(path(suffix), env::OpenMode::kRead));
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
    if (size < bytes) return fail(Errc::kCorruption, "too short");
    Bytes content(bytes);
    MILLRACE_RETURN_IF_ERROR(file->read_at(0, content));
    return content;
  };
  MILLRACE_ASSIGN_OR_RETURN(const Bytes index, load(kIndexSuffix, index_entries * kIndexEntryBytes));
  MILLRACE_ASSIGN_OR_RETURN(const Bytes time_index, load(kTimeIndexSuffix, time_index_entries * kTimeIndexEntryBytes));
  MutexLock lock(mutex_);
  for (size_t at = 0; at < index.size(); at += kIndexEntryBytes) {
    const IndexEntry entry = decode_index_entry(ByteView(index).subspan(at));
    const bool follows = index_.empty() || (entry.relative_offset > index_.back().relative_offset &&
                                            entry.position > index_.back().position);
    if (!follows || entry.position < 0 || static_cast<uint64_t>(entry.position) >= file_bytes_) {
      return fail(Errc::kCorruption, "not an index of this segment");
    }
    index_.push_back(entry);
  }
  for (size_t at = 0; at < time_index.size(); at += kTimeIndexEntryBytes) {
    const TimeIndexEntry entry = decode_time_index_entry(ByteView(time_index).subspan(at));
    if (!time_index_.empty() && entry.timestamp_ms <= time_index_.back().timestamp_ms) {
      return fail(Errc::kCorruption, "not a time index of this segment");
    }
    time_index_.push_back(entry);
  }
  index_written_ = index_.size();
  time_index_written_ = time_index_.size();
  bytes_since_index_ = file_bytes_ - (index_.empty() ? 0 : static_cast<uint64_t>(index_.back().position));
  return {};
}

Result<Offset> Segment::check_closed() {
  const auto last_entry = [&](const char* suffix, size_t entry_bytes, uint64_t& count) -> Result<Bytes> {
    MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(path(suffix), env::OpenMode::kRead));
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
    if (size % entry_bytes != 0) return fail(Errc::kCorruption, "not whole entries");
    count = size / entry_bytes;
    Bytes entry(count == 0 ? 0 : entry_bytes);
    if (count > 0) MILLRACE_RETURN_IF_ERROR(file->read_at(size - entry_bytes, entry));
    return entry;
  };
  uint64_t index_count = 0;
  uint64_t time_index_count = 0;
  MILLRACE_ASSIGN_OR_RETURN(const Bytes index, last_entry(kIndexSuffix, kIndexEntryBytes, index_count));
  MILLRACE_ASSIGN_OR_RETURN(const Bytes time_index,
                            last_entry(kTimeIndexSuffix, kTimeIndexEntryBytes, time_index_count));
  // A segment that is closed has at least its greatest timestamp there.
  if (time_index.empty()) return fail(Errc::kCorruption, "empty");
  const TimeIndexEntry greatest = decode_time_index_entry(time_index);
  Offset from = base_offset_;
  uint64_t position = 0;
  if (!index.empty()) {
    const IndexEntry entry = decode_index_entry(index);
    if (entry.position < 0 || static_cast<uint64_t>(entry.position) >= size_bytes()) {
      return fail(Errc::kCorruption, "not an index of this segment");
    }
    from = base_offset_ + entry.relative_offset;
    position = static_cast<uint64_t>(entry.position);
  }
  {
    MutexLock lock(mutex_);
    index_in_memory_ = false;
    index_written_ = index_count;
    time_index_written_ = time_index_count;
    max_timestamp_ms_ = greatest.timestamp_ms;
    max_timestamp_offset_ = base_offset_ + greatest.relative_offset;
  }
  // The entry must be of the batch that is there; what follows tells where the segment ends, and whether a later
  // timestamp is greater than the time index knows: one that was not closed by whoever wrote it.
  Offset last{-1};
  bool fits = true;
  TimestampedOffset latest{base_offset_ + greatest.relative_offset, greatest.timestamp_ms};
  MILLRACE_RETURN_IF_ERROR(scan(from, [&](const Found& found) {
    const record::BatchView batch = found.view();
    if (last.value() < 0 && !index.empty()) fits = batch.last_offset() == from && found.position == position;
    last = batch.last_offset();
    if (batch.max_timestamp_ms() > latest.timestamp_ms) latest = {last, batch.max_timestamp_ms()};
    return fits;
  }));
  if (!fits || last.value() < 0) return fail(Errc::kCorruption, "the index and the segment do not fit");
  MutexLock lock(mutex_);
  max_timestamp_ms_ = latest.timestamp_ms;
  max_timestamp_offset_ = latest.offset;
  return last + 1;
}

Status Segment::check_active_end(Offset log_end) const {
  Offset from = base_offset_;
  {
    MutexLock lock(mutex_);
    if (!index_.empty()) from = base_offset_ + index_.back().relative_offset;
  }
  Offset next = from;
  MILLRACE_RETURN_IF_ERROR(scan(from, [&](const Found& found) {
    next = found.view().last_offset() + 1;
    return true;
  }));
  if (next == log_end) return {};
  return damaged(size_bytes(), fmt::format("offset {} is here instead of {}", next.value(), log_end.value()));
}

Result<Offset> Segment::rebuild(uint64_t bytes, Offset end_offset) {
  {
    MutexLock lock(mutex_);
    index_.clear();
    time_index_.clear();
    index_in_memory_ = true;
    index_written_ = 0;
    time_index_written_ = 0;
    bytes_since_index_ = 0;
    max_timestamp_ms_ = record::kNoTimestamp;
    max_timestamp_offset_ = Offset{-1};
  }
  Offset next = base_offset_;
  Bytes window;
  size_t window_bytes = kRebuildBytes;
  // Behind the end there may be remains of an append that was refused: no whole batch, or one that would have followed.
  const auto leave_rest = [&](uint64_t position) {
    MutexLock lock(mutex_);
    file_bytes_ = position;
    return next;
  };
  for (uint64_t position = 0; position < bytes;) {
    window.clear();
    MILLRACE_RETURN_IF_ERROR(read_raw(position, std::min<uint64_t>(window_bytes, bytes - position), window));
    uint64_t at = 0;
    while (at < window.size()) {
      const auto batch = record::BatchView::first_of(ByteView(window).subspan(at));
      if (!batch) break;
      const Offset base = batch->base_offset();
      const bool is_whole = batch->checksum_matches();
      if (next == end_offset && (!is_whole || base >= end_offset)) return leave_rest(position + at);
      if (!is_whole) return damaged(position + at, "the checksum of a record batch does not match");
      const bool follows = sparse_end_ ? base >= next : base == next;
      if (!follows || base >= end_offset || batch->last_offset() >= end_offset) {
        return damaged(
            position + at,
            fmt::format("the base offset {} of the record batch here does not fit those beside it", base.value()));
      }
      MutexLock lock(mutex_);
      note_batch(*batch, position + at);
      next = batch->last_offset() + 1;
      at += batch->size_bytes();
    }
    if (at == 0) {
      // One batch larger than the window, or no batch at all.
      if (window.size() == bytes - position) {
        if (next == end_offset) return leave_rest(position);
        return damaged(position, "no whole record batch is here");
      }
      window_bytes *= 2;
    }
    position += at;
  }
  return next;
}

}  // namespace millrace::log
