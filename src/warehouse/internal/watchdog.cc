#include "warehouse/internal/watchdog.h"

namespace millrace::warehouse {

Watchdog::Watch::~Watch() {
  MutexLock lock(dog_.mutex_);
  dog_.watched_.remove(this);
}

Watchdog::Verdict Watchdog::Watch::verdict() const {
  MutexLock lock(dog_.mutex_);
  return verdict_;
}

std::unique_ptr<Watchdog::Watch> Watchdog::watch(sql::Connection& connection, std::chrono::milliseconds timeout,
                                                 std::stop_token cancel) {
  std::unique_ptr<Watch> watch(
      new Watch(*this, connection, std::chrono::steady_clock::now() + timeout, std::move(cancel)));
  MutexLock lock(mutex_);
  watched_.push_back(watch.get());
  if (!started_ && !stopping_) {
    started_ = true;
    thread_ = std::jthread([this] { run(); });
  }
  changed_.notify_all();
  return watch;
}

void Watchdog::stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (Watch* watch : watched_) {
      watch->verdict_ = Verdict::kCancelled;
      watch->connection_.interrupt();
    }
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::run() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    if (watched_.empty()) {
      changed_.wait(mutex_);
      continue;
    }
    const auto now = std::chrono::steady_clock::now();
    for (Watch* watch : watched_) {
      if (watch->cancel_.stop_requested())
        watch->verdict_ = Verdict::kCancelled;
      else if (now >= watch->deadline_)
        watch->verdict_ = Verdict::kTimedOut;
      // Again and again: an interrupt between two statements of a connection is forgotten by the second. It only sets a
      // flag, and never calls back.
      if (watch->verdict_ != Verdict::kInTime) watch->connection_.interrupt();
    }
    changed_.wait_for(mutex_, kInterval);
  }
}

}  // namespace millrace::warehouse
