#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/byte_writer.h"
#include "base/mutex.h"
#include "broker/internal/executor.h"

namespace millrace::broker {

class MemoryBudget;

// The bytes of one request, counted against the budget until it is destroyed. Not initialised.
class Frame {
 public:
  // Uncounted when `budget` is null.
  Frame(size_t size, std::shared_ptr<MemoryBudget> budget);
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  std::byte* data() { return data_.get(); }
  size_t size() const { return size_; }
  ByteView view() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_;
  std::shared_ptr<MemoryBudget> budget_;
};
using FramePtr = std::shared_ptr<Frame>;

// The memory that requests may take together (queued.max.request.bytes). As in Kafka, a request is admitted while any
// of it is left, so a single one may overdraw it; all later ones then wait in line until memory is given back. Small
// ones are counted, but do not wait: produces that wait for the disk must not keep heartbeats and fetches from being
// read, of which each connection has few. Thread-safe.
class MemoryBudget : public std::enable_shared_from_this<MemoryBudget> {
 public:
  static constexpr size_t kSmallFrameBytes = 4096;

  explicit MemoryBudget(int64_t bytes_max) : bytes_max_(bytes_max), left_(bytes_max) {}

  // A frame of `size` bytes, or null: then `retry` is posted to `executor` as soon as it is worth asking again.
  FramePtr allocate(size_t size, Executor& executor, Task retry);
  uint64_t used();
  int64_t bytes_max() const { return bytes_max_; }
  // Forget those who wait, because their executors end.
  void drop_waiters();

 private:
  friend class Frame;
  struct Waiter {
    Executor* executor;
    Task retry;
  };
  void give_back(size_t size);

  const int64_t bytes_max_;
  Mutex mutex_;
  int64_t left_ GUARDED_BY(mutex_);
  std::deque<Waiter> waiters_ GUARDED_BY(mutex_);
};

}  // namespace millrace::broker
