#pragma once

#include <optional>
#include <string>

#include "base/ids.h"
#include "base/mutex.h"
#include "env/file_system.h"

namespace millrace::broker {

// Hands out producer ids, each once in the life of a data folder. They are taken in blocks: the file "producer-ids" has
// the first id that no block has had (docs/formats/producer-ids.md), so a restart leaves out the rest of a block.
// Thread-safe.
class ProducerIds {
 public:
  ProducerIds(env::FileSystem& files, const std::string& data_dir);

  // Whether the block in memory is used up.
  bool is_empty() const EXCLUDES(mutex_);
  // Take a new block where it is: writes to disk and waits for it.
  Status refill_if_empty() EXCLUDES(refill_mutex_, mutex_);
  // From the block in memory; nothing when that is used up.
  std::optional<ProducerId> take() EXCLUDES(mutex_);
  // The same, after taking a new block where that is needed: writes to disk and waits for it.
  Result<ProducerId> take_waiting() EXCLUDES(refill_mutex_, mutex_);

 private:
  static constexpr int64_t kBlock = 1000;

  Status refill() REQUIRES(refill_mutex_) EXCLUDES(mutex_);

  env::FileSystem& files_;
  const std::string path_;
  Mutex refill_mutex_;  // held while the file is read and written, so that blocks follow each other
  mutable Mutex mutex_;
  int64_t next_ GUARDED_BY(mutex_) = 0;
  int64_t end_ GUARDED_BY(mutex_) = 0;
};

}  // namespace millrace::broker
