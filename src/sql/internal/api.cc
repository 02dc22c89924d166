#include "sql/internal/api.h"

#include <dlfcn.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"

namespace millrace::sql {
namespace {

Mutex load_mutex;
// Written once under the lock, before any Database exists; read by whoever has one.
const Api* loaded_api = nullptr;

std::string binary_directory() {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  const std::string_view binary(path.data(), size > 0 ? static_cast<size_t>(size) : 0);
  return std::string(binary.substr(0, binary.rfind('/')));
}

std::vector<std::string> candidate_paths(const std::string& path) {
  if (!path.empty()) return {path};
  if (const char* given = std::getenv("MILLRACE_DUCKDB_LIBRARY"); given != nullptr && *given != '\0') return {given};
  const std::string beside = binary_directory() + "/../lib/";
  // The last is found by the loader: by the RUNPATH of a program that embeds us, or among the system's libraries.
  return {beside + "millrace/libduckdb.so", beside + "libduckdb.so", "libduckdb.so"};
}

}  // namespace

Result<const Api*> load_api(const std::string& path) {
  MutexLock lock(load_mutex);
  if (loaded_api != nullptr) return loaded_api;
  void* library = nullptr;
  std::string tried;
  for (const std::string& candidate : candidate_paths(path)) {
    library = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    tried += fmt::format("{}{}", tried.empty() ? "" : "; ", ::dlerror());
  }
  if (library == nullptr)
    return fail(Errc::kUnavailable, fmt::format("the SQL library cannot be loaded: {}", tried),
                "reinstall millrace, or set MILLRACE_DUCKDB_LIBRARY to libduckdb.so");
  // Lives as long as the process: what is loaded stays.
  static Api functions;
#define MILLRACE_DUCKDB_LOAD(name)                                                                         \
  functions.name = reinterpret_cast<decltype(functions.name)>(::dlsym(library, "duckdb_" #name));          \
  if (functions.name == nullptr) {                                                                         \
    ::dlclose(library);                                                                                    \
    return fail(Errc::kUnavailable, "the SQL library lacks duckdb_" #name, "install the version we ship"); \
  }
  MILLRACE_DUCKDB_FUNCTIONS(MILLRACE_DUCKDB_LOAD)
#undef MILLRACE_DUCKDB_LOAD
  loaded_api = &functions;
  return loaded_api;
}

const Api& api() {
  MILLRACE_CHECK(loaded_api != nullptr, "the SQL library is used before it is loaded");
  return *loaded_api;
}

std::string clean_message(const char* message) {
  std::string_view text = message == nullptr ? std::string_view("unknown error") : std::string_view(message);
  text = text.substr(0, text.find('\n'));
  // "Conversion Error: …": the class says nothing to a user that the sentence does not.
  if (const size_t colon = text.find(" Error: "); colon != std::string_view::npos && colon < 30)
    text.remove_prefix(colon + 8);
  if (const size_t advice = text.find(", but it exists in the "); advice != std::string_view::npos)
    return std::string(text.substr(0, advice));
  while (!text.empty() && text.back() == '!') text.remove_suffix(1);
  return std::string(text);
}

std::string hint_of(const char* message) {
  const std::string_view text = message == nullptr ? std::string_view() : std::string_view(message);
  const size_t begin = text.find("Did you mean ");
  if (begin == std::string_view::npos) return {};
  std::string hint(text.substr(begin, text.find('\n', begin) - begin));
  hint[0] = 'd';
  return hint;
}

Errc errc_of(duckdb_error_type type) {
  switch (type) {
    case DUCKDB_ERROR_OUT_OF_MEMORY:
      return Errc::kTooLarge;
    case DUCKDB_ERROR_INTERRUPT:
      return Errc::kCancelled;
    case DUCKDB_ERROR_INTERNAL:
    case DUCKDB_ERROR_FATAL:
      return Errc::kInternal;
    case DUCKDB_ERROR_IO:
      return Errc::kIo;
    case DUCKDB_ERROR_PERMISSION:
      return Errc::kPermissionDenied;
    default:  // DuckDB's enum grows with its versions; all others blame the statement or its data
      return Errc::kInvalidArgument;
  }
}

}  // namespace millrace::sql
