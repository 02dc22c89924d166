#include "log/internal/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "log/internal/open_files.h"

namespace millrace::log {

std::string segment_name(Offset base_offset) { return fmt::format("{:020}", base_offset.value()); }

std::string segment_path(const std::string& directory, Offset base_offset, const char* suffix) {
  return env::join_path(directory, segment_name(base_offset) + suffix);
}

std::optional<Offset> base_offset_of(std::string_view file) {
  const std::string_view stem = file.substr(0, file.find('.'));
  const auto base = parse_int64(stem);
  if (!base || segment_name(Offset{*base}) != stem) return std::nullopt;
  return Offset{*base};
}

Segment::Segment(env::FileSystem& files, std::string directory, Offset base_offset, const Options& options)
    : files_(files), directory_(std::move(directory)), base_offset_(base_offset), options_(options) {}

Segment::~Segment() {
  if (options_.tails_bytes != nullptr) options_.tails_bytes->fetch_sub(tail_bytes(), std::memory_order_relaxed);
}

Status Segment::detach() {
  MILLRACE_ASSIGN_OR_RETURN(auto log, file());
  MutexLock lock(mutex_);
  file_ = std::move(log);  // it may have been given up meanwhile
  detached_ = true;
  index_in_memory_ = true;
  index_.clear();
  time_index_.clear();
  return {};
}

std::string Segment::path(const char* suffix) const { return segment_path(directory_, base_offset_, suffix); }
std::string Segment::log_path() const { return path(kLogSuffix); }
std::vector<std::string> Segment::paths() const {
  return {path(kLogSuffix), path(kIndexSuffix), path(kTimeIndexSuffix), path(kTransactionIndexSuffix)};
}

uint64_t Segment::size_bytes() const {
  MutexLock lock(mutex_);
  return file_bytes_ + tail_.size();
}
bool Segment::needs_sync() const {
  MutexLock lock(mutex_);
  return index_in_memory_ && !detached_ && file_bytes_ > 0;
}
uint64_t Segment::tail_bytes() const {
  MutexLock lock(mutex_);
  return tail_.size();
}

tl::unexpected<Error> Segment::damaged(uint64_t position, std::string_view what) const {
  return fail(Errc::kCorruption, fmt::format("{} is damaged at byte {}: {}", path(kLogSuffix), position, what),
              "restore the file from a copy and start again, or delete the topic");
}

bool Segment::is_full(uint64_t bytes, Offset last_offset, uint64_t segment_bytes) const {
  const uint64_t size = size_bytes();
  constexpr int64_t kFormatMax = std::numeric_limits<int32_t>::max();
  return size > 0 &&
         (size + bytes > std::min<uint64_t>(segment_bytes, kFormatMax) || last_offset - base_offset_ > kFormatMax);
}

void Segment::note_batch(const record::BatchView& batch, uint64_t position) {
  if (batch.max_timestamp_ms() > max_timestamp_ms_ || max_timestamp_offset_.value() < 0) {
    max_timestamp_ms_ = batch.max_timestamp_ms();
    max_timestamp_offset_ = batch.last_offset();
  }
  if (bytes_since_index_ > options_.index_interval_bytes) {
    index_.push_back({static_cast<int32_t>(batch.last_offset() - base_offset_), static_cast<int32_t>(position)});
    if (time_index_.empty() || max_timestamp_ms_ > time_index_.back().timestamp_ms) {
      time_index_.push_back({max_timestamp_ms_, static_cast<int32_t>(max_timestamp_offset_ - base_offset_)});
    }
    bytes_since_index_ = 0;
  }
  bytes_since_index_ += batch.size_bytes();
}

void Segment::note_batches(ByteView batches, uint64_t position) {
  while (!batches.empty()) {
    const auto batch = record::BatchView::first_of(batches);
    MILLRACE_CHECK(batch.has_value(), "what is appended was checked");
    note_batch(*batch, position);
    position += batch->size_bytes();
    batches = batches.subspan(batch->size_bytes());
  }
}

void Segment::append(ByteView batches) {
  MutexLock lock(mutex_);
  note_batches(batches, file_bytes_ + tail_.size());
  tail_.insert(tail_.end(), batches.begin(), batches.end());
  if (options_.tails_bytes != nullptr) options_.tails_bytes->fetch_add(batches.size(), std::memory_order_relaxed);
}

Status Segment::write_ahead(ByteView batches) {
  uint64_t position = 0;
  {
    MutexLock lock(mutex_);
    MILLRACE_CHECK(tail_.empty());
    position = file_bytes_;
  }
  return write([&](env::File& log) { return log.write_at(position, batches); });
}

void Segment::append_written(ByteView batches, bool is_log) {
  MutexLock lock(mutex_);
  note_batches(batches, file_bytes_);
  file_bytes_ += batches.size();
  if (!is_log) copied_bytes_ += batches.size();
}

uint64_t Segment::unsynced_copy_bytes() const {
  MutexLock lock(mutex_);
  return copied_bytes_ - copied_synced_;
}

Status Segment::flush() {
  ByteView tail;  // only this thread changes it: readers may copy it meanwhile
  uint64_t position = 0;
  {
    MutexLock lock(mutex_);
    tail = tail_;
    position = file_bytes_;
  }
  if (tail.empty()) return {};
  MILLRACE_RETURN_IF_ERROR(write([&](env::File& log) { return log.write_at(position, tail); }));
  const size_t bytes = tail.size();
  MutexLock lock(mutex_);
  file_bytes_ += bytes;
  copied_bytes_ += bytes;
  // Capacity is kept: the next tail will be as large. A quiet partition gives it back at the next checkpoint.
  tail_.clear();
  if (options_.tails_bytes != nullptr) options_.tails_bytes->fetch_sub(bytes, std::memory_order_relaxed);
  return {};
}

void Segment::keep_rest() {
  MutexLock lock(mutex_);
  keeps_rest_ = true;
}

void Segment::close_for_append() {
  MutexLock lock(mutex_);
  closed_ = true;
  tail_.shrink_to_fit();
  if (index_in_memory_ && max_timestamp_offset_.value() >= 0 &&
      (time_index_.empty() || max_timestamp_ms_ > time_index_.back().timestamp_ms)) {
    time_index_.push_back({max_timestamp_ms_, static_cast<int32_t>(max_timestamp_offset_ - base_offset_)});
  }
}

SegmentEnd Segment::end() const {
  MutexLock lock(mutex_);
  return {.base_offset = base_offset_,
          .bytes = file_bytes_,
          .index_entries = index_.size(),
          .time_index_entries = time_index_.size(),
          .max_timestamp_ms = max_timestamp_ms_,
          .max_timestamp_offset = max_timestamp_offset_};
}

Status Segment::write_index_file(const char* suffix, uint64_t position, ByteView entries, bool& sync_failed) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(path(suffix), env::OpenMode::kCreate));
  MILLRACE_RETURN_IF_ERROR(file->truncate(position));
  if (!entries.empty()) MILLRACE_RETURN_IF_ERROR(file->write_at(position, entries));
  Status synced = file->sync_data();
  sync_failed |= !synced;
  return synced;
}

