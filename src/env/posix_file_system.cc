#include "env/posix_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace millrace::env {

namespace {

Errc errc_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Errc::kNotFound;
    case ENOSPC:
    case EDQUOT:
      return Errc::kOutOfSpace;
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::kPermissionDenied;
    // Of the process or the system, and none of the file.
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Errc::kUnavailable;
    default:
      return Errc::kIo;
  }
}

const char* hint_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free space on this disk";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case EACCES:
    case EPERM:
      return "let this user read and write there, or use another folder";
    case EROFS:
      return "mount the disk so that it can be written (a system that meets errors on it may have ended that: see "
             "dmesg), or use another folder";
    case ENOTDIR:
      return "a part of this path is a file: use another folder";
    case EIO:
      return "the disk has failed: see dmesg";
    default:
      return "";
  }
}

tl::unexpected<Error> failed(const char* action, const std::string& path, int error) {
  return fail(errc_of(error), fmt::format("cannot {} {}: {}", action, path, std::generic_category().message(error)),
              hint_of(error));
}

// An open file descriptor, closed on destruction.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Result<Descriptor> open_descriptor(const std::string& path, int flags, const char* action) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return failed(action, path, errno);
  return Descriptor(fd);
}

class PosixFile final : public File {
 public:
  PosixFile(std::string path, Descriptor descriptor) : path_(std::move(path)), descriptor_(std::move(descriptor)) {}

