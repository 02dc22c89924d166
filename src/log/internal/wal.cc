#include "log/internal/wal.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "log/internal/segment.h"

namespace millrace::log {

namespace {

constexpr size_t kKeptBufferBytes = 1u << 20;  // larger group buffers are given back when there is nothing to write
// A frame goes to the disk as it stands in memory.
static_assert(kWalBlockBytes == AlignedBuffer::kAlignment && kWalBlockBytes == env::kDirectBlockBytes);
// Reserved blocks become written ones at their first write, which a sync has to record: twice the time. Where a file is
// new a frame takes so many blocks behind it along, as zeros, for the next ones.
constexpr uint64_t kBlocksAhead = 15;

}  // namespace

void Wal::Group::clear() {
  frame.resize(kFrameHeaderBytes);
  entries = 0;
  targets.clear();
  segments.clear();
  segments_bytes = 0;
}

Wal::Wal(Options options, env::FileSystem& files, const Clock& clock, Events events)
    : options_(std::move(options)), files_(files), clock_(clock), events_(std::move(events)) {
  MutexLock lock(mutex_);
  filling_.clear();
}

Wal::~Wal() { stop(); }

Status Wal::start(uint64_t position, bool older_is_done) {
  MILLRACE_CHECK(position % kWalBlockBytes == 0);
  position_ = position;
  {
    MutexLock lock(mutex_);
    durable_position_ = position;
  }
  MILLRACE_RETURN_IF_ERROR(remove_old_spares());
  if (older_is_done) MILLRACE_RETURN_IF_ERROR(reuse_newest());
  const Status opened = switch_file(0);
  if (!opened && opened.error().code != Errc::kOutOfSpace) return opened;
  if (!options_.single_threaded) thread_ = std::thread([this] { run(); });
  return {};
}

void Wal::refuse() {
  std::vector<Served> dismissed;
  {
    MutexLock lock(mutex_);
    refusing_ = true;
    wake_.notify_one();
    dismissed = dismiss_line();
  }
  tell(std::move(dismissed));
}

void Wal::stop() {
  if (options_.single_threaded) static_cast<void>(commit_group());
  refuse();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  std::vector<Waiting> left;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    left.swap(waiting_);
    durable_changed_.notify_all();
  }
  for (Waiting& waiting : left) waiting.callback(fail(Errc::kUnavailable, "the log is closed"));
}

Status Wal::refusal() const {
  if (failure_) {
    return fail(Errc::kUnavailable, fmt::format("the log takes no more records after a failure: {}", failure_->message),
                "check the disk, then restart");
  }
  if (refusing_) return fail(Errc::kUnavailable, "the log is closed");
  return {};
}

WalPosition Wal::append(const WalEntry& entry, WalParticipant* participant, Offset end,
                        const std::shared_ptr<Segment>& segment) {
  MutexLock lock(mutex_);
  const size_t bytes = admitted_size(entry);
  MILLRACE_CHECK(admitted_bytes_ >= bytes, "an append was not admitted");
  admitted_bytes_ -= bytes;
  entry_head_.clear();
  encode_entry_head(entry, entry_head_);
  filling_.frame.append(entry_head_);
  filling_.frame.append(entry.body);
  ++filling_.entries;
  if (segment != nullptr) {
    filling_.segments_bytes += bytes - encoded_size(entry);
    if (std::ranges::find(filling_.segments, segment) == filling_.segments.end()) filling_.segments.push_back(segment);
  }
  if (participant != nullptr) {
    if (participant->group_ == filling_number_) {
      filling_.targets[participant->slot_].end = end;
    } else {
      participant->group_ = filling_number_;
      participant->slot_ = filling_.targets.size();
      filling_.targets.push_back({participant, participant->handle(), end});
    }
  }
  if (sleeping_ && holds_ == 0) wake_.notify_one();
  return WalPosition{filling_number_};
}

Wal::Hold::Hold(Wal& wal) : wal_(wal) {
  MutexLock lock(wal_.mutex_);
  ++wal_.holds_;
}

Wal::Hold::~Hold() {
  MutexLock lock(wal_.mutex_);
  if (--wal_.holds_ == 0) wal_.wake_.notify_one();
}

void Wal::when_durable(WalPosition position, Store::DurableCallback callback) {
  Status known;
  {
    MutexLock lock(mutex_);
    if (position.value() > durable_number_) {
      if (!failure_ && !ended_) {
        waiting_.push_back({position, std::move(callback)});
        return;
      }
      known = refusal();
    }
  }
  callback(known);
}

