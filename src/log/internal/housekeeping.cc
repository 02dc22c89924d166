#include <algorithm>

#include "base/logging.h"
#include "log/internal/cleaner.h"
#include "log/internal/store_impl.h"

// The part of Store::Impl that keeps what topics want kept: segments closed in time, retention, compaction.
namespace millrace::log {

void Store::Impl::apply_policy(const Topic& topic) {
  if (!policy_of_) return;
  const TopicPolicy policy = policy_of_(topic.info);
  for (const auto& partition : topic.partitions) partition->impl().set_policy(policy);
}

void Store::Impl::set_policies(PolicyOf policy_of) {
  {
    MutexLock changes(changes_mutex_);
    policy_of_ = std::move(policy_of);
    for (const auto& topic : topics()) apply_policy(*topic);
  }
  if (!housekeeping_.joinable() && !options_.single_threaded)
    housekeeping_ = std::thread([this] { run_housekeeping(); });
}

Status Store::Impl::close_and_expire() {
  const int64_t now_ms = to_unix_ms(clock_.wall_now());
  Status first;
  bool closed_any = false;
  WalPosition last{0};
  retention_runs_.add();
  const auto note = [&](Status outcome, const PartitionLog& log) {
    if (outcome || log.is_deleted()) return;
    retention_failures_.add();
    if (first) first = std::move(outcome);
  };
  for (const auto& topic : topics()) {
    for (const auto& partition : topic->partitions) {
      PartitionLog& log = partition->impl();
      const auto closed = log.close_if_due(now_ms);
      note(closed.map([](bool) {}), log);
      closed_any |= closed.value_or(false);
      const Offset start = log.retention_start(now_ms);
      const Offset before = log.log_start_offset();
      if (start <= before) continue;
      const auto advanced = log.advance_log_start(start);
      note(advanced.map([](WalPosition) {}), log);
      if (!advanced) continue;
      last = std::max(last, *advanced);
      log_debug("log", "{}: deleted offsets {} to {} by retention", log.directory(), before.value(), start.value() - 1);
    }
  }
  if (last > WalPosition{0}) {
    const Status durable = wal_.wait_durable(last);
    if (!durable && first) first = durable;
  }
  // Compaction takes only what a checkpoint knows to be closed.
  if (closed_any) {
    const Status taken = checkpoint();
    if (!taken && first) first = taken;
  }
  return first;
}

Status Store::Impl::compact(const std::function<bool(uint64_t)>& pace) {
  if (!options_.cleaner_enabled) return {};
  const auto exclusively = [this](const std::function<Status()>& change) {
    MutexLock no_checkpoint(checkpoint_mutex_);
    MutexLock no_change(changes_mutex_);
    return change();
  };
  Cleaner cleaner(files_, clock_, {.map_bytes = options_.cleaner_map_bytes, .kept_free_bytes = options_.wal_file_bytes},
                  cleaner_random_.fork(), pace, exclusively);
  Status first;
  for (const auto& topic : topics()) {
    for (const auto& partition : topic->partitions) {
      PartitionLog& log = partition->impl();
      auto cleaned = cleaner.clean(log);
      if (cleaned && cleaned->bytes_before > 0) {
        compactions_.add();
        compacted_bytes_.add(cleaned->bytes_before);
        compaction_removed_bytes_.add(cleaned->bytes_before - std::min(cleaned->bytes_before, cleaned->bytes_after));
      }
      if (cleaned || log.is_deleted()) continue;
      if (log.is_half_swapped()) {
        wal_.fail_for_good(cleaned.error());
        return tl::unexpected(std::move(cleaned).error());
      }
      if (cleaned.error().code == Errc::kCancelled) {
        // Either the store is closing, or only this log begins later by now: another pass will do that one.
        if (is_closing()) return tl::unexpected(std::move(cleaned).error());
        continue;
      }
      compaction_failures_.add();
      if (first) first = tl::unexpected(std::move(cleaned).error());
    }
  }
  return first;
}

Status Store::Impl::tidy() {
  MutexLock only(tidy_mutex_);
  const Status kept = close_and_expire();
  const Status compacted = compact({});
  return kept ? compacted : kept;
}

bool Store::Impl::is_closing() {
  MutexLock lock(housekeeping_mutex_);
  return housekeeping_ends_;
}

bool Store::Impl::wait_for_pace(uint64_t bytes) {
  const std::chrono::microseconds pause(bytes * 1'000'000 / std::max<uint64_t>(options_.cleaner_bytes_per_s, 1));
  MutexLock lock(housekeeping_mutex_);
  // Woken early by a checkpoint it is a little faster: no matter.
  if (!housekeeping_ends_) housekeeping_wake_.wait_for(housekeeping_mutex_, pause);
  return !housekeeping_ends_;
}

void Store::Impl::run_housekeeping() {
  using std::chrono::microseconds;
  MonoTime retention_due = clock_.mono_now() + options_.retention_check_interval;
  MonoTime compacted = clock_.mono_now();
  while (true) {
    bool check_retention = false;
    bool take_checkpoint = false;
    {
      MutexLock lock(housekeeping_mutex_);
      while (true) {
        if (housekeeping_ends_) return;
        const MonoTime now = clock_.mono_now();
        // Only what a checkpoint knows can be compacted: without a new one, and nothing that waits for one, there is
        // nothing to look at.
        const MonoTime compaction_due = compacted + options_.cleaner_backoff;
        const bool may_compact = checkpoint_taken_ || (closed_to_compact_ && options_.cleaner_enabled);
        const MonoTime next = may_compact ? std::min(retention_due, compaction_due) : retention_due;
        check_retention = now >= retention_due;
        if (now >= next) break;
        housekeeping_wake_.wait_for(housekeeping_mutex_, std::chrono::ceil<microseconds>(next - now));
      }
      checkpoint_taken_ = false;
      take_checkpoint = closed_to_compact_ && options_.cleaner_enabled;
    }
    MutexLock only(tidy_mutex_);
    Status done;
    // The next one that is due by itself may be a minute away.
    if (take_checkpoint) done = checkpoint();
    if (check_retention) {
      const Status kept = close_and_expire();
      if (done) done = kept;
      retention_due = clock_.mono_now() + options_.retention_check_interval;
    }
    const Status compacted_all = compact([this](uint64_t bytes) { return wait_for_pace(bytes); });
    compacted = clock_.mono_now();
    if (done) done = compacted_all;
    if (!done && done.error().code != Errc::kCancelled) log_warning("log", "housekeeping: {}", done.error().message);
  }
}

}  // namespace millrace::log
