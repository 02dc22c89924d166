#pragma once

#include <memory>
#include <string>

#include "columns/batch.h"
#include "sql/database.h"

namespace millrace::sql {

// The rows that a batch function shows next: set before each run. One thread.
struct BatchWindow {
  columns::SchemaPtr schema;
  const columns::Batch* batch = nullptr;
  size_t begin = 0;
  size_t end = 0;
};

// Registers table function `name()`, which shows `window` (its schema's columns and kRowColumn, the row's number in the
// batch). `window` must outlive every statement that uses the function; the function keeps a share of it.
Status register_batch_function(Connection& connection, const std::string& name, std::shared_ptr<BatchWindow> window);

}  // namespace millrace::sql