Status Wal::wait_durable(WalPosition position) {
  catch_up(position);
  MutexLock lock(mutex_);
  while (position.value() > durable_number_) {
    if (failure_ || ended_) return refusal();
    if (options_.single_threaded) return fail(Errc::kOutOfSpace, "what was accepted waits for room on the disk");
    durable_changed_.wait(mutex_);
  }
  return {};
}

void Wal::set_observer(Store::AdvanceObserver observer) {
  MutexLock lock(observer_mutex_);
  observer_ = observer ? std::make_shared<const Store::AdvanceObserver>(std::move(observer)) : nullptr;
  while (observer_running_) observer_idle_.wait(observer_mutex_);
}

Result<uint64_t> Wal::flush() {
  WalPosition last;
  {
    MutexLock lock(mutex_);
    last = WalPosition{filling_.entries > 0 ? filling_number_ : filling_number_ - 1};
  }
  MILLRACE_RETURN_IF_ERROR(wait_durable(last));
  MutexLock lock(mutex_);
  return durable_position_;
}

void Wal::run() {
  Group writing;
  writing.clear();
  while (true) {
    uint64_t number = 0;
    std::vector<Served> served;
    {
      MutexLock lock(mutex_);
      // What was admitted is still to be appended, even at the end.
      while ((filling_.entries == 0 || holds_ > 0) && !failure_ &&
             !(stopping_ && holds_ == 0 && admitted_bytes_ == 0)) {
        if (filling_.entries == 0 && writing.frame.capacity() > kKeptBufferBytes) {
          writing.frame = AlignedBuffer();
          writing.clear();
        }
        sleeping_ = true;
        wake_.wait(mutex_);
        sleeping_ = false;
      }
      if (failure_ || filling_.entries == 0) return;
      number = take_group(writing, served);
    }
    tell(std::move(served));
    if (!write_and_publish(writing, number)) return;
  }
}

uint64_t Wal::take_group(Group& writing, std::vector<Served>& served) {
  std::swap(filling_, writing);
  file_room_ -= std::min(file_room_, padded_frame_bytes(writing.frame.size()));
  served = serve_line();
  return filling_number_++;
}

bool Wal::write_and_publish(Group& writing, uint64_t number) {
  if (const Status wrote = write_group(writing); !wrote) {
    if (wrote.error().code != Errc::kCancelled) fail_for_good(wrote.error());
    return false;
  }
  publish(writing, number);
  writing.clear();
  return true;
}

Status Wal::commit_group() {
  MILLRACE_CHECK(options_.single_threaded);
  while (true) {
    std::vector<Served> served;
    const bool was_stuck = stuck_ != nullptr;
    {
      MutexLock lock(mutex_);
      if (failure_) return refusal();
      if (!was_stuck) {
        if (filling_.entries == 0) return {};
        stuck_ = std::make_unique<Stuck>();
        stuck_->group.clear();
        stuck_->number = take_group(stuck_->group, served);
      }
    }
    tell(std::move(served));
    auto taken = std::move(stuck_);
    if (write_and_publish(taken->group, taken->number)) {
      if (was_stuck) continue;
      return {};
    }
    MutexLock lock(mutex_);
    if (failure_) return refusal();
    stuck_ = std::move(taken);
    return fail(Errc::kOutOfSpace, "what was accepted waits for room on the disk");
  }
}

void Wal::catch_up(WalPosition position) {
  if (!options_.single_threaded) return;
  bool behind = false;
  {
    MutexLock lock(mutex_);
    behind = position.value() > durable_number_ && !ended_;
  }
  if (behind) static_cast<void>(commit_group());
}

Status Wal::sync_batches(const Group& group) {
  // One after another: those of one disk do not get faster by being synced beside each other.
  for (const auto& segment : group.segments) MILLRACE_RETURN_IF_ERROR(segment->sync_batches());
  bytes_in_segments_.fetch_add(group.segments_bytes, std::memory_order_relaxed);
  return {};
}