  Result<size_t> read_at(uint64_t position, std::span<std::byte> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got =
          ::pread(descriptor_.get(), out.data() + done, out.size() - done, static_cast<off_t>(position + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed("read", path_, errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  Status write_at(uint64_t position, std::span<const ByteView> pieces) override {
    size_t next = 0;     // the first piece that is not wholly written
    size_t skipped = 0;  // how much of it is
    while (next < pieces.size()) {
      std::array<iovec, 64> vectors;
      size_t used = 0;
      for (size_t i = next; i < pieces.size() && used < vectors.size(); ++i) {
        const ByteView piece = pieces[i].subspan(i == next ? skipped : 0);
        if (piece.empty()) continue;
        vectors[used++] = {const_cast<std::byte*>(piece.data()), piece.size()};
      }
      if (used == 0) break;
      const ssize_t wrote =
          ::pwritev(descriptor_.get(), vectors.data(), static_cast<int>(used), static_cast<off_t>(position));
      if (wrote < 0 && (errno == EINTR || (errno == EINVAL && give_up_direct()))) continue;
      if (wrote < 0) return failed("write", path_, errno);
      position += static_cast<uint64_t>(wrote);
      auto left = static_cast<size_t>(wrote);
      while (next < pieces.size() && left >= pieces[next].size() - skipped) {
        left -= pieces[next].size() - skipped;
        skipped = 0;
        ++next;
      }
      skipped += left;
    }
    return {};
  }

  Status sync_data() override {
    if (::fdatasync(descriptor_.get()) != 0) return failed("sync", path_, errno);
    return {};
  }

  Result<size_t> send_to(int socket, uint64_t position, size_t bytes) const override {
    auto at = static_cast<off_t>(position);
    const ssize_t sent = ::sendfile(socket, descriptor_.get(), &at, bytes);
    if (sent > 0) return static_cast<size_t>(sent);
    if (sent == 0) return ends_at(position);
    // Not every file system can.
    if (errno == EINVAL || errno == ENOSYS) return File::send_to(socket, position, bytes);
    return send_failed(errno);
  }

  Status truncate(uint64_t size) override {
    if (::ftruncate(descriptor_.get(), static_cast<off_t>(size)) != 0) return failed("truncate", path_, errno);
    return {};
  }

  Status allocate(uint64_t position, uint64_t size) override {
    if (size == 0) return {};
    int error = 0;
    do {
      // Where a file system has no such thing the C library writes a byte into every block instead.
      error = ::posix_fallocate(descriptor_.get(), static_cast<off_t>(position), static_cast<off_t>(size));
    } while (error == EINTR);
    if (error != 0) return failed("reserve space for", path_, error);
    return {};
  }

  Result<uint64_t> size() const override {
    struct stat status{};
    if (::fstat(descriptor_.get(), &status) != 0) return failed("inspect", path_, errno);
    return static_cast<uint64_t>(status.st_size);
  }

  const std::string& path() const override { return path_; }

 private:
  // Some file systems open a file for direct writing and then take none, or none of a short write's rest.
  bool give_up_direct() {
    const int flags = ::fcntl(descriptor_.get(), F_GETFL);
    return flags >= 0 && (flags & O_DIRECT) != 0 && ::fcntl(descriptor_.get(), F_SETFL, flags & ~O_DIRECT) == 0;
  }

  std::string path_;
  Descriptor descriptor_;
};

class PosixFileLock final : public FileLock {
 public:
  explicit PosixFileLock(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

 private:
  Descriptor descriptor_;
};

int flags_of(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT;
    case OpenMode::kCreateEmpty:
    case OpenMode::kCreatePrivate:
      return O_RDWR | O_CREAT | O_TRUNC;
    case OpenMode::kDirect:
      return O_WRONLY | O_DIRECT;
  }
  return O_RDONLY;
}

}  // namespace

Result<std::unique_ptr<File>> PosixFileSystem::open(const std::string& path, OpenMode mode) {
  auto opened = open_descriptor(path, flags_of(mode), "open");
  // Before anything is written to it; and a file that was there has the permissions that it had.
  if (opened && mode == OpenMode::kCreatePrivate && ::fchmod(opened->get(), S_IRUSR | S_IWUSR) != 0)
    return failed("protect", path, errno);
  if (opened) return std::make_unique<PosixFile>(path, std::move(*opened));
  if (mode != OpenMode::kDirect) return tl::unexpected(std::move(opened).error());
  // Not every file system can.
  MILLRACE_ASSIGN_OR_RETURN(Descriptor cached, open_descriptor(path, O_WRONLY, "open"));
  return std::make_unique<PosixFile>(path, std::move(cached));
}

Result<bool> PosixFileSystem::exists(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return failed("inspect", path, errno);
}

Result<std::vector<DirectoryEntry>> PosixFileSystem::list(const std::string& directory) {
  std::error_code error;
  std::vector<DirectoryEntry> entries;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;  // gone since: then it is no directory
    entries.push_back({it->path().filename().string(), it->is_directory(ignored)});
  }
  if (error) return failed("list", directory, error.value());
  return entries;
}

Status PosixFileSystem::make_directories(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return failed("make directory", directory, error.value());
  return {};
}

Status PosixFileSystem::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failed("rename", from, errno);
  return {};
}

Status PosixFileSystem::remove(const std::string& path) {
  if (::remove(path.c_str()) != 0) return failed("remove", path, errno);
  return {};
}

Status PosixFileSystem::remove_all(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return failed("remove", path, error.value());
  return {};
}

Status PosixFileSystem::sync_directory(const std::string& directory) {
  MILLRACE_ASSIGN_OR_RETURN(const Descriptor descriptor,
                            open_descriptor(directory, O_RDONLY | O_DIRECTORY, "open directory"));
  if (::fsync(descriptor.get()) != 0) return failed("sync directory", directory, errno);
  return {};
}

Result<uint64_t> PosixFileSystem::free_bytes(const std::string& directory) {
  struct statvfs status{};
  if (::statvfs(directory.c_str(), &status) != 0) return failed("inspect", directory, errno);
  return static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
}

Result<std::unique_ptr<FileLock>> PosixFileSystem::lock(const std::string& path) {
  MILLRACE_ASSIGN_OR_RETURN(Descriptor descriptor, open_descriptor(path, O_RDWR | O_CREAT, "open lock file"));
  if (::flock(descriptor.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failed("lock", path, errno);
    return fail(Errc::kConflict, fmt::format("{} is locked by another process", path),
                "stop the other process, or use another data folder");
  }
  return std::make_unique<PosixFileLock>(std::move(descriptor));
}

}  // namespace millrace::env
