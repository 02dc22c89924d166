#pragma once

#include <cstddef>
#include <deque>
#include <memory>

#include "base/mutex.h"

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

 private:
  // How many are looked at for one that is opened: more files than the bound are closed over the next ones.
  static constexpr size_t kLooksMax = 64;

  const size_t files_max_;
  Mutex mutex_;  // taken before those of segments
  std::deque<std::weak_ptr<const Segment>> open_ GUARDED_BY(mutex_);
};

}  // namespace millrace::log
