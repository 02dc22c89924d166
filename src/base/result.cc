#include "base/result.h"

namespace millrace {

const char* errc_name(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "InvalidArgument";
    case Errc::kNotFound:
      return "NotFound";
    case Errc::kAlreadyExists:
      return "AlreadyExists";
    case Errc::kConflict:
      return "Conflict";
    case Errc::kCorruption:
      return "Corruption";
    case Errc::kIo:
      return "Io";
    case Errc::kOutOfSpace:
      return "OutOfSpace";
    case Errc::kTooLarge:
      return "TooLarge";
    case Errc::kUnsupported:
      return "Unsupported";
    case Errc::kNotBuiltYet:
      return "NotBuiltYet";
    case Errc::kUnavailable:
      return "Unavailable";
    case Errc::kTimedOut:
      return "TimedOut";
    case Errc::kPermissionDenied:
      return "PermissionDenied";
    case Errc::kCancelled:
      return "Cancelled";
    case Errc::kInternal:
      return "Internal";
  }
  return "Unknown";
}

}  // namespace millrace
