#pragma once

#include <string>
#include <utility>
#include <variant>

namespace millrace::embed {

// What kind of failure this is, for code that must decide; people read Error::message. Values are added, never renamed.
enum class Errc {
  kInvalidArgument,   // the caller's input is wrong: a bad option, a bad name, a malformed file
  kNotFound,          // what was named does not exist
  kAlreadyExists,     // what was to be made exists
  kConflict,          // the state does not allow it now: a port in use, a data folder that another process has
  kCorruption,        // bytes that cannot be what they claim to be
  kIo,                // the operating system failed a read, write or sync
  kOutOfSpace,        // the disk is full
  kTooLarge,          // over a named bound
  kUnsupported,       // valid, but never served
  kNotBuiltYet,       // part of the language, refused by name until a later version
  kUnavailable,       // a server cannot be reached, or is stopping
  kTimedOut,          // no answer within the time given
  kPermissionDenied,  // the operating system or the server refuses the caller
  kCancelled,         // stopped by the caller
  kInternal,          // a defect of Millrace's
};

// A failure as a value: a code to decide on, a sentence for people (what failed, where), and what to try.
struct [[nodiscard]] Error {
  Errc code = Errc::kInternal;
  std::string message;
  std::string hint;  // empty, or one command or action
};

namespace internal {
// Say on stderr what went wrong, and abort.
[[noreturn]] void no_value(const Error& error);
[[noreturn]] void no_error();
}  // namespace internal

// A T, or the Error that is there in its place. Nothing here throws: asking for the one that is not there ends the
// program with the error on stderr, so that value() is all that a test needs.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : outcome_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : outcome_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return outcome_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return *checked(); }
  const T& value() const& { return *const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(*checked()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return checked(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    const Error* error = std::get_if<1>(&outcome_);
    if (error == nullptr) internal::no_error();
    return *error;
  }

 private:
  T* checked() {
    if (!ok()) internal::no_value(error());
    return std::get_if<0>(&outcome_);
  }

  std::variant<T, Error> outcome_;
};

// For functions that fail or do their job, and return nothing else.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error)) {}

  bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  void value() const {
    if (failed_) internal::no_value(error_);
  }
  const Error& error() const {
    if (!failed_) internal::no_error();
    return error_;
  }

 private:
  bool failed_ = false;
  Error error_;
};

using Status = Result<void>;

}  // namespace millrace::embed
