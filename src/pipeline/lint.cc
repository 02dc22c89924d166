#include "pipeline/lint.h"

#include <fmt/core.h>

#include "base/byte_writer.h"
#include "pipeline/plan_reader.h"

namespace millrace::pipeline {

namespace {

std::string beside(const std::string& file, const std::string& name) {
  if (name.starts_with('/')) return name;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? name : file.substr(0, slash + 1) + name;
}

void read_schema(SourcePlan& source, const std::string& plan_file, env::FileSystem* files, Diagnostics& diagnostics) {
  const auto report = [&](const Error& error) {
    diagnostics.invalid(source.schema_file.place,
                        fmt::format("source '{}': schema {}: {}", source.name, source.schema_file.value, error.message),
                        error.hint);
  };
  if (files == nullptr)
    return report({Errc::kInvalidArgument, "this plan is in no folder where the file could lie", {}});
  const auto content = env::read_file(*files, beside(plan_file, source.schema_file.value), format::kJsonSchemaBytesMax);
  if (!content) return report(content.error());
  auto schema = format::JsonSchema::parse(as_text(*content));
  if (!schema) return report(schema.error());
  source.json_schema = std::move(*schema);
}

}  // namespace

Linted lint(std::string_view yaml, std::string file, const VariableLookup& lookup, env::FileSystem* files) {
  Linted linted{Diagnostics(std::move(file)), {}};
  Plan plan = read_plan(yaml, lookup, linted.diagnostics);
  for (SourcePlan& source : plan.sources)
    if (!source.schema_file.empty()) read_schema(source, linted.diagnostics.file(), files, linted.diagnostics);
  // Text that is no pipeline at all has been reported; there is nothing to resolve.
  if (plan.sources.empty() && !linted.ok()) return linted;
  linted.plan = resolve(std::move(plan), linted.diagnostics);
  return linted;
}

Result<ResolvedPlan> load_plan(env::FileSystem& files, const std::string& path, const VariableLookup& lookup) {
  MILLRACE_ASSIGN_OR_RETURN(const Bytes content, env::read_file(files, path, kPlanBytesMax));
  Linted linted = lint(as_text(content), path, lookup, &files);
  if (!linted.ok()) return tl::unexpected<Error>(linted.diagnostics.to_error());
  return std::move(linted.plan);
}

}  // namespace millrace::pipeline
