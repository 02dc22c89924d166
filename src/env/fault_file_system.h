#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/random.h"
#include "env/file_system.h"

namespace millrace::env {

// Files in memory that behave like a disk behind a power switch: what was not synced may be gone, wholly or in part,
// after crash(); writes and syncs fail on demand; the disk can be full. For tests. Thread-safe.
class FaultFileSystem final : public FileSystem {
 public:
  enum class Fault { kIo, kOutOfSpace };
  // What becomes of unsynced changes in a crash.
  enum class Unsynced {
    kDropped,  // all are lost: the strictest reading of POSIX
    kRandom,   // each write is kept, lost or torn at a 512-byte sector; each directory's changes are kept or lost
    kKept,     // all survive: what a process killed on a running system sees
  };

  FaultFileSystem();
  ~FaultFileSystem() override;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<bool> exists(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Status make_directories(const std::string& directory) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status remove_all(const std::string& path) override;
  Status sync_directory(const std::string& directory) override;
  Result<uint64_t> free_bytes(const std::string& directory) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;

  // Turn the power off and on: only what is durable (and, by `unsynced`, some of the rest) is there afterwards. Files
  // and locks opened before are dead: they fail with kIo. Injected faults are cleared, and held syncs released.
  void crash(Unsynced unsynced, Random& random);

  // After `operations` more changing calls (writes, syncs, truncations, allocations, creations, renames, removals)
  // every such call fails with kIo, until crash(): the moment the power goes.
  void power_off_after(uint64_t operations);
  // How many changing calls there were: the range for power_off_after().
  uint64_t operations() const;

  // The n-th write, or sync, from now on (1: the next) fails once; a failed write stores a prefix of its bytes.
  void fail_write(uint64_t nth, Fault fault);
  void fail_sync(uint64_t nth);
  // From now on every read of a file whose path begins with `prefix` fails with kIo; "": none does.
  void fail_reads(const std::string& prefix);
  // From now on every changing call is kPermissionDenied, as on a file system that was mounted read-only, or is again
  // none. Not counted in operations().
  void set_read_only(bool read_only);
  // From now on syncs of files wait, as on a disk that is slow beyond measure, until they are released.
  void hold_syncs();
  void release_syncs();
  // Wait until a sync waits.
  void await_held_sync();
  // All files together hold at most this many bytes; more is kOutOfSpace.
  void set_capacity(uint64_t bytes);

  // The volatile content of a file, to inspect or damage it: not counted, never failing. The path must exist.
  Bytes content(const std::string& path) const;
  void set_content(const std::string& path, Bytes content);

  struct Disk;  // the implementation's

 private:
  std::shared_ptr<Disk> disk_;
};

}  // namespace millrace::env
