#include "client/topic_follower.h"

#include <fmt/core.h>

#include <array>

#include "base/logging.h"
#include "client/admin.h"

namespace millrace::client {
namespace {

constexpr size_t kPollRecordsMax = 1000;
// How long the thread waits for records, and so how long its end takes.
constexpr Millis kPollWait{100};

}  // namespace

Result<std::unique_ptr<TopicFollower>> TopicFollower::create(const Options& client, const Clock& clock,
                                                             FollowerOptions options) {
  std::unique_ptr<TopicFollower> follower(new TopicFollower(client, clock, std::move(options)));
  if (follower->options_.create_topic) {
    MILLRACE_ASSIGN_OR_RETURN(const auto admin, Admin::create(client));
    MILLRACE_RETURN_IF_ERROR(admin->ensure_topic(
        {.name = follower->options_.topic, .partitions = 1, .config = {{"cleanup.policy", "compact"}}},
        follower->options_.timeout));
  }
  MILLRACE_ASSIGN_OR_RETURN(follower->reader_, PartitionReader::create(client));
  return follower;
}

Status TopicFollower::start(Callbacks callbacks) {
  callbacks_ = std::move(callbacks);
  MILLRACE_ASSIGN_OR_RETURN(const OffsetRange range, reader_->watermarks(source(), options_.timeout));
  const std::array ranges = {ReadRange{source(), range.begin, std::nullopt}};
  MILLRACE_RETURN_IF_ERROR(reader_->assign(ranges, options_.timeout));
  {
    MutexLock lock(mutex_);
    position_ = range.begin;
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { follow(stop); });
  return wait_until(range.end);
}

void TopicFollower::follow(const std::stop_token& stop) {
  bool complained = false;
  while (!stop.stop_requested()) {
    const auto polled = reader_->poll(kPollRecordsMax, kPollWait);
    if (!polled && !is_retriable(polled.error())) {
      {
        MutexLock lock(mutex_);
        failure_ = polled.error();
        moved_.notify_all();
      }
      log_error("client", "{} is not followed any more: {}", options_.topic, polled.error().message);
      if (callbacks_.ended) callbacks_.ended(polled.error());
      return;
    }
    if (!polled) {
      if (!complained) log_warning("client", "{}: {}", options_.topic, polled.error().message);
      complained = true;
      continue;
    }
    complained = false;
    if (!polled->empty()) callbacks_.apply(*polled);
    {
      MutexLock lock(mutex_);
      if (const auto position = reader_->position(source())) position_ = *position;
      moved_.notify_all();
    }
    if (callbacks_.looked) callbacks_.looked();
  }
}

Status TopicFollower::wait_until(Offset end) const {
  const MonoTime deadline = clock_.mono_now() + options_.timeout;
  MutexLock lock(mutex_);
  while (position_ < end) {
    if (failure_) return tl::unexpected<Error>(*failure_);
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - clock_.mono_now());
    if (left.count() <= 0)
      return fail(Errc::kTimedOut,
                  fmt::format("{} could not be read to its end in {} ms", options_.topic, options_.timeout.count()));
    moved_.wait_for(mutex_, left);
  }
  return {};
}

Status TopicFollower::refresh() {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, Admin::create(client_));
  const std::array partitions = {source()};
  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin->offsets(partitions, options_.timeout));
  MILLRACE_ASSIGN_OR_RETURN(const OffsetRange range, offsets.at(0).range);
  return wait_until(range.end);
}

Offset TopicFollower::position() const {
  MutexLock lock(mutex_);
  return position_;
}

Result<Offset> TopicFollower::end() {
  MILLRACE_ASSIGN_OR_RETURN(const OffsetRange range, reader_->watermarks(source(), options_.timeout));
  return range.end;
}

}  // namespace millrace::client
