#pragma once

#include <string_view>

#include "base/substitute.h"
#include "pipeline/diagnostics.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

// Reads a pipeline file: ${VAR:-default} is replaced first, then the YAML becomes a plan. All that is wrong goes to
// `diagnostics`, each with its place; the plan is of use only where there is nothing. What follows from the plan as a
// whole (names that must exist, schemas, types) is resolve()'s business.
Plan read_plan(std::string_view yaml, const VariableLookup& lookup, Diagnostics& diagnostics);

}  // namespace millrace::pipeline
