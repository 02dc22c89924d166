#include "pipeline/lint.h"

#include "base/byte_writer.h"
#include "pipeline/plan_reader.h"

namespace millrace::pipeline {

Linted lint(std::string_view yaml, std::string file, const VariableLookup& lookup) {
  Linted linted{Diagnostics(std::move(file)), {}};
  Plan plan = read_plan(yaml, lookup, linted.diagnostics);
  // Text that is no pipeline at all has been reported; there is nothing to resolve.
  if (plan.sources.empty() && !linted.ok()) return linted;
  linted.plan = resolve(std::move(plan), linted.diagnostics);
  return linted;
}

Result<ResolvedPlan> load_plan(env::FileSystem& files, const std::string& path, const VariableLookup& lookup) {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes content, env::read_file(files, path, kPlanBytesMax));
  Linted linted = lint(as_text(content), path, lookup);
  if (!linted.ok()) return tl::unexpected<Error>(linted.diagnostics.to_error());
  return std::move(linted.plan);
}

}  // namespace millrace::pipeline
