#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "log/internal/segment.h"

// How a segment comes to be: made anew, or opened from its files, whose indexes are checked and, where they do not fit,
// rebuilt.
namespace millrace::log {

namespace {

constexpr size_t kRebuildBytes = 1u << 20;

}  // namespace

std::shared_ptr<Segment> Segment::make(env::FileSystem& files, std::string directory, Offset base_offset,
                                       const Options& options) {
  return std::shared_ptr<Segment>(new Segment(files, std::move(directory), base_offset, options));
}

Result<std::shared_ptr<Segment>> Segment::open_active(env::FileSystem& files, std::string directory,
                                                      const SegmentEnd& end, const Options& options) {
  auto segment = make(files, std::move(directory), end.base_offset, options);
  if (end.bytes == 0) return segment;
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<env::File> file,
                            files.open(segment->path(kLogSuffix), env::OpenMode::kReadWrite));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
  if (size < end.bytes)
    return segment->damaged(size, fmt::format("the file ends before its durable {} bytes", end.bytes));
  if (size > end.bytes) MILLRACE_RETURN_IF_ERROR(file->truncate(end.bytes));
  {
    MutexLock lock(segment->mutex_);
    segment->file_ = std::move(file);
    segment->file_bytes_ = end.bytes;
    segment->max_timestamp_ms_ = end.max_timestamp_ms;
    segment->max_timestamp_offset_ = end.max_timestamp_offset;
  }
  if (!segment->load_indexes(end.index_entries, end.time_index_entries)) {
    log_warning("log", "{}: building the indexes anew", segment->log_path());
    MILLRACE_RETURN_IF_ERROR(segment->rebuild(end.bytes));
  }
  return segment;
}

Result<std::shared_ptr<Segment>> Segment::open_closed(env::FileSystem& files, std::string directory, Offset base_offset,
                                                      Offset end_offset, const Options& options) {
  auto segment = make(files, std::move(directory), base_offset, options);
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<env::File> file,
                            files.open(segment->path(kLogSuffix), env::OpenMode::kReadWrite));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
  {
    MutexLock lock(segment->mutex_);
    segment->file_bytes_ = size;
    segment->file_ = std::move(file);
  }
  if (!segment->check_closed(end_offset)) {
    log_warning("log", "{}: building the indexes anew", segment->log_path());
    MILLRACE_RETURN_IF_ERROR(segment->rebuild(size));
    Offset last = base_offset;
    MILLRACE_RETURN_IF_ERROR(segment->scan(base_offset, [&](const Found& found) {
      last = found.view().last_offset();
      return true;
    }));
    if (last + 1 != end_offset) {
      return segment->damaged(
          size, fmt::format("the file ends at offset {} instead of {}", last.value(), end_offset.value() - 1));
    }
  }
  segment->close_for_append();
  MutexLock lock(segment->mutex_);
  segment->file_.reset();  // opened again when it is read
  return segment;
}

Result<std::shared_ptr<Segment>> Segment::open_cleaned(env::FileSystem& files, std::string directory,
                                                       Offset base_offset, const char* suffix, const Options& options) {
  auto segment = make(files, std::move(directory), base_offset, options);
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<env::File> file,
                            files.open(segment->path(suffix), env::OpenMode::kReadWrite));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
  {
    MutexLock lock(segment->mutex_);
    segment->file_bytes_ = size;
    segment->file_ = std::move(file);  // stays open when the file gets its name
  }
  MILLRACE_RETURN_IF_ERROR(segment->rebuild(size));
  segment->close_for_append();
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

Status Segment::check_closed(Offset end_offset) {
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
  if (!index.empty()) {
    const IndexEntry entry = decode_index_entry(index);
    if (entry.position < 0 || static_cast<uint64_t>(entry.position) >= size_bytes()) {
      return fail(Errc::kCorruption, "not an index of this segment");
    }
    from = base_offset_ + entry.relative_offset;
  }
  {
    MutexLock lock(mutex_);
    index_in_memory_ = false;
    index_written_ = index_count;
    time_index_written_ = time_index_count;
    max_timestamp_ms_ = greatest.timestamp_ms;
    max_timestamp_offset_ = base_offset_ + greatest.relative_offset;
  }
  Offset last{-1};
  MILLRACE_RETURN_IF_ERROR(scan(from, [&](const Found& found) {
    last = found.view().last_offset();
    return true;
  }));
  if (last + 1 != end_offset) return fail(Errc::kCorruption, "the index and the segment do not fit");
  return {};
}

Status Segment::rebuild(uint64_t bytes) {
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
  Bytes window;
  size_t window_bytes = kRebuildBytes;
  for (uint64_t position = 0; position < bytes;) {
    window.clear();
    MILLRACE_RETURN_IF_ERROR(read_raw(position, std::min<uint64_t>(window_bytes, bytes - position), window));
    uint64_t at = 0;
    while (at < window.size()) {
      const auto batch = record::BatchView::first_of(ByteView(window).subspan(at));
      if (!batch) break;
      if (!batch->checksum_matches()) return damaged(position + at, "the checksum of a record batch does not match");
      MutexLock lock(mutex_);
      note_batch(*batch, position + at);
      at += batch->size_bytes();
    }
    if (at == 0) {
      // One batch larger than the window, or no batch at all.
      if (window.size() == bytes - position) return damaged(position, "no whole record batch is here");
      window_bytes *= 2;
    }
    position += at;
  }
  return {};
}

}  // namespace millrace::log