Status Segment::sync(bool& sync_failed) {
  std::shared_ptr<env::File> log;
  Bytes index;
  Bytes time_index;
  uint64_t index_at = 0;
  uint64_t time_index_at = 0;
  uint64_t copied = 0;
  bool in_memory = false;
  bool closed = false;
  {
    MutexLock lock(mutex_);
    if (file_bytes_ == 0) return {};
    log = file_;
    closed = closed_;
    copied = copied_bytes_;
    index_at = index_written_;
    time_index_at = time_index_written_;
    in_memory = index_in_memory_;
    ByteWriter index_writer(index);
    ByteWriter time_writer(time_index);
    for (size_t i = index_at; in_memory && i < index_.size(); ++i) {
      index_writer.fixed(index_[i].relative_offset);
      index_writer.fixed(index_[i].position);
    }
    for (size_t i = time_index_at; in_memory && i < time_index_.size(); ++i) {
      time_writer.fixed(time_index_[i].timestamp_ms);
      time_writer.fixed(time_index_[i].relative_offset);
    }
    if (tail_.empty()) tail_.shrink_to_fit();
  }
  if (closed) {
    // An append that was refused may have left bytes there. A start takes the file of a closed segment as a whole.
    MILLRACE_ASSIGN_OR_RETURN(log, file());
    MILLRACE_RETURN_IF_ERROR(trim());
  }
  if (log != nullptr) {
    uint64_t writes = 0;
    {
      MutexLock lock(mutex_);
      writes = writes_.ended;
    }
    const Status synced = log->sync_data();
    sync_failed |= !synced;
    if (!synced) return synced;
    MutexLock lock(mutex_);
    copied_synced_ = std::max(copied_synced_, copied);
    writes_.synced = std::max(writes_.synced, writes);
  }
  if (in_memory) {
    MILLRACE_RETURN_IF_ERROR(write_index_file(kIndexSuffix, index_at * kIndexEntryBytes, index, sync_failed));
    MILLRACE_RETURN_IF_ERROR(
        write_index_file(kTimeIndexSuffix, time_index_at * kTimeIndexEntryBytes, time_index, sync_failed));
  }
  const Status named = files_.sync_directory(directory_);
  sync_failed |= !named && named.error().code == Errc::kIo;
  if (!named) return tl::unexpected(named.error());
  MutexLock lock(mutex_);
  index_written_ = index_at + index.size() / kIndexEntryBytes;
  time_index_written_ = time_index_at + time_index.size() / kTimeIndexEntryBytes;
  if (closed_ && index_in_memory_ && index_written_ == index_.size() && time_index_written_ == time_index_.size()) {
    index_in_memory_ = false;
    std::vector<IndexEntry>().swap(index_);
    std::vector<TimeIndexEntry>().swap(time_index_);
  }
  return {};
}

