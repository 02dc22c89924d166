#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/logging.h"
#include "log/internal/wal.h"

// The files of the write-ahead log: the next one is ready before the current one is full, and those that a checkpoint
// has made superfluous are used again.
namespace millrace::log {

namespace {

constexpr size_t kSparesMax = 8;
constexpr std::string_view kSparePrefix = "spare-";

}  // namespace

Status Wal::remove_old_spares() {
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, files_.list(options_.directory));
  for (const auto& entry : entries) {
    if (!entry.name.starts_with(kSparePrefix)) continue;
    // Whether an earlier process had finished it is not known.
    MILLRACE_RETURN_IF_ERROR(files_.remove(env::join_path(options_.directory, entry.name)));
  }
  return {};
}

Status Wal::reuse_newest() {
  MILLRACE_ASSIGN_OR_RETURN(const auto all, list_wal_files(files_, options_.directory));
  if (all.empty()) return {};
  const std::string& newest = all.rbegin()->second;
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(newest, env::OpenMode::kRead));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
  if (size != options_.file_bytes) return {};
  MutexLock lock(mutex_);
  spares_.push_back(newest);
  return {};
}

Status Wal::switch_file(uint64_t bytes_needed) {
  const std::string path = env::join_path(options_.directory, wal_file_name(position_));
  std::string spare;
  {
    MutexLock lock(mutex_);
    if (bytes_needed <= options_.file_bytes && !spares_.empty()) {
      spare = spares_.back();
      spares_.pop_back();
    }
  }
  const uint64_t size = std::max(options_.file_bytes, bytes_needed);
  file_.reset();
  if (!spare.empty()) {
    MILLRACE_RETURN_IF_ERROR(files_.rename(spare, path));
  } else {
    if (const Status made = make_file(path, size, false); !made) {
      if (made.error().code == Errc::kOutOfSpace) {
        note_full(made.error());
        MutexLock lock(mutex_);
        file_room_ = 0;
      }
      return made;
    }
  }
  MILLRACE_ASSIGN_OR_RETURN(file_, files_.open(path, env::OpenMode::kDirect));
  MILLRACE_RETURN_IF_ERROR(files_.sync_directory(options_.directory));
  file_start_ = position_;
  file_size_ = size;
  // Of the file that an earlier process appended to it is not known.
  const bool is_written = spare.starts_with(env::join_path(options_.directory, kSparePrefix));
  written_end_ = is_written ? position_ + size : position_;
  MutexLock lock(mutex_);
  file_room_ = size - bytes_needed;
  if (spare.empty()) disk_full_ = false;
  return {};
}

Status Wal::make_file(const std::string& path, uint64_t bytes, bool zero_fill) {
  Status made = reserve_file(path, bytes);
  if (made && zero_fill) made = fill_with_zeros(path, bytes);
  if (!made) static_cast<void>(files_.remove(path));
  return made;
}

Status Wal::reserve_file(const std::string& path, uint64_t bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(path, env::OpenMode::kCreateEmpty));
  return file->allocate(0, bytes);
}

Status Wal::fill_with_zeros(const std::string& path, uint64_t bytes) {
  // Where nobody waits, and in pieces, so that a sync of the log waits for one of them at most.
  static constexpr size_t kPieceBytes = 1u << 20;
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(path, env::OpenMode::kDirect));
  AlignedBuffer zeros;
  zeros.resize(std::min<uint64_t>(kPieceBytes, bytes));
  for (uint64_t at = 0; at < bytes; at += kPieceBytes) {
    MILLRACE_RETURN_IF_ERROR(file->write_at(at, zeros.padded().first(std::min<uint64_t>(zeros.size(), bytes - at))));
    MILLRACE_RETURN_IF_ERROR(file->sync_data());
  }
  return {};
}

std::optional<MonoTime> Wal::next_look_for_room() {
  MutexLock lock(mutex_);
  if (!disk_full_ || !spares_.empty() || !refusal()) return std::nullopt;
  return next_spare_;
}

Status Wal::prepare_spare() {
  std::string path;
  {
    MutexLock lock(mutex_);
    if (failure_ || !spares_.empty()) {
      spare_wanted_ = false;
      return {};
    }
    path = env::join_path(options_.directory, fmt::format("{}{}", kSparePrefix, ++spares_made_));
  }
  const auto made = make_file(path, options_.file_bytes, true);
  if (!made && made.error().code == Errc::kOutOfSpace) note_full(made.error());
  MutexLock lock(mutex_);
  spare_wanted_ = false;
  if (!made) {
    next_spare_ = clock_.mono_now() + kFullDiskRetry;
    return tl::unexpected(made.error());
  }
  spares_.push_back(path);
  disk_full_ = false;
  wake_.notify_one();
  return {};
}

void Wal::note_full(const Error& why) {
  {
    MutexLock lock(mutex_);
    if (std::exchange(disk_full_, true)) return;
  }
  log_warning("log", "records are refused until there is room: {}", why.message);
  // From now on next_look_for_room() has something to say.
  if (events_.wants_spare) events_.wants_spare();
}

Status Wal::recycle(uint64_t position) {
  MILLRACE_ASSIGN_OR_RETURN(const auto all, list_wal_files(files_, options_.directory));
  for (auto it = all.begin(); it != all.end(); ++it) {
    const auto next = std::next(it);
    // A file ends where the next one begins; the current one, the last, stays.
    if (next == all.end() || next->first > position) break;
    uint64_t size = 0;
    {
      MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(it->second, env::OpenMode::kRead));
      MILLRACE_ASSIGN_OR_RETURN(size, file->size());
    }
    std::string spare;
    {
      MutexLock lock(mutex_);
      if (size == options_.file_bytes && spares_.size() < kSparesMax) {
        spare = env::join_path(options_.directory, fmt::format("{}{}", kSparePrefix, ++spares_made_));
      }
    }
    if (spare.empty()) {
      MILLRACE_RETURN_IF_ERROR(files_.remove(it->second));
      continue;
    }
    MILLRACE_RETURN_IF_ERROR(files_.rename(it->second, spare));
    MutexLock lock(mutex_);
    spares_.push_back(spare);
    disk_full_ = false;
    wake_.notify_one();
  }
  return {};
}

}  // namespace millrace::log
