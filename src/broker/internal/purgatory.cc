#include "broker/internal/purgatory.h"

#include <algorithm>
#include <utility>

namespace millrace::broker {

void Purgatory::enter(const std::shared_ptr<Parked>& parked, const Partitions& partitions) {
  parked_.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(mutex_);
  for (const auto& partition : partitions) waiting_[partition.get()].push_back(parked);
}

void Purgatory::leave(const Parked& parked, const Partitions& partitions) {
  parked_.fetch_sub(1, std::memory_order_relaxed);
  MutexLock lock(mutex_);
  for (const auto& partition : partitions) {
    const auto found = waiting_.find(partition.get());
    if (found == waiting_.end()) continue;
    std::erase_if(found->second, [&](const auto& other) { return other.get() == &parked; });
    if (found->second.empty()) waiting_.erase(found);
  }
}

bool Purgatory::take_memory(int64_t bytes) {
  if (memory_left_.fetch_sub(bytes, std::memory_order_relaxed) >= bytes) return true;
  give_back_memory(bytes);
  return false;
}

void Purgatory::advanced(std::span<const std::shared_ptr<log::Partition>> partitions) {
  std::vector<std::pair<Executor*, Woken>> by_home;
  {
    MutexLock lock(mutex_);
    if (waiting_.empty()) return;
    for (const auto& partition : partitions) {
      const auto found = waiting_.find(partition.get());
      if (found == waiting_.end()) continue;
      for (const auto& parked : found->second) {
        if (parked->woken_.exchange(true)) continue;
        auto home = std::ranges::find(by_home, &parked->home_, &std::pair<Executor*, Woken>::first);
        if (home == by_home.end()) home = by_home.insert(by_home.end(), {&parked->home_, {}});
        home->second.push_back(parked);
      }
    }
  }
  for (auto& entry : by_home) {
    entry.first->post([woken = std::move(entry.second)] {
      for (const auto& parked : woken) {
        parked->woken_ = false;
        parked->on_advance();
      }
    });
  }
}

void Purgatory::removed(std::span<const std::shared_ptr<log::Partition>> partitions) {
  Woken concerned;
  {
    MutexLock lock(mutex_);
    for (const auto& partition : partitions)
      if (const auto found = waiting_.find(partition.get()); found != waiting_.end())
        concerned.insert(concerned.end(), found->second.begin(), found->second.end());
  }
  for (auto& parked : concerned) {
    Executor& home = parked->home_;
    home.post([parked = std::move(parked)] { parked->on_removal(); });
  }
}

}  // namespace millrace::broker
