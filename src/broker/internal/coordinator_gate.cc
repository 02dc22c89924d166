#include "broker/internal/coordinator_gate.h"

namespace millrace::broker {

void CoordinatorGate::pass(Task task) {
  if (!shut_ && held_.empty()) return task();
  hold(std::move(task));
}

void CoordinatorGate::pass_due(Task task) {
  if (!shut_ && held_.empty()) return task();
  // Where the gate is shut now, or again before its turn, others come behind it that are to go first.
  const uint64_t last_shut = shut_ ? 0 : times_shut_;
  hold([this, last_shut, task = std::move(task)]() mutable {
    if (last_shut == times_shut_) return task();
    pass_due(std::move(task));
  });
}

void CoordinatorGate::hold(Task task) {
  held_.push_back(std::move(task));
  held_count_.store(held_.size(), std::memory_order_relaxed);
}

void CoordinatorGate::open() {
  shut_ = false;
  if (!held_.empty()) inner_.post([this] { drain(); });
}

void CoordinatorGate::drain() {
  for (int left = kTasksPerTurn; !shut_ && !held_.empty(); --left) {
    if (left == 0) return inner_.post([this] { drain(); });
    Task task = std::move(held_.front());
    held_.pop_front();
    held_count_.store(held_.size(), std::memory_order_relaxed);
    task();
  }
}

}  // namespace millrace::broker
