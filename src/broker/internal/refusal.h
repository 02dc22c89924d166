#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "wire/error_code.h"

namespace millrace::broker {

// Why a part of an administrative request is not done, as its answer says it.
struct Refusal {
  wire::ErrorCode error = wire::ErrorCode::kNone;
  std::string message;
};

inline tl::unexpected<Refusal> refuse(wire::ErrorCode error, std::string message) {
  return tl::unexpected(Refusal{error, std::move(message)});
}

}  // namespace millrace::broker
