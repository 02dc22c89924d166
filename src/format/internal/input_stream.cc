#include "format/internal/input_stream.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

namespace millrace::format {
namespace {

gzFile as_gz(void* file) { return static_cast<gzFile>(file); }

tl::unexpected<Error> system_failure(const std::string& path, int error) {
  const Errc code = error == ENOENT ? Errc::kNotFound : error == EACCES ? Errc::kPermissionDenied : Errc::kIo;
  return fail(code, fmt::format("{}: {}", path, std::strerror(error)));
}

}  // namespace

Result<std::unique_ptr<InputStream>> InputStream::open(const std::string& path) {
  std::unique_ptr<InputStream> stream(new InputStream());
  stream->path_ = path;
  stream->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (stream->descriptor_ < 0) return system_failure(path, errno);
  struct stat status{};
  if (::fstat(stream->descriptor_, &status) != 0) return system_failure(path, errno);
  if (S_ISDIR(status.st_mode)) return system_failure(path, EISDIR);
  stream->bytes_total_ = static_cast<uint64_t>(status.st_size);
  // zlib closes the descriptor that it is given; ours stays, to tell how far it has read.
  stream->file_ = ::gzdopen(::dup(stream->descriptor_), "rb");
  if (stream->file_ == nullptr) return system_failure(path, ENOMEM);
  ::gzbuffer(as_gz(stream->file_), kPieceBytes);
  stream->piece_ = std::make_unique_for_overwrite<char[]>(kPieceBytes);
  return stream;
}

InputStream::~InputStream() {
  if (file_ != nullptr) ::gzclose(as_gz(file_));
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::string_view> InputStream::next() {
  const int read = ::gzread(as_gz(file_), piece_.get(), kPieceBytes);
  int code = Z_OK;
  const char* message = ::gzerror(as_gz(file_), &code);
  if (code == Z_ERRNO) return system_failure(path_, errno);
  // A file cut short gives what it has, then this.
  if (read < 0 || (read == 0 && code != Z_OK && code != Z_STREAM_END))
    return fail(Errc::kCorruption, fmt::format("{}: not a complete gzip file ({})", path_, message));
  return std::string_view(piece_.get(), static_cast<size_t>(read));
}

uint64_t InputStream::bytes_read() const {
  const off_t position = ::lseek(descriptor_, 0, SEEK_CUR);
  return position < 0 ? 0 : static_cast<uint64_t>(position);
}

}  // namespace millrace::format
