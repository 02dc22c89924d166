#include "env/file_system.h"

#include <fmt/format.h>

namespace millrace::env {

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

Status write_file_atomically(FileSystem& files, const std::string& path, ByteView content) {
  const std::string temporary = path + ".tmp";
  {
    MILLRACE_ASSIGN_OR_RETURN(const auto file, files.open(temporary, OpenMode::kCreateNew));
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
