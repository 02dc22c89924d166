#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace millrace::pipeline {

// Where something stands in a pipeline file, from 1; line 0 for a plan that was built in code.
struct Place {
  int line = 0;
  int column = 0;

  friend bool operator==(const Place&, const Place&) = default;
};

// One thing that is wrong with a plan.
struct Diagnostic {
  Place place;
  Error error;
};

// Collects everything that is wrong, so that one run of `lint` shows it all.
class Diagnostics {
 public:
  // `file` stands before each place in messages; empty for a plan built in code.
  explicit Diagnostics(std::string file = {}) : file_(std::move(file)) {}

  void add(Place place, Errc code, std::string message, std::string hint = {}) {
    list_.push_back({place, {code, std::move(message), std::move(hint)}});
  }
  void invalid(Place place, std::string message, std::string hint = {}) {
    add(place, Errc::kInvalidArgument, std::move(message), std::move(hint));
  }
  // "`what`: not built yet", for what later versions of the language bring.
  void not_built_yet(Place place, std::string_view what, std::string hint = {}) {
    add(place, Errc::kNotBuiltYet, std::string(what) + ": not built yet", std::move(hint));
  }
  // `error` of another module, at `place`.
  void add(Place place, Error error) { list_.push_back({place, std::move(error)}); }

  bool empty() const { return list_.empty(); }
  size_t size() const { return list_.size(); }
  const std::string& file() const { return file_; }
  const std::vector<Diagnostic>& list() const { return list_; }
  // In the order of the file.
  void sort();

  // "file:line:column: message".
  std::string to_string(const Diagnostic& diagnostic) const;
  // Everything as one error: the first diagnostic's code, one line each. Precondition: not empty.
  Error to_error() const;

 private:
  std::string file_;
  std::vector<Diagnostic> list_;
};

}  // namespace millrace::pipeline
