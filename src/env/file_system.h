#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_writer.h"
#include "base/result.h"

namespace millrace::env {

// An open file, read and written at explicit positions. Thread-safe: calls from several threads do not disturb each
// other unless their ranges overlap. Closed on destruction; closing does not sync. Every error names the file.
class File {
 public:
  virtual ~File() = default;
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Fill `out` from `position`; returns how much was read, which is less than asked for only at the end of the file.
  virtual Result<size_t> read_at(uint64_t position, std::span<std::byte> out) const = 0;

  // Write the pieces one after another from `position`, extending the file where needed. On an error some prefix may
  // have been written. A full disk is kOutOfSpace. Durable only after sync_data().
  virtual Status write_at(uint64_t position, std::span<const ByteView> pieces) = 0;
  Status write_at(uint64_t position, ByteView data) { return write_at(position, {&data, 1}); }

  // Make written bytes and the size durable (fdatasync). After an error nothing is known about any byte written since
  // the last success, and trying again does not help.
  virtual Status sync_data() = 0;

  // Send bytes from `position` on, at most `bytes`, to a connected stream socket that does not block: how many it took,
  // 0 where it takes none for now. With the operating system's files they do not pass through this
  // process's memory. SIGPIPE must be blocked or ignored. kUnavailable: the peer is gone; kCorruption: the file ends at
  // `position` or before; else the file cannot be read.
  virtual Result<size_t> send_to(int socket, uint64_t position, size_t bytes) const;

  virtual Status truncate(uint64_t size) = 0;

  // Reserve disk space for the range and extend the size to its end if it is smaller; the new bytes read as 0. Later
  // writes inside the range need no further space. kOutOfSpace leaves the file usable.
  virtual Status allocate(uint64_t position, uint64_t size) = 0;

  virtual Result<uint64_t> size() const = 0;
  virtual const std::string& path() const = 0;

 protected:
  // What became of sending, by errno.
  Result<size_t> send_failed(int error) const;
  tl::unexpected<Error> ends_at(uint64_t position) const;
};

// Bytes of a file that is open as long as this is held, whatever becomes of its name.
struct FileRange {
  std::shared_ptr<const File> file;
  uint64_t position = 0;
  size_t bytes = 0;
};

// A lock that other processes see; released on destruction.
class FileLock {
 public:
  virtual ~FileLock() = default;
  FileLock() = default;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
};

enum class OpenMode {
  kRead,           // existing file, reading only
  kReadWrite,      // existing file
  kCreate,         // made if it is not there
  kCreateEmpty,    // made if it is not there; what it held before is gone
  kCreatePrivate,  // the same, and only its owner may read and write it
  // Existing file, for writing only, past the operating system's cache where the file system can. Each write_at() is of
  // one piece, and its position, address and size are multiples of kDirectBlockBytes. Not durable before sync_data().
  kDirect,
};
inline constexpr size_t kDirectBlockBytes = 4096;

struct DirectoryEntry {
  std::string name;  // without the directory
  bool is_directory = false;
};

// The files of a machine, as the modules see them: passed in, so that tests can forget what was not synced.
// Thread-safe. Missing files are kNotFound, a full disk kOutOfSpace, refused access kPermissionDenied, too few file
// descriptors kUnavailable, else kIo; messages name the path. Names change durably once their directory is synced.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<bool> exists(const std::string& path) = 0;
  // Entries of a directory in no particular order, without "." and "..".
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& directory) = 0;
  // With missing parents; an existing directory is fine.
  virtual Status make_directories(const std::string& directory) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // A file or an empty directory.
  virtual Status remove(const std::string& path) = 0;
  // A file, or a directory with all it holds; nothing there is fine.
  virtual Status remove_all(const std::string& path) = 0;
  virtual Status sync_directory(const std::string& directory) = 0;
  // Bytes that this process may still write under `directory`.
  virtual Result<uint64_t> free_bytes(const std::string& directory) = 0;
  // Take the lock file `path`, made if missing; kConflict where another process, or this one, holds it.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
};

// The whole file; kTooLarge if it holds more than `bytes_max`.
Result<Bytes> read_file(FileSystem& files, const std::string& path, uint64_t bytes_max);

enum class Readers { kAll, kOwner };

// Replace `path` so that after a crash it holds either the old or the new content, durably the new one on return:
// written to "<path>.tmp", synced, renamed, directory synced.
Status write_file_atomically(FileSystem& files, const std::string& path, ByteView content,
                             Readers readers = Readers::kAll);

// "/a/b" of "/a/b/c"; "." where there is no slash.
std::string parent_directory(std::string_view path);
std::string join_path(std::string_view directory, std::string_view name);

}  // namespace millrace::env
