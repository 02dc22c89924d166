#pragma once

#include <atomic>
#include <deque>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "broker/internal/io_thread.h"

namespace millrace::broker {

// Runs tasks one at a time, on whichever network thread posts them: for state that requests of all connections change,
// where handing each request to one thread would cost a wake-up. What is posted while a task runs is run after it by
// the same thread, in its order; nobody waits.
//
// Tasks that come from elsewhere, from a task of the strand, or from a timer begin on its home thread, so that what
// posts itself again lets other work have its turn.
class Strand final : public Executor {
 public:
  // `home` outlives the use of this.
  Strand(IoThread& home, const Clock& clock) : home_(home), clock_(clock) {}

  void post(Task task) override EXCLUDES(mutex_);
  // Whether the caller is a task of this strand.
  bool is_current() const override { return runner_ == std::this_thread::get_id(); }

  // From tasks of this strand, or before its home runs.
  TimerId call_at(MonoTime when, Task task) override;
  void cancel(TimerId timer) override { timers_.cancel(timer); }

 private:
  void run(Task task) EXCLUDES(mutex_);
  // Run `task` and what waits behind it.
  void drain(Task task) EXCLUDES(mutex_);
  // The task before is done: the next one; an empty task where none waits.
  Task next() EXCLUDES(mutex_);
  void arm(MonoTime when);
  void on_timer(MonoTime armed_for);

  // Then what else the thread has to do has its turn.
  static constexpr int kTasksPerTurn = 64;

  IoThread& home_;
  const Clock& clock_;
  std::atomic<std::thread::id> runner_;
  Mutex mutex_;
  bool running_ GUARDED_BY(mutex_) = false;
  std::deque<Task> waiting_ GUARDED_BY(mutex_);  // few: a connection has one request in work
  // Of the tasks.
  TimerQueue timers_;
  std::optional<MonoTime> armed_for_;
};

}  // namespace millrace::broker
