#include "broker/internal/strand.h"

#include <utility>

namespace millrace::broker {

void Strand::post(Task task) {
  if (IoThread::is_any_current() && !is_current()) return run(std::move(task));
  home_.post([this, task = std::move(task)]() mutable { run(std::move(task)); });
}

void Strand::run(Task task) {
  {
    MutexLock lock(mutex_);
    if (running_) return waiting_.push_back(std::move(task));
    running_ = true;
  }
  drain(std::move(task));
}

void Strand::drain(Task task) {
  for (int left = kTasksPerTurn; task; task = next()) {
    runner_ = std::this_thread::get_id();
    task();
    // What it owned goes before another thread may run the next one.
    task = {};
    runner_ = std::thread::id();
    if (--left == 0) return home_.post([this] { drain(next()); });
  }
}

Task Strand::next() {
  MutexLock lock(mutex_);
  if (waiting_.empty()) {
    running_ = false;
    return {};
  }
  Task task = std::move(waiting_.front());
  waiting_.pop_front();
  return task;
}

TimerId Strand::call_at(MonoTime when, Task task) {
  const TimerId id = timers_.add(when, std::move(task));
  if (!armed_for_ || when < *armed_for_) arm(when);
  return id;
}

// As IoThread does it: a timer of the home thread stands for the earliest of ours, and stays when that is cancelled.
void Strand::arm(MonoTime when) {
  armed_for_ = when;
  home_.post([this, when] { home_.call_at(when, [this, when] { run([this, when] { on_timer(when); }); }); });
}

void Strand::on_timer(MonoTime armed_for) {
  const MonoTime now = clock_.mono_now();
  while (Task task = timers_.take_due(now)) task();
  // An earlier one may have taken this one's place meanwhile, and goes on from here.
  if (armed_for_ != armed_for) return;
  armed_for_.reset();
  if (const auto next = timers_.next()) arm(*next);
}

}  // namespace millrace::broker
