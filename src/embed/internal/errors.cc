#include "embed/internal/errors.h"

#include <cstdio>
#include <cstdlib>

namespace millrace::embed::internal {
namespace {

// The public enumerators stand in their own order, which may not follow ours: each is named.
Errc code_of(millrace::Errc code) {
  switch (code) {
    case millrace::Errc::kInvalidArgument:
      return Errc::kInvalidArgument;
    case millrace::Errc::kNotFound:
      return Errc::kNotFound;
    case millrace::Errc::kAlreadyExists:
      return Errc::kAlreadyExists;
    case millrace::Errc::kConflict:
      return Errc::kConflict;
    case millrace::Errc::kCorruption:
      return Errc::kCorruption;
    case millrace::Errc::kIo:
      return Errc::kIo;
    case millrace::Errc::kOutOfSpace:
      return Errc::kOutOfSpace;
    case millrace::Errc::kTooLarge:
      return Errc::kTooLarge;
    case millrace::Errc::kUnsupported:
      return Errc::kUnsupported;
    case millrace::Errc::kNotBuiltYet:
      return Errc::kNotBuiltYet;
    case millrace::Errc::kUnavailable:
      return Errc::kUnavailable;
    case millrace::Errc::kTimedOut:
      return Errc::kTimedOut;
    case millrace::Errc::kPermissionDenied:
      return Errc::kPermissionDenied;
    case millrace::Errc::kCancelled:
      return Errc::kCancelled;
    case millrace::Errc::kInternal:
      return Errc::kInternal;
  }
  return Errc::kInternal;
}

millrace::Errc code_of(Errc code) {
  // All codes of ours, as the switch above maps them.
  for (int i = 0; i <= static_cast<int>(millrace::Errc::kInternal); ++i)
    if (code_of(static_cast<millrace::Errc>(i)) == code) return static_cast<millrace::Errc>(i);
  return millrace::Errc::kInternal;
}

}  // namespace

Error to_public(millrace::Error error) {
  return {code_of(error.code), std::move(error.message), std::move(error.hint)};
}

millrace::Error from_public(const Error& error) { return {code_of(error.code), error.message, error.hint}; }

void no_value(const Error& error) {
  std::fprintf(stderr, "millrace: value() of a failure: %s%s%s\n", error.message.c_str(),
               error.hint.empty() ? "" : "; try: ", error.hint.c_str());
  std::abort();
}

void no_error() {
  std::fputs("millrace: error() of a success\n", stderr);
  std::abort();
}

}  // namespace millrace::embed::internal
