#include "log/internal/open_files.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "log/internal/segment.h"

namespace millrace::log {

OpenFiles::OpenFiles(size_t files_max) : files_max_(files_max) {}

void OpenFiles::add(const std::shared_ptr<const Segment>& segment) {
  // Let go of without the lock: whoever is the last to hold a file closes it.
  std::vector<std::shared_ptr<const Segment>> seen;
  std::vector<std::shared_ptr<env::File>> closing;
  MutexLock lock(mutex_);
  for (size_t looks = std::min(2 * open_.size(), kLooksMax); looks > 0 && open_.size() >= files_max_; --looks) {
    auto first = open_.front().lock();
    open_.pop_front();
    if (first == nullptr) continue;
    if (auto file = first->give_up_file()) {
      closing.push_back(std::move(*file));
    } else {
      open_.push_back(first);
    }
    seen.push_back(std::move(first));
  }
  open_.push_back(segment);
}

}  // namespace millrace::log
