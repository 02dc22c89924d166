#pragma once

#include <string>
#include <string_view>

#include "base/substitute.h"
#include "env/file_system.h"
#include "pipeline/diagnostics.h"
#include "pipeline/resolve.h"

namespace millrace::pipeline {

// A pipeline file, read and checked: everything that is wrong, and the plan, of use only where nothing is.
struct Linted {
  Diagnostics diagnostics;
  ResolvedPlan plan;

  bool ok() const { return diagnostics.empty(); }
};

// `file` is the name for messages, and its folder where schema files are looked for in `files`; without `files` a plan
// cannot name any.
Linted lint(std::string_view yaml, std::string file, const VariableLookup& lookup = environment_variable,
            env::FileSystem* files = nullptr);

// Reads and checks the file; kInvalidArgument or kNotBuiltYet with one line per finding.
Result<ResolvedPlan> load_plan(env::FileSystem& files, const std::string& path,
                               const VariableLookup& lookup = environment_variable);

inline constexpr uint64_t kPlanBytesMax = 16 << 20;

}  // namespace millrace::pipeline
