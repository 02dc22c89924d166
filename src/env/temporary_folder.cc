#include "env/temporary_folder.h"

#include <fmt/core.h>
#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace millrace::env {

Result<std::unique_ptr<TemporaryFolder>> TemporaryFolder::make(std::string_view purpose) {
  std::string path = (std::filesystem::temp_directory_path() / fmt::format("millrace-{}-XXXXXX", purpose)).string();
  if (::mkdtemp(path.data()) == nullptr)
    return fail(Errc::kIo, fmt::format("cannot make a temporary folder {}: {}", path, std::strerror(errno)),
                "export TMPDIR=FOLDER");
  return std::unique_ptr<TemporaryFolder>(new TemporaryFolder(std::move(path)));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace millrace::env
