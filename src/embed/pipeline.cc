#include "millrace/pipeline.h"

#include <fmt/core.h>

#include "embed/internal/errors.h"
#include "embed/local_broker.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "pipeline/lint.h"
#include "pipeline/run.h"
#include "pipeline/worker.h"

namespace millrace::embed {
namespace {

std::vector<pipeline::FileBinding> bindings_of(const std::map<std::string, std::string>& files) {
  std::vector<pipeline::FileBinding> bindings;
  for (const auto& [name, path] : files) bindings.push_back({name, path});
  return bindings;
}

Report to_public(const pipeline::Report& report) {
  const pipeline::PipelineStatus& status = report.pipelines.front();
  return {.seconds = report.seconds,
          .records_in = status.records_in,
          .rows_out = status.rows_out,
          .filtered = status.filtered,
          .dead_letters = status.dead_letters,
          .waiting = status.waiting,
          .json = report.to_json(),
          .text = report.to_text()};
}

}  // namespace

std::vector<Finding> lint(std::string_view yaml) {
  pipeline::Linted linted = pipeline::lint(yaml, {});
  linted.diagnostics.sort();
  std::vector<Finding> findings;
  for (const pipeline::Diagnostic& diagnostic : linted.diagnostics.list())
    findings.push_back({diagnostic.place.line, diagnostic.place.column, internal::to_public(diagnostic.error)});
  return findings;
}

struct Pipeline::Impl {
  pipeline::ResolvedPlan plan;
};

Pipeline::Pipeline(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Result<Pipeline> Pipeline::parse(std::string_view yaml, const std::string& name) {
  if (yaml.size() > pipeline::kPlanBytesMax)
    return Error{Errc::kTooLarge, fmt::format("{} has more than {} bytes", name, pipeline::kPlanBytesMax), ""};
  pipeline::Linted linted = pipeline::lint(yaml, name);
  if (!linted.ok()) return internal::to_public(linted.diagnostics.to_error());
  return Pipeline(std::make_shared<const Impl>(std::move(linted.plan)));
}

Result<Pipeline> Pipeline::load(const std::string& path) {
  env::PosixFileSystem files;
  MILLRACE_EMBED_ASSIGN_OR_RETURN(auto plan, pipeline::load_plan(files, path));
  return Pipeline(std::make_shared<const Impl>(std::move(plan)));
}

const std::string& Pipeline::name() const { return impl_->plan.plan.name; }

Result<Report> Pipeline::run(const RunOptions& options, std::stop_token stop) const {
  env::PosixFileSystem files;
  const env::SystemClock clock;
  std::unique_ptr<LocalBroker> own;
  pipeline::RunOptions running;
  running.client.bootstrap = options.bootstrap;
  if (options.bootstrap.empty()) {
    MILLRACE_EMBED_ASSIGN_OR_RETURN(own, LocalBroker::start());
    running.client.bootstrap = own->bootstrap();
  }
  running.inputs = bindings_of(options.inputs);
  running.outputs = bindings_of(options.outputs);
  running.threads = options.threads;
  MILLRACE_EMBED_ASSIGN_OR_RETURN(const auto report,
                                  pipeline::run(impl_->plan, std::move(running), files, clock, std::move(stop)));
  return to_public(report);
}

Status Pipeline::work(const std::string& bootstrap, std::stop_token stop, int threads) const {
  const env::SystemClock clock;
  pipeline::WorkerOptions working;
  working.client.bootstrap = bootstrap;
  working.threads = threads;
  MILLRACE_EMBED_ASSIGN_OR_RETURN(const auto worker, pipeline::Worker::make(impl_->plan, std::move(working), clock));
  return internal::to_public(worker->run(stop));
}

}  // namespace millrace::embed
