#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "columns/schema.h"
#include "features/internal/history.h"
#include "features/keyed_windows.h"

namespace millrace::features {

// A FeatureSpec bound to the schema of its input: what KeyedWindows computes from each row, and in which order. Moved,
// never copied: outputs point into the spec.
struct WindowPlan {
  // One feature column.
  struct Output {
    const Aggregate* aggregate;
    size_t slot;    // SIZE_MAX: count(*)
    size_t window;  // of the layout's
    size_t column;  // behind the input's
  };

  WindowPlan() = default;
  WindowPlan(WindowPlan&&) = default;
  WindowPlan& operator=(WindowPlan&&) = default;

  // See KeyedWindows::create().
  static Result<WindowPlan> make(const FeatureSpec& spec, columns::SchemaPtr input);

  FeatureSpec spec;  // each aggregate with windows of its own
  columns::SchemaPtr input;
  columns::SchemaPtr output;
  std::vector<size_t> key_columns;
  Layout layout;
  std::vector<Output> outputs;  // ordered by slot, then window: results of nested windows build on each other
  int64_t keep_us = 0;          // how far behind the watermark rows are kept
  uint64_t signature = 0;       // of everything that the saved state depends on

 private:
  Status find_keys();
  Status find_windows();
  Status lay_out_columns();
  void sign();
};

}  // namespace millrace::features
