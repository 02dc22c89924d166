#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/byte_writer.h"
#include "base/result.h"

namespace millrace::state {

// State is written in pages: a window's rows, a waiting event, a piece of a learner. A page holds at most this much.
inline constexpr size_t kPageBytesMax = 64 << 10;
// A key of state (a card, a customer), at most.
inline constexpr size_t kKeyBytesMax = 32 << 10;

// Which state a page belongs to: a step, in the shape its definition gave it. With another signature it is other state.
struct StepId {
  std::string step;        // the step's id in the pipeline file
  uint64_t signature = 0;  // of what the state means: aggregates, windows, columns

  friend auto operator<=>(const StepId&, const StepId&) = default;
};

struct PageId {
  StepId step;
  std::string key;  // any bytes; empty for state that is not keyed
  uint64_t page = 0;

  friend auto operator<=>(const PageId&, const PageId&) = default;
};

// Where a step's changed pages go at a commit: into the changelog. Views are read before the call returns.
class PageSink {
 public:
  virtual ~PageSink() = default;
  // The page is now `value` (not empty, at most kPageBytesMax).
  virtual void put(ByteView key, uint64_t page, ByteView value) = 0;
  // The page is no more.
  virtual void erase(ByteView key, uint64_t page) = 0;
};

// State that a step keeps in a form of its own (windows, waiting rows, learners) and hands over as pages. The owner
// collects at each commit; when that commit fails or is given up, the state is of no use: make it anew and restore the
// committed pages.
class Paged {
 public:
  virtual ~Paged() = default;
  // Hand over every page that changed since the last call, and forget that it changed.
  virtual void collect(PageSink& sink) = 0;
  // Take a page back, in ascending order of (key, page), into state that has not been used yet. kCorruption: the bytes
  // are no such page.
  virtual Status restore(ByteView key, uint64_t page, ByteView value) = 0;
};

}  // namespace millrace::state
