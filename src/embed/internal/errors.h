#pragma once

#include "base/result.h"
#include "millrace/result.h"

// Errors cross the public headers as a type of their own, so that embedders need none of the libraries we build with.
namespace millrace::embed::internal {

Error to_public(millrace::Error error);
millrace::Error from_public(const Error& error);

inline Status to_public(millrace::Status status) {
  if (status) return {};
  return to_public(std::move(status).error());
}

}  // namespace millrace::embed::internal

// Return the error of `expression`, a millrace::Result, as the public type; else declare its value.
#define MILLRACE_EMBED_ASSIGN_OR_RETURN(declaration, expression)                                                   \
  auto MILLRACE_CONCAT(millrace_result_, __LINE__) = (expression);                                                 \
  if (!MILLRACE_CONCAT(millrace_result_, __LINE__))                                                                \
    return ::millrace::embed::internal::to_public(std::move(MILLRACE_CONCAT(millrace_result_, __LINE__)).error()); \
  /* `declaration` declares: it cannot stand in parentheses. NOLINTNEXTLINE(bugprone-macro-parentheses) */         \
  declaration = std::move(*MILLRACE_CONCAT(millrace_result_, __LINE__))
