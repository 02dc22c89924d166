#include "broker/internal/coordinator_gate.h"

namespace millrace::broker {

void CoordinatorGate::pass(Task task) {
  if (!shut_ && held_.empty()) return task();
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
