#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "broker/internal/executor.h"
#include "broker/internal/task.h"

namespace millrace::broker {

// The coordinators' executor, with a gate before it: while a coordinator's write waits for room in the log it is shut,
// and what comes waits in its order. So nothing is decided on the ground of what the log does not have yet, and what
// groups and transactions write keeps its order. Only what falls due meanwhile runs behind everything that came: a
// member whose heartbeat waits here has not been silent.
class CoordinatorGate final : public Executor {
 public:
  // More than a request of each connection that may be there: beyond it the broker refuses what clients ask of
  // coordinators.
  static constexpr size_t kHeldMax = 20'000;

  // `inner` outlives the use of this.
  explicit CoordinatorGate(Executor& inner) : inner_(inner) {}

  void post(Task task) override {
    inner_.post([this, task = std::move(task)]() mutable { pass(std::move(task)); });
  }
  // Run `task` even while the gate is shut: it decides nothing. From any thread.
  void post_past(Task task) { inner_.post(std::move(task)); }
  bool is_current() const override { return inner_.is_current(); }
  // Whether so much is held back that more should not come. From any thread.
  bool is_crowded() const { return held_count_.load(std::memory_order_relaxed) >= kHeldMax; }

  // The following on the executor, or before it runs.
  TimerId call_at(MonoTime when, Task task) override {
    return inner_.call_at(when, [this, task = std::move(task)]() mutable { pass_due(std::move(task)); });
  }
  // Does nothing where the timer has run, or is held back.
  void cancel(TimerId timer) override { inner_.cancel(timer); }

  bool is_open() const { return !shut_; }
  void shut() {
    shut_ = true;
    ++times_shut_;
  }
  // What was held back runs later, before anything that comes from now on.
  void open();
  // Run `task` now or, where the gate is shut or others wait before it, in its turn.
  void pass(Task task);

 private:
  // As pass(), but behind all that comes until the gate is open.
  void pass_due(Task task);
  void hold(Task task);
  void drain();

  // Then what else the thread has to do has its turn.
  static constexpr int kTasksPerTurn = 64;

  Executor& inner_;
  bool shut_ = false;
  uint64_t times_shut_ = 0;
  std::deque<Task> held_;
  std::atomic<size_t> held_count_{0};
};

}  // namespace millrace::broker
