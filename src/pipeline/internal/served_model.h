#pragma once

#include <cstdint>
#include <memory>

#include "learn/model.h"

namespace millrace::pipeline {

// A version that predictions are made with.
struct ServedModel {
  int64_t version = 0;
  learn::Model model;
};

}  // namespace millrace::pipeline
