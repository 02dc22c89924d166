#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "env/file_system.h"

namespace millrace::log {

class Segment;

// Which segments have their file open, and who closes it when there are too many: where one more is opened, those that
// were not used since the last look at them are closed, the ones opened first before the others (second chance). Files
// that may not be closed (Segment::give_up_file()) stay open beyond the bound. Thread-safe.
class OpenFiles {
 public:
  explicit OpenFiles(size_t files_max);

  // `segment` has just opened its file; no lock of it is held.
  void add(const std::shared_ptr<const Segment>& segment) EXCLUDES(mutex_);
  // Close what has become too many and may be closed by now: a checkpoint has synced them.
  void close_idle() EXCLUDES(mutex_);
  // Whether there were more than the bound at the last of these calls, for they may not be closed.
  bool are_too_many() const { return too_many_.load(std::memory_order_relaxed); }

 private:
  // How many are looked at for one that is opened: more files than the bound are closed over the next ones.
  static constexpr size_t kLooksMax = 64;

  // Outlives the lock: whoever is the last to hold a file closes it.
  struct LetGo {
    std::vector<std::shared_ptr<const Segment>> segments;
    std::vector<std::shared_ptr<env::File>> files;
  };
  void close_some(size_t count, size_t looks_max, LetGo& let_go) REQUIRES(mutex_);

  const size_t files_max_;
  std::atomic<bool> too_many_{false};
  Mutex mutex_;  // taken before those of segments
  std::deque<std::weak_ptr<const Segment>> open_ GUARDED_BY(mutex_);
};

}  // namespace millrace::log
