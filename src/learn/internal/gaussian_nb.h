#pragma once

#include "learn/algorithm.h"

namespace millrace::learn::internal {

Algorithm gaussian_naive_bayes();

}  // namespace millrace::learn::internal
