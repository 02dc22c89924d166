#include <algorithm>
#include <utility>

#include "base/logging.h"
#include "log/internal/store_impl.h"

// The part of Store::Impl that works beside its callers: checkpoints, the write-ahead log's next file, the removal of
// files.
namespace millrace::log {

namespace {

constexpr std::chrono::seconds kCheckpointRetry{1};

}  // namespace

void Store::Impl::remove_later(Removal removal) {
  MutexLock lock(background_mutex_);
  removals_.push_back(std::move(removal));
  background_wake_.notify_one();
}

void Store::Impl::remove_files(const std::vector<Removal>& removals) {
  if (removals.empty()) return;
  // A checkpoint that runs may still sync a segment, and would make its index files anew.
  MutexLock no_checkpoint(checkpoint_mutex_);
  for (const Removal& removal : removals) {
    MutexLock changes(changes_mutex_);
    if (removal.partition != nullptr && removal.partition->impl().is_deleted()) continue;
    for (const std::string& path : removal.paths) {
      if (const Status gone = files_.remove_all(path); !gone) log_warning("log", "{}", gone.error().message);
    }
  }
}

Status Store::Impl::take_snapshots(const std::vector<std::shared_ptr<const Topic>>& topics, CheckpointContent& content,
                                   std::vector<Taken>& taken) {
  for (const auto& topic : topics) {
    TopicSnapshot snapshot;
    snapshot.number = topic->partitions.front()->impl().identity().topic_number;
    snapshot.info = topic->info;
    for (const auto& partition : topic->partitions) {
      MILLRACE_ASSIGN_OR_RETURN(PartitionLog::Snapshot one, partition->impl().snapshot());
      snapshot.partitions.push_back(one.content);
      if (!one.unsynced.empty() || one.epochs_changed) taken.push_back({partition, std::move(one)});
    }
    content.topics.push_back(std::move(snapshot));
  }
  return {};
}

Status Store::Impl::write_snapshots(const std::vector<Taken>& taken, bool& sync_failed) {
  for (const Taken& one : taken) {
    PartitionLog& log = one.partition->impl();
    for (const auto& segment : one.snapshot.unsynced) {
      if (abandon_checkpoint_) return fail(Errc::kCancelled, "the store is closing");
      bool failed_here = false;
      const Status synced = segment->sync(failed_here);
      // Its files may be on their way out.
      if (synced || log.is_deleted()) continue;
      sync_failed |= failed_here;
      return synced;
    }
    if (one.snapshot.epochs_changed && one.snapshot.content.has_directory) {
      if (const Status written = log.write_epoch_file(one.snapshot.content); !written && !log.is_deleted())
        return written;
    }
    if (const Status written = log.write_transaction_indexes(one.snapshot); !written && !log.is_deleted())
      return written;
  }
  const Status named = files_.sync_directory(path("topics"));
  sync_failed |= !named;
  return named;
}

Status Store::Impl::checkpoint() {
  MutexLock only(checkpoint_mutex_);
  // After a sync that failed the next one may succeed, with pages lost.
  if (failed_) return fail(Errc::kUnavailable, "the log has failed: there is no checkpoint any more");
  {
    // What was closed by now is in it. Where it fails, the next one will say so.
    MutexLock lock(housekeeping_mutex_);
    closed_to_compact_ = false;
  }
  CheckpointContent content;
  std::vector<std::shared_ptr<const Topic>> all;
  uint64_t in_segments = 0;
  {
    // Everything before the position is in what follows; what comes after it is applied again, which changes nothing
    // where it is there already.
    MutexLock changes(changes_mutex_);
    MILLRACE_ASSIGN_OR_RETURN(content.position, wal_.flush());
    in_segments = wal_.bytes_in_segments();
    content.next_topic_number = next_topic_number_;
    all = topics();
  }
  std::vector<Taken> taken;
  bool sync_failed = false;
  Status done = take_snapshots(all, content, taken);
  if (done) done = write_snapshots(taken, sync_failed);
  if (sync_failed) wal_.fail_for_good(done.error());
  // What a snapshot has seen must be durable in the write-ahead log too, or an append to several partitions could come
  // back in one of them only.
  if (done) done = wal_.flush().map([](uint64_t) {});
  if (done) done = write_checkpoint(files_, path("checkpoint"), content);
  if (!done) {
    for (const Taken& one : taken) one.partition->impl().put_back(one.snapshot);
    return done;
  }
  checkpoints_.add();
  shared_->open_files.close_idle();
  for (size_t i = 0; i < all.size(); ++i) {
    // A topic may have got more partitions since.
    for (size_t p = 0; p < content.topics[i].partitions.size(); ++p) {
      all[i]->partitions[p]->impl().set_checkpointed(content.topics[i].partitions[p].active.base_offset);
    }
  }
  {
    MutexLock lock(housekeeping_mutex_);
    checkpoint_taken_ = true;
    housekeeping_wake_.notify_one();
  }
  {
    MutexLock lock(background_mutex_);
    checkpoint_position_ = content.position;
    checkpoint_in_segments_ = in_segments;
    checkpointed_at_ = clock_.mono_now();
    dirty_since_.reset();
    if (wal_end_ > content.position) dirty_since_ = clock_.mono_now();
  }
  return wal_.recycle(content.position);
}

void Store::Impl::wal_synced(uint64_t end_position) {
  MutexLock lock(background_mutex_);
  wal_end_ = end_position;
  const bool first = !dirty_since_;
  if (first) dirty_since_ = clock_.mono_now();
  if (first || replayable_bytes() >= options_.checkpoint_bytes) background_wake_.notify_one();
}

void Store::Impl::run_errands(bool make_spare, const std::vector<Removal>& removals) {
  if (make_spare) {
    const Status made = wal_.prepare_spare();
    if (!made && made.error().code != Errc::kOutOfSpace) log_warning("log", "{}", made.error().message);
  }
  remove_files(removals);
}

Status Store::Impl::commit_group() {
  bool make_spare = false;
  std::vector<Removal> removals;
  {
    MutexLock lock(background_mutex_);
    make_spare = std::exchange(spare_wanted_, false);
    removals.swap(removals_);
  }
  const auto look = wal_.next_look_for_room();
  run_errands(make_spare || (look && *look <= clock_.mono_now()), removals);
  return wal_.commit_group();
}

void Store::Impl::run_background() {
  using std::chrono::microseconds;
  while (true) {
    bool make_spare = false;
    bool take_checkpoint = false;
    std::vector<Removal> removals;
    // When that changes a spare is wanted, too.
    const auto look = wal_.next_look_for_room();
    {
      MutexLock lock(background_mutex_);
      while (true) {
        removals.swap(removals_);
        if (stopping_) return;  // what is still to be removed is found by the next open
        make_spare = std::exchange(spare_wanted_, false);
        std::optional<MonoTime> due;
        if (dirty_since_) {
          const bool enough = replayable_bytes() >= options_.checkpoint_bytes;
          due = enough ? *dirty_since_ : *dirty_since_ + options_.checkpoint_interval;
          if (not_before_) due = std::max(*due, *not_before_);
        }
        const MonoTime now = clock_.mono_now();
        take_checkpoint = due && *due <= now;
        make_spare |= look && *look <= now;
        if (look) due = due ? std::min(*due, *look) : *look;
        if (make_spare || take_checkpoint || !removals.empty()) break;
        if (due) {
          background_wake_.wait_for(background_mutex_, std::chrono::ceil<microseconds>(*due - now));
        } else {
          background_wake_.wait(background_mutex_);
        }
      }
    }
    run_errands(make_spare, removals);
    if (!take_checkpoint) continue;
    const Status taken = checkpoint();
    if (!taken && taken.error().code != Errc::kCancelled)
      log_warning("log", "the checkpoint failed: {}", taken.error().message);
    MutexLock lock(background_mutex_);
    not_before_.reset();
    if (taken) continue;
    checkpoints_failed_.add();
    not_before_ = clock_.mono_now() + kCheckpointRetry;
  }
}

}  // namespace millrace::log
