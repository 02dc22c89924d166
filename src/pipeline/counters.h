#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

// What became of a step's input rows: in = out + filtered + dead_letters + waiting. What a step makes anew (closed
// windows) is `emitted`, counted apart.
struct StepCounters {
  std::string id;
  std::string kind;  // "source", "sql", …
  uint64_t in = 0;
  uint64_t out = 0;
  uint64_t filtered = 0;
  uint64_t dead_letters = 0;
  uint64_t waiting = 0;  // now
  uint64_t emitted = 0;
  uint64_t late = 0;  // among `in`

  void add(const StepCounters& other) {
    in += other.in;
    out += other.out;
    filtered += other.filtered;
    dead_letters += other.dead_letters;
    waiting += other.waiting;
    emitted += other.emitted;
    late += other.late;
  }
  bool closes() const { return in == out + filtered + dead_letters + waiting; }
};

}  // namespace millrace::pipeline
