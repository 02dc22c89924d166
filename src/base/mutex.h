#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

// Clang's thread-safety annotations: https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#define MILLRACE_ANNOTATE(x) __attribute__((x))
#define GUARDED_BY(mutex) MILLRACE_ANNOTATE(guarded_by(mutex))
#define REQUIRES(...) MILLRACE_ANNOTATE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) MILLRACE_ANNOTATE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) MILLRACE_ANNOTATE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) MILLRACE_ANNOTATE(release_capability(__VA_ARGS__))

namespace millrace {

// std::mutex that the thread-safety analysis knows.
class MILLRACE_ANNOTATE(capability("mutex")) Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class MILLRACE_ANNOTATE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits release the mutex and take it again. Wake-ups may be spurious: wait in a loop that tests the condition.
class CondVar {
 public:
  void wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // False when `timeout` passed without a notification.
  bool wait_for(Mutex& mutex, std::chrono::microseconds timeout) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool notified = condition_.wait_for(lock, timeout) == std::cv_status::no_timeout;
    lock.release();
    return notified;
  }
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace millrace
