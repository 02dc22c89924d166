#include "env/file_system.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace millrace::env {

Result<size_t> File::send_to(int socket, uint64_t position, size_t bytes) const {
  std::array<std::byte, 16384> buffer;
  MILLRACE_ASSIGN_OR_RETURN(const size_t read,
                            read_at(position, std::span(buffer).first(std::min(bytes, buffer.size()))));
  if (read == 0) return ends_at(position);
  const ssize_t sent = ::send(socket, buffer.data(), read, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return send_failed(errno);
  return static_cast<size_t>(sent);
}

Result<size_t> File::send_failed(int error) const {
  switch (error) {
    case EAGAIN:
    case EINTR:
      return size_t{0};
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
    case ETIMEDOUT:
      return fail(Errc::kUnavailable, fmt::format("the peer is gone: {}", std::generic_category().message(error)));
    default:
      return fail(Errc::kIo, fmt::format("cannot send from {}: {}", path(), std::generic_category().message(error)));
  }
}

tl::unexpected<Error> File::ends_at(uint64_t position) const {
  return fail(Errc::kCorruption, fmt::format("{} ends before byte {}", path(), position + 1));
}

Result<Bytes> read_file(FileSystem& files, const std::string& path, uint64_t bytes_max) {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files.open(path, OpenMode::kRead));
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, file->size());
  if (size > bytes_max) {
    return fail(Errc::kTooLarge, fmt::format("{} has {} bytes, more than the {} allowed", path, size, bytes_max));
  }
  Bytes content(size);
  MILLRACE_ASSIGN_OR_RETURN(const size_t read, file->read_at(0, content));
  content.resize(read);
  return content;
}

Status write_file_atomically(FileSystem& files, const std::string& path, ByteView content, Readers readers) {
  const std::string temporary = path + ".tmp";
  const OpenMode mode = readers == Readers::kOwner ? OpenMode::kCreatePrivate : OpenMode::kCreateEmpty;
  {
    MILLRACE_ASSIGN_OR_RETURN(const auto file, files.open(temporary, mode));
    MILLRACE_RETURN_IF_ERROR(file->write_at(0, content));
    MILLRACE_RETURN_IF_ERROR(file->sync_data());
  }
  MILLRACE_RETURN_IF_ERROR(files.rename(temporary, path));
  return files.sync_directory(parent_directory(path));
}

std::string parent_directory(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(slash == 0 ? "/" : path.substr(0, slash));
}

std::string join_path(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  return fmt::format("{}{}{}", directory, directory.ends_with('/') ? "" : "/", name);
}

}  // namespace millrace::env
