#pragma once

#include "learn/algorithm.h"

namespace millrace::learn::internal {

Algorithm linear_regression();
Algorithm logistic_regression();

}  // namespace millrace::learn::internal
