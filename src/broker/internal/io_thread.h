#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/byte_writer.h"
#include "base/mutex.h"
#include "broker/internal/executor.h"

namespace millrace::broker {

// A network thread: an Asio context with one thread, and its timers.
class IoThread final : public Executor {
 public:
  explicit IoThread(Clock& clock);
  // The thread must have been stopped.
  ~IoThread() override;

  void start();
  // Returns when the thread has ended. Tasks and timers that have not run are kept, unrun, until destruction.
  void stop();

  void post(Task task) override EXCLUDES(mutex_);
  // Run `task` when all that has been posted by now has run: what several of these tasks need once. On the own thread.
  void defer(Task task);
  bool is_current() const override { return std::this_thread::get_id() == id_; }
  // Whether the caller is on some network thread.
  static bool is_any_current() { return on_one_; }
  TimerId call_at(MonoTime when, Task task) override;
  void cancel(TimerId timer) override { timers_.cancel(timer); }

  // Run what is due by the clock. On the own thread.
  void run_timers();

  // Own `thing` until it is released, or as long as this lives. On the own thread.
  void keep(std::shared_ptr<void> thing) { kept_.insert(std::move(thing)); }
  void release(const std::shared_ptr<void>& thing) { kept_.erase(thing); }

  boost::asio::io_context& context() { return context_; }
  // Space for one read at a time, shared by the thread's sessions so that an idle connection holds none.
  std::span<std::byte> scratch() { return scratch_; }

 private:
  void arm();
  void run_inbox() EXCLUDES(mutex_);

  static constexpr size_t kScratchBytes = size_t{64} * 1024;

  static inline thread_local bool on_one_ = false;

  Clock& clock_;
  boost::asio::io_context context_{1};
  boost::asio::steady_timer timer_{context_};
  std::optional<MonoTime> armed_for_;
  TimerQueue timers_;
  std::unordered_set<std::shared_ptr<void>> kept_;
  Bytes scratch_;
  // Posted and not yet run: Asio hears of them only when the first comes, so a burst is one wake-up.
  Mutex mutex_;
  std::vector<Task> inbox_ GUARDED_BY(mutex_);
  bool in_inbox_ = false;
  std::vector<Task> deferred_;
  std::thread thread_;
  std::atomic<std::thread::id> id_;
};

}  // namespace millrace::broker
