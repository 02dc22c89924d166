#include "log/internal/open_files.h"

#include <algorithm>
#include <utility>

#include "log/internal/segment.h"

namespace millrace::log {

OpenFiles::OpenFiles(size_t files_max) : files_max_(files_max) {}

void OpenFiles::add(const std::shared_ptr<const Segment>& segment) {
  LetGo let_go;
  MutexLock lock(mutex_);
  // One place less, for this one.
  if (open_.size() >= files_max_) close_some(open_.size() + 1 - files_max_, kLooksMax, let_go);
  open_.push_back(segment);
  too_many_.store(open_.size() > files_max_, std::memory_order_relaxed);
}

void OpenFiles::close_idle() {
  LetGo let_go;
  MutexLock lock(mutex_);
  if (open_.size() > files_max_) close_some(open_.size() - files_max_, 2 * open_.size(), let_go);
  too_many_.store(open_.size() > files_max_, std::memory_order_relaxed);
}

void OpenFiles::close_some(size_t count, size_t looks_max, LetGo& let_go) {
  for (size_t looks = std::min(2 * open_.size(), looks_max); looks > 0 && count > 0 && !open_.empty(); --looks) {
    auto first = open_.front().lock();
    open_.pop_front();
    if (first == nullptr) {
      --count;
      continue;
    }
    if (auto file = first->give_up_file()) {
      let_go.files.push_back(std::move(*file));
      --count;
    } else {
      open_.push_back(first);
    }
    let_go.segments.push_back(std::move(first));
  }
}

}  // namespace millrace::log
