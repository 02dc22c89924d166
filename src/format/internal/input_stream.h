#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::format {

// The bytes of a file, decompressed where they are gzip, in pieces. One thread.
class InputStream {
 public:
  static Result<std::unique_ptr<InputStream>> open(const std::string& path);
  ~InputStream();
  InputStream(const InputStream&) = delete;
  InputStream& operator=(const InputStream&) = delete;

  // The next piece, empty at the end; valid until the next call.
  Result<std::string_view> next();

  uint64_t bytes_read() const;  // of the file as it lies on disk
  uint64_t bytes_total() const { return bytes_total_; }

 private:
  InputStream() = default;

  static constexpr size_t kPieceBytes = 256 << 10;
  std::string path_;
  void* file_ = nullptr;  // gzFile: reads plain files as they are
  int descriptor_ = -1;
  std::unique_ptr<char[]> piece_;
  uint64_t bytes_total_ = 0;
};

}  // namespace millrace::format
