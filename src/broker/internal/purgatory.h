#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "broker/internal/executor.h"
#include "log/partition.h"

namespace millrace::broker {

// A request that waits for partitions to grow.
class Parked {
 public:
  explicit Parked(Executor& home) : home_(home) {}
  virtual ~Parked() = default;
  Parked(const Parked&) = delete;
  Parked& operator=(const Parked&) = delete;

  // One or more of its partitions have grown. On its home's thread; may come once more after leave().
  virtual void on_advance() = 0;
  // One or more of its partitions are no more. As on_advance().
  virtual void on_removal() = 0;

 private:
  friend class Purgatory;
  Executor& home_;
  std::atomic<bool> woken_{false};  // on_advance() is on its way: once is enough
};

// Where requests wait for high watermarks to move, without a thread or a timer. Thread-safe.
class Purgatory {
 public:
  explicit Purgatory(int64_t memory_bytes_max) : memory_bytes_max_(memory_bytes_max), memory_left_(memory_bytes_max) {}

  using Partitions = std::vector<std::shared_ptr<log::Partition>>;

  // From now on `parked` is told of every advance of the partitions, until it leaves. An advance just before is not
  // told: look again after entering.
  void enter(const std::shared_ptr<Parked>& parked, const Partitions& partitions) EXCLUDES(mutex_);
  void leave(const Parked& parked, const Partitions& partitions) EXCLUDES(mutex_);

  // Tell those who wait: one post for each executor that is concerned. For the store's advance observer.
  void advanced(std::span<const std::shared_ptr<log::Partition>> partitions) EXCLUDES(mutex_);
  // The same where partitions were deleted.
  void removed(std::span<const std::shared_ptr<log::Partition>> partitions) EXCLUDES(mutex_);

  // What the parked hold in memory is bounded, all of them together: take `bytes` more, if there is room; a request
  // that gets none must not wait. To be given back on leaving.
  bool take_memory(int64_t bytes);
  void give_back_memory(int64_t bytes) { memory_left_.fetch_add(bytes, std::memory_order_relaxed); }

  size_t parked() const { return parked_.load(std::memory_order_relaxed); }
  int64_t memory_bytes() const { return memory_bytes_max_ - memory_left_.load(std::memory_order_relaxed); }
  int64_t memory_bytes_max() const { return memory_bytes_max_; }

 private:
  using Woken = std::vector<std::shared_ptr<Parked>>;

  const int64_t memory_bytes_max_;
  std::atomic<int64_t> memory_left_;
  std::atomic<size_t> parked_{0};
  Mutex mutex_;
  std::unordered_map<const log::Partition*, std::vector<std::shared_ptr<Parked>>> waiting_ GUARDED_BY(mutex_);
};

}  // namespace millrace::broker
