#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace millrace {

// What kind of failure this is, for code that must decide; people read Error::message. The broker maps these to Kafka's
// error codes and the command line to exit codes, each in one exhaustive switch.
enum class Errc {
  kInvalidArgument,   // the caller's input is wrong: a bad option, a bad name, a malformed file
  kNotFound,          // what was named does not exist
  kAlreadyExists,     // what was to be made exists
  kConflict,          // the state does not allow it now: a lock, a fencing, a version of another kind
  kCorruption,        // bytes that cannot be what they claim to be
  kIo,                // the operating system failed a read, write or sync
  kOutOfSpace,        // the disk is full
  kTooLarge,          // over a named bound
  kUnsupported,       // valid, but this build never serves it
  kNotBuiltYet,       // part of the language, refused by name until a later version
  kUnavailable,       // a server cannot be reached, or is stopping
  kTimedOut,          // no answer within the time given
  kPermissionDenied,  // the operating system or the server refuses the caller
  kCancelled,         // stopped by the user or by shutdown
  kInternal,          // a defect of ours that is not worth a crash
};

// A failure as a value: a code to decide on, a sentence for people (what failed, where), and what to try.
struct [[nodiscard]] Error {
  Errc code = Errc::kInternal;
  std::string message;
  std::string hint;  // empty, or one command or action: shown after "try: "

  friend bool operator==(const Error&, const Error&) = default;
};

template <typename T>
using Result = tl::expected<T, Error>;

// For functions that fail or do their job, and return nothing else.
using Status = Result<void>;

inline tl::unexpected<Error> fail(Errc code, std::string message, std::string hint = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(hint)});
}

// The code's name as in the enum, without the k: "NotFound".
const char* errc_name(Errc code);

}  // namespace millrace

#define MILLRACE_CONCAT_INNER(a, b) a##b
#define MILLRACE_CONCAT(a, b) MILLRACE_CONCAT_INNER(a, b)

// Return the error of `expression`, a Status or Result, from the enclosing function if it failed.
#define MILLRACE_RETURN_IF_ERROR(expression)                                          \
  do {                                                                                \
    if (auto millrace_status = (expression); !millrace_status)                        \
      return ::tl::unexpected<::millrace::Error>(std::move(millrace_status).error()); \
  } while (false)

// `declaration = value of expression`, or return its error: MILLRACE_ASSIGN_OR_RETURN(const auto size, file->size());
#define MILLRACE_ASSIGN_OR_RETURN(declaration, expression)                                                      \
  auto MILLRACE_CONCAT(millrace_result_, __LINE__) = (expression);                                              \
  if (!MILLRACE_CONCAT(millrace_result_, __LINE__))                                                             \
    return ::tl::unexpected<::millrace::Error>(std::move(MILLRACE_CONCAT(millrace_result_, __LINE__)).error()); \
  /* `declaration` declares: it cannot stand in parentheses. NOLINTNEXTLINE(bugprone-macro-parentheses) */      \
  declaration = std::move(*MILLRACE_CONCAT(millrace_result_, __LINE__))
