#pragma once

#include <deque>
#include <thread>

#include "base/mutex.h"
#include "broker/internal/task.h"

namespace millrace::broker {

// The thread for what blocks: topics made and deleted, lookups by timestamp, the history of rebalances. Tasks run in
// order. The queue is bounded by the connections, each of which has at most one request in work, and by what the
// history bounds itself.
class Worker {
 public:
  Worker();
  // stop().
  ~Worker();

  void post(Task task) EXCLUDES(mutex_);
  // Ends after the running task; those still queued are dropped.
  void stop() EXCLUDES(mutex_);

 private:
  void run() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::deque<Task> tasks_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace millrace::broker
