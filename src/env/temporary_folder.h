#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::env {

// A folder for its owner's use alone, with all that is in it gone when this goes.
class TemporaryFolder {
 public:
  // `purpose` becomes part of its name: millrace-<purpose>-XXXXXX below TMPDIR.
  static Result<std::unique_ptr<TemporaryFolder>> make(std::string_view purpose);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace millrace::env
