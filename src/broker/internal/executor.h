#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "broker/internal/task.h"

namespace millrace::broker {

enum class TimerId : uint64_t {};

// One thread that runs tasks in the order they were posted, and timers: what handlers, the purgatory and the
// coordinator know of the network threads.
class Executor {
 public:
  virtual ~Executor() = default;

  // From any thread. Tasks that have not run when the executor stops are dropped.
  virtual void post(Task task) = 0;
  // Whether the caller is on this executor's thread.
  virtual bool is_current() const = 0;

  // The following only on the executor's own thread.
  virtual TimerId call_at(MonoTime when, Task task) = 0;
  // Does nothing when the timer has run.
  virtual void cancel(TimerId timer) = 0;
};

// The timers of one executor: what is due is decided by the time passed in. Not thread-safe.
class TimerQueue {
 public:
  TimerId add(MonoTime when, Task task) {
    const TimerId id{++last_};
    due_.emplace(std::pair{when, id}, std::move(task));
    when_.emplace(id, when);
    return id;
  }
  void cancel(TimerId id) {
    const auto found = when_.find(id);
    if (found == when_.end()) return;
    due_.erase({found->second, id});
    when_.erase(found);
  }
  std::optional<MonoTime> next() const {
    if (due_.empty()) return std::nullopt;
    return due_.begin()->first.first;
  }
  // The earliest timer that is due at `now`, taken out; an empty task when none is.
  Task take_due(MonoTime now) {
    if (due_.empty() || due_.begin()->first.first > now) return {};
    const auto first = due_.begin();
    Task task = std::move(first->second);
    when_.erase(first->first.second);
    due_.erase(first);
    return task;
  }

 private:
  uint64_t last_ = 0;
  std::map<std::pair<MonoTime, TimerId>, Task> due_;
  std::map<TimerId, MonoTime> when_;
};

}  // namespace millrace::broker
