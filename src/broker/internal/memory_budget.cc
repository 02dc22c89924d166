#include "broker/internal/memory_budget.h"

#include <utility>

namespace millrace::broker {

Frame::Frame(size_t size, std::shared_ptr<MemoryBudget> budget)
    : data_(new std::byte[size]), size_(size), budget_(std::move(budget)) {}

Frame::~Frame() {
  data_.reset();
  if (budget_) budget_->give_back(size_);
}

FramePtr MemoryBudget::allocate(size_t size, Executor& executor, Task retry) {
  {
    MutexLock lock(mutex_);
    if (left_ <= 0 && size > kSmallFrameBytes) {
      waiters_.push_back({&executor, std::move(retry)});
      return nullptr;
    }
    left_ -= static_cast<int64_t>(size);
  }
  return std::make_shared<Frame>(size, shared_from_this());
}

uint64_t MemoryBudget::used() {
  MutexLock lock(mutex_);
  return static_cast<uint64_t>(bytes_max_ - left_);
}

void MemoryBudget::drop_waiters() {
  std::deque<Waiter> dropped;
  MutexLock lock(mutex_);
  dropped.swap(waiters_);
}

// All who wait are woken: those for whom it is not enough line up again, in order.
void MemoryBudget::give_back(size_t size) {
  std::deque<Waiter> woken;
  {
    MutexLock lock(mutex_);
    left_ += static_cast<int64_t>(size);
    if (left_ > 0) woken.swap(waiters_);
  }
  for (Waiter& waiter : woken) waiter.executor->post(std::move(waiter.retry));
}

}  // namespace millrace::broker
