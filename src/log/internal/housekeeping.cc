#include "base/logging.h"
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
  if (!housekeeping_.joinable()) housekeeping_ = std::thread([this] { run_housekeeping(); });
}

Status Store::Impl::close_and_expire() {
  const int64_t now_ms = to_unix_ms(clock_.wall_now());
  Status first;
  bool closed_any = false;
  const auto note = [&](Status outcome, const PartitionLog& log) {
    if (!outcome && !log.is_deleted() && first) first = std::move(outcome);
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
      if (advanced)
        log_debug("log", "{}: deleted offsets {} to {} by retention", log.directory(), before.value(),
                  start.value() - 1);
    }
  }
  // Compaction takes only what a checkpoint knows to be closed.
  if (closed_any) {
    const Status taken = checkpoint();
    if (!taken && first) first = taken;
  }
  return first;
}

Status Store::Impl::tidy() {
  MutexLock only(tidy_mutex_);
  return close_and_expire();
}

void Store::Impl::run_housekeeping() {
  using std::chrono::microseconds;
  MonoTime next = clock_.mono_now() + options_.retention_check_interval;
  while (true) {
    {
      MutexLock lock(housekeeping_mutex_);
      while (!housekeeping_ends_ && clock_.mono_now() < next) {
        housekeeping_wake_.wait_for(housekeeping_mutex_, std::chrono::ceil<microseconds>(next - clock_.mono_now()));
      }
      if (housekeeping_ends_) return;
    }
    if (const Status done = tidy(); !done) log_warning("log", "housekeeping: {}", done.error().message);
    next = clock_.mono_now() + options_.retention_check_interval;
  }
}

}  // namespace millrace::log