Status Segment::sync_batches() {
  std::shared_ptr<env::File> log;
  uint64_t copied = 0;
  uint64_t writes = 0;
  bool is_named = false;
  {
    MutexLock lock(mutex_);
    log = file_;
    copied = copied_bytes_;
    writes = writes_.ended;
    is_named = name_is_durable_;
    MILLRACE_CHECK(log != nullptr || writes_.synced == writes, "a file was closed before it was synced");
  }
  // Otherwise sync() has come by meanwhile.
  if (log != nullptr) MILLRACE_RETURN_IF_ERROR(log->sync_data());
  if (!is_named) {
    for (const std::string& directory : {directory_, env::parent_directory(directory_)}) {
      const Status named = files_.sync_directory(directory);
      // Gone with the topic, and with it whoever would look for the name.
      if (!named && named.error().code != Errc::kNotFound) return named;
    }
  }
  MutexLock lock(mutex_);
  name_is_durable_ = true;
  copied_synced_ = std::max(copied_synced_, copied);
  writes_.synced = std::max(writes_.synced, writes);
  return {};
}

Result<std::shared_ptr<env::File>> Segment::file() const {
  if (damage_) return tl::unexpected(*damage_);
  bool exists = false;
  {
    MutexLock lock(mutex_);
    file_used_ = true;
    if (file_ != nullptr) return file_;
    exists = file_bytes_ > 0;
  }
  // The first write finds, at most, what a crash left of a segment that was never durable; or, in a start, batches that
  // stand nowhere else.
  const env::OpenMode anew = options_.keeps_file ? env::OpenMode::kCreate : env::OpenMode::kCreateEmpty;
  auto opened = files_.open(path(kLogSuffix), exists ? env::OpenMode::kReadWrite : anew);
  std::shared_ptr<env::File> log;
  {
    MutexLock lock(mutex_);
    // Somebody else has opened it: it may have been replaced since, and then what was found now is another, or nothing.
    // Where nobody has, it was not: detach() leaves it open for good.
    if (file_ != nullptr) return file_;
    if (!opened) return tl::unexpected(std::move(opened).error());
    log = file_ = std::move(*opened);
  }
  note_open();
  return log;
}

void Segment::note_open() const {
  if (options_.open_files != nullptr) options_.open_files->add(shared_from_this());
}

std::optional<std::shared_ptr<env::File>> Segment::give_up_file() const {
  MutexLock lock(mutex_);
  if (detached_ || file_ == nullptr) return nullptr;
  if (writes_.synced != writes_.begun || std::exchange(file_used_, false)) return std::nullopt;
  return std::exchange(file_, nullptr);
}

Status Segment::write(const std::function<Status(env::File&)>& change) {
  {
    MutexLock lock(mutex_);
    ++writes_.begun;
  }
  const auto log = file();
  Status changed = log ? change(**log) : tl::unexpected(log.error());
  MutexLock lock(mutex_);
  ++writes_.ended;
  return changed;
}

}  // namespace millrace::log
