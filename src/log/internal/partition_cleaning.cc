#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "log/internal/aborted_transactions.h"
#include "log/internal/partition_log.h"

// The part of PartitionLog that says what can be compacted, and puts the outcome in place.
//
// A compacted segment's file appears as ".log.cleaned", synced, and becomes ".log.swap" by a rename: from then on it is
// what counts. The files that it replaces are removed, and only when that is durable it takes its name. A start that
// finds ".log.swap" goes on from there; ".log.cleaned" it removes.
namespace millrace::log {

Result<std::optional<PartitionLog::Cleanable>> PartitionLog::cleanable(int64_t now_ms) const {
  Cleanable found;
  found.policy = policy();
  if (!found.policy.compacts || is_deleted()) return std::nullopt;
  const Offset decided = last_stable_offset();
  uint64_t bytes = 0;
  uint64_t dirty_bytes = 0;
  std::shared_ptr<Segment> first_dirty;
  {
    MutexLock lock(mutex_);
    if (!damage_.empty()) return std::nullopt;
    found.cleaned = std::max(cleaned_, log_start_);
    for (size_t i = 0; i + 1 < segments_.size(); ++i) {
      const auto& segment = segments_[i];
      const Offset end = segments_[i + 1]->base_offset();
      const int64_t newest_ms = segment->max_timestamp().timestamp_ms;
      const bool too_young =
          found.policy.min_compaction_lag_ms > 0 && now_ms - newest_ms < found.policy.min_compaction_lag_ms;
      if (end > checkpointed_active_ || end > decided || segment->needs_sync() || too_young) break;
      found.segments.push_back(segment);
      found.end = end;
      bytes += segment->size_bytes();
      if (end > found.cleaned) {
        dirty_bytes += segment->size_bytes();
        if (first_dirty == nullptr) first_dirty = segment;
      }
    }
    found.aborted = aborted_;
  }
  if (first_dirty == nullptr) return std::nullopt;
  if (static_cast<double>(dirty_bytes) >= found.policy.min_cleanable_dirty_ratio * static_cast<double>(bytes))
    return found;
  int64_t oldest_ms = now_ms;
  MILLRACE_RETURN_IF_ERROR(first_dirty->scan(found.cleaned, [&](const Segment::Found& batch) {
    oldest_ms = batch.view().max_timestamp_ms();
    return false;
  }));
  if (now_ms - oldest_ms >= found.policy.max_compaction_lag_ms) return found;
  return std::nullopt;
}

Result<std::shared_ptr<Segment>> PartitionLog::open_cleaned(Offset base_offset) const {
  return Segment::open_cleaned(shared_->files, directory_, base_offset, kCleanedSuffix, segment_options());
}

void PartitionLog::set_cleaned(Offset end) {
  MutexLock lock(mutex_);
  cleaned_ = end;
}

void PartitionLog::set_checkpointed(Offset active) {
  MutexLock lock(mutex_);
  checkpointed_active_ = active;
}

Status PartitionLog::write_group_index(Offset base, Offset end, const std::vector<Offset>& dropped_markers) {
  Bytes entries;
  {
    MutexLock lock(mutex_);
    std::erase_if(aborted_, [&](const AbortedTransaction& one) {
      return std::ranges::binary_search(dropped_markers, one.last_offset);
    });
    for (const AbortedTransaction& one : aborted_) {
      if (one.last_offset >= base && one.last_offset < end) encode_aborted_transaction(one, entries);
    }
  }
  const std::string path = segment_path(directory_, base, kTransactionIndexSuffix);
  if (entries.empty()) return shared_->files.remove_all(path);
  return env::write_file_atomically(shared_->files, path, entries);
}

// The pass that compacts ends here, without having reached as far as it noted keys.
tl::unexpected<Error> PartitionLog::begins_later() const {
  return fail(Errc::kCancelled, fmt::format("{} begins later by now", directory_));
}

bool PartitionLog::is_in_place(const std::vector<std::shared_ptr<Segment>>& group) const {
  MutexLock lock(mutex_);
  return !std::ranges::search(segments_, group).empty();
}

bool PartitionLog::put_in_place(const std::vector<std::shared_ptr<Segment>>& group,
                                const std::shared_ptr<Segment>& made) {
  MutexLock append_lock(append_mutex_);
  MutexLock lock(mutex_);
  const auto first = std::ranges::search(segments_, group).begin();
  if (first == segments_.end()) return false;  // the log begins later by now
  std::erase_if(unsynced_, [&](const auto& one) { return std::ranges::find(group, one) != group.end(); });
  unsynced_.insert(unsynced_.begin(), made);
  made->set_closed_at(group.back()->closed_at_ms());
  *first = made;
  segments_.erase(first + 1, first + static_cast<std::ptrdiff_t>(group.size()));
  return true;
}

Status PartitionLog::replace(const std::vector<std::shared_ptr<Segment>>& group, Offset end,
                             const std::shared_ptr<Segment>& made, const std::vector<Offset>& dropped_markers) {
  env::FileSystem& files = shared_->files;
  const Offset base = made->base_offset();
  const std::string cleaned = segment_path(directory_, base, kCleanedSuffix);
  const std::string swap = segment_path(directory_, base, kSwapSuffix);
  if (is_deleted()) return {};
  if (!is_in_place(group)) {
    static_cast<void>(files.remove(cleaned));
    return begins_later();
  }
  // Before anything changes for readers: there may be no room for it. What it has too many, or lacks, of aborted
  // transactions is of records that are gone.
  if (const Status written = write_group_index(base, end, dropped_markers); !written) {
    static_cast<void>(files.remove(cleaned));
    return written;
  }
  // Who reads in the old segments needs neither their names nor their indexes any more.
  for (const auto& segment : group) {
    if (const Status detached = segment->detach(); !detached) {
      static_cast<void>(files.remove(cleaned));
      return detached;
    }
  }
  // From here on a file may lie there that counts at the next start, whatever is appended and compacted until then.
  const auto swap_files = [&]() -> Result<bool> {
    MILLRACE_RETURN_IF_ERROR(files.rename(cleaned, swap));
    MILLRACE_RETURN_IF_ERROR(files.sync_directory(directory_));
    if (!put_in_place(group, made)) {
      MILLRACE_RETURN_IF_ERROR(files.remove(swap));
      MILLRACE_RETURN_IF_ERROR(files.sync_directory(directory_));
      return false;
    }
    std::vector<Offset> replaced;
    for (const auto& segment : group) replaced.push_back(segment->base_offset());
    MILLRACE_RETURN_IF_ERROR(finish_swap(base, replaced));
    return true;
  };
  const auto swapped = swap_files();
  if (!swapped) {
    half_swapped_.store(true, std::memory_order_release);
    return tl::unexpected(swapped.error());
  }
  return *swapped ? write_indexes(*made) : begins_later();
}

// Now, and not by the next checkpoint: a start before that would read the whole segment to build them anew.
Status PartitionLog::write_indexes(Segment& made) {
  bool sync_failed = false;
  const Status written = made.sync(sync_failed);
  if (written || is_deleted()) return {};
  if (sync_failed) {
    shared_->wal.fail_for_good(written.error());
    return written;
  }
  // A disk without room for them may have it at the next checkpoint.
  log_warning("log", "{}", written.error().message);
  return {};
}

Status PartitionLog::finish_swap(Offset base, const std::vector<Offset>& replaced) {
  env::FileSystem& files = shared_->files;
  for (const Offset offset : replaced) {
    for (const char* suffix : {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTransactionIndexSuffix}) {
      // The file of the new name is replaced by the rename, and its transaction index is the new one already.
      const bool is_new = suffix == kLogSuffix || suffix == kTransactionIndexSuffix;
      if (offset == base && is_new) continue;
      MILLRACE_RETURN_IF_ERROR(files.remove_all(segment_path(directory_, offset, suffix)));
    }
  }
  MILLRACE_RETURN_IF_ERROR(files.sync_directory(directory_));
  MILLRACE_RETURN_IF_ERROR(
      files.rename(segment_path(directory_, base, kSwapSuffix), segment_path(directory_, base, kLogSuffix)));
  return files.sync_directory(directory_);
}

Status PartitionLog::finish_swaps() {
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, shared_->files.list(directory_));
  for (const auto& entry : entries) {
    const auto base = base_offset_of(entry.name);
    if (!base) continue;
    if (entry.name.ends_with(kCleanedSuffix)) {
      MILLRACE_RETURN_IF_ERROR(shared_->files.remove(env::join_path(directory_, entry.name)));
    }
    if (!entry.name.ends_with(kSwapSuffix)) continue;
    // It reaches to the end of the last segment that it replaces.
    MILLRACE_ASSIGN_OR_RETURN(const auto made,
                              Segment::open_cleaned(shared_->files, directory_, *base, kSwapSuffix, segment_options()));
    Offset last = *base;
    MILLRACE_RETURN_IF_ERROR(made->scan(*base, [&](const Segment::Found& found) {
      last = found.view().last_offset();
      return true;
    }));
    std::vector<Offset> replaced;
    for (const auto& other : entries) {
      const auto offset = base_offset_of(other.name);
      if (offset && *offset >= *base && *offset <= last) replaced.push_back(*offset);
    }
    MILLRACE_RETURN_IF_ERROR(finish_swap(*base, replaced));
  }
  return {};
}

}  // namespace millrace::log
