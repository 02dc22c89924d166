#pragma once

#include <deque>
#include <utility>

#include "broker/internal/executor.h"

namespace millrace::broker {

// An executor without a thread: tasks wait until the simulation runs one.
class SimulatedExecutor final : public Executor {
 public:
  void post(Task task) override { tasks_.push_back(std::move(task)); }
  bool is_current() const override { return running_; }
  TimerId call_at(MonoTime when, Task task) override { return timers_.add(when, std::move(task)); }
  void cancel(TimerId timer) override { timers_.cancel(timer); }

  bool has_work() const { return !tasks_.empty(); }
  // The task that was posted first. Precondition: has_work().
  void run_one() {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    run(std::move(task));
  }
  // As from a thread of its own.
  void run(Task task) {
    running_ = true;
    task();
    running_ = false;
  }

  std::optional<MonoTime> next_timer() const { return timers_.next(); }
  // The timer that is due first; false where none is.
  bool run_due(MonoTime now) {
    Task task = timers_.take_due(now);
    if (!task) return false;
    run(std::move(task));
    return true;
  }

 private:
  std::deque<Task> tasks_;
  TimerQueue timers_;
  bool running_ = false;
};

}  // namespace millrace::broker