Status Wal::write_group(Group& group) {
  MILLRACE_RETURN_IF_ERROR(sync_batches(group));
  const uint64_t bytes = padded_frame_bytes(group.frame.size());
  bool was_short = false;
  while (true) {
    Status wrote;
    if (file_ == nullptr || position_ + bytes > file_start_ + file_size_) wrote = switch_file(bytes);
    if (wrote) {
      seal_frame(group.frame.bytes(), position_, group.entries);
      wrote = write_frame(group.frame, bytes);
    }
    if (wrote) break;
    // Too few descriptors for the next file: nothing is written yet, and somebody will close one.
    const bool is_short = wrote.error().code == Errc::kUnavailable;
    if (is_short && !was_short) log_warning("log", "trying again until it works: {}", wrote.error().message);
    was_short |= is_short;
    if (wrote.error().code != Errc::kOutOfSpace && !is_short) return wrote;
    // Accepted before the disk was known to be full: keep it and try until there is room. Appends are refused
    // meanwhile, and so are those who wait for room.
    if (!is_short) note_full(wrote.error());
    std::vector<Served> dismissed;
    {
      MutexLock lock(mutex_);
      if (refusing_) {
        failure_ = wrote.error();
        durable_changed_.notify_all();
        return fail(Errc::kCancelled, "stopped while the log could not be written");
      }
      if (!is_short) dismissed = dismiss_line();
    }
    tell(std::move(dismissed));
    if (options_.single_threaded) return fail(Errc::kCancelled, "the disk is full");
    MutexLock lock(mutex_);
    if (!refusing_) wake_.wait_for(mutex_, kFullDiskRetry);
  }
  const MonoTime begun = clock_.mono_now();
  MILLRACE_RETURN_IF_ERROR(file_->sync_data());
  syncs_.observe(clock_.mono_now() - begun);
  position_ += bytes;
  bytes_written_.fetch_add(bytes, std::memory_order_relaxed);
  return {};
}

Status Wal::write_frame(AlignedBuffer& frame, uint64_t padded_bytes) {
  const uint64_t end = position_ + padded_bytes;
  uint64_t ahead_bytes = 0;
  if (end > written_end_) ahead_bytes = std::min(kBlocksAhead * kWalBlockBytes, file_start_ + file_size_ - end);
  MILLRACE_RETURN_IF_ERROR(file_->write_at(position_ - file_start_, frame.padded(ahead_bytes)));
  written_end_ = std::max(written_end_, end + ahead_bytes);
  return {};
}

void Wal::publish(Group& group, uint64_t number) {
  std::vector<std::shared_ptr<Partition>> advanced;
  advanced.reserve(group.targets.size());
  for (Target& target : group.targets) {
    target.participant->advance(target.end);
    if (target.partition != nullptr) advanced.push_back(target.partition);
  }
  std::shared_ptr<const Store::AdvanceObserver> observer;
  {
    MutexLock lock(observer_mutex_);
    observer = observer_;
    observer_running_ = observer != nullptr;
  }
  if (observer != nullptr) {
    if (!advanced.empty()) (*observer)(advanced);
    MutexLock lock(observer_mutex_);
    observer_running_ = false;
    observer_idle_.notify_all();
  }
  std::vector<Waiting> done;
  bool ask_for_spare = false;
  {
    MutexLock lock(mutex_);
    durable_number_ = number;
    durable_position_ = position_;
    file_room_ = file_start_ + file_size_ - position_;
    // Early enough that it is ready when it is needed, and not for a handful of records.
    if (spares_.empty() && !spare_wanted_ && file_room_ < file_size_ / 4 * 3) {
      spare_wanted_ = true;
      ask_for_spare = true;
    }
    done = take_waiting(number);
    durable_changed_.notify_all();
  }
  for (Waiting& waiting : done) waiting.callback({});
  if (ask_for_spare && events_.wants_spare) events_.wants_spare();
  if (events_.synced) events_.synced(position_);
}

std::vector<Wal::Waiting> Wal::take_waiting(uint64_t durable) {
  std::vector<Waiting> done;
  std::vector<Waiting> rest;
  for (Waiting& waiting : waiting_) {
    (waiting.position.value() <= durable ? done : rest).push_back(std::move(waiting));
  }
  waiting_.swap(rest);
  return done;
}

void Wal::fail_for_good(const Error& error) {
  std::vector<Waiting> left;
  std::vector<Served> dismissed;
  {
    MutexLock lock(mutex_);
    if (failure_) return;
    failure_ = error;
    left.swap(waiting_);
    dismissed = dismiss_line();
    wake_.notify_one();
    durable_changed_.notify_all();
  }
  log_error("log", "the log has failed: {}", error.message);
  for (Waiting& waiting : left) {
    waiting.callback(fail(Errc::kUnavailable, fmt::format("the log has failed: {}", error.message)));
  }
  tell(std::move(dismissed));
  if (events_.failed) events_.failed(error);
}

}  // namespace millrace::log
