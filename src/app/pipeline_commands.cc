#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>
#include <thread>

#include "app/command_line.h"
#include "app/connection.h"
#include "app/shutdown.h"
#include "base/mutex.h"
#include "base/utf8.h"
#include "embed/local_broker.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "pipeline/lint.h"
#include "pipeline/run.h"
#include "pipeline/worker.h"

namespace millrace::app {
namespace {

// Every finding, as compilers write them, so that editors can jump there; with -o json one object each.
Status lint_files(const CommandLine& line, const std::vector<std::string>& files) {
  env::PosixFileSystem file_system;
  Listing findings{{"file", "line", "column", "message", "try"}, {}, ""};
  for (const auto& file : files) {
    MILLRACE_ASSIGN_OR_RETURN(const Bytes text, env::read_file(file_system, file, pipeline::kPlanBytesMax));
    const auto linted = pipeline::lint(as_text(text), file, environment_variable, &file_system);
    for (const auto& finding : linted.diagnostics.list())
      findings.rows.push_back({file, int64_t{finding.place.line}, int64_t{finding.place.column}, finding.error.message,
                               finding.error.hint.empty() ? Cell() : Cell(finding.error.hint)});
    if (line.output != OutputFormat::kTable) continue;
    for (const auto& finding : linted.diagnostics.list()) {
      line.out << linted.diagnostics.to_string(finding) << '\n';
      if (!finding.error.hint.empty()) line.out << "  try: " << finding.error.hint << '\n';
    }
    if (linted.ok()) line.notes << file << ": ok\n";
  }
  if (line.output != OutputFormat::kTable) line.show(findings);
  if (findings.rows.empty()) return {};
  return fail(Errc::kInvalidArgument,
              fmt::format("the check failed: {} finding{}", findings.rows.size(), findings.rows.size() == 1 ? "" : "s"),
              "mend what is named above, and lint again");
}

// A file if there is one of that name, else a topic.
Status infer(const CommandLine& line, const std::string& what) {
  env::PosixFileSystem files;
  MILLRACE_ASSIGN_OR_RETURN(const bool is_file, files.exists(what));
  const auto yaml = is_file ? pipeline::infer_file(what) : pipeline::infer_topic(connection(line), what);
  if (!yaml && !is_file) {
    Error error = yaml.error();
    error.message = fmt::format("{} is no file, and cannot be read as a topic: {}", what, error.message);
    if (error.hint.empty()) error.hint = "millrace topic list";
    return tl::unexpected(std::move(error));
  }
  if (!yaml) return tl::unexpected(yaml.error());
  line.out << *yaml;
  line.notes << "a suggestion to check; put it under sources:\n";
  return {};
}

constexpr int kThreadsMax = 256;

struct RunFlags {
  std::string file;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  int threads = 1;
};

// The bar is redrawn in place on a terminal, and not shown elsewhere.
class ProgressBar {
 public:
  explicit ProgressBar(std::ostream& out) : out_(out), shown_(::isatty(STDERR_FILENO) != 0) {}
  ~ProgressBar() {
    if (shown_ && drawn_) out_ << "\r\033[K" << std::flush;
  }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(const pipeline::RunProgress& progress) {
    if (!shown_) return;
    MutexLock lock(mutex_);
    constexpr uint64_t kWidth = 30;
    const uint64_t filled = progress.total == 0 ? 0 : std::min(kWidth, progress.done * kWidth / progress.total);
    std::string text =
        fmt::format("{:8} [{:{}}] {}", phase_name(progress.phase), std::string(filled, '#'), kWidth, progress.what);
    text.resize(std::min(text.size(), columns()));
    while (!is_utf8(text)) text.pop_back();  // a character that was cut
    out_ << "\r\033[K" << text << std::flush;
    drawn_ = true;
  }

 private:
  static const char* phase_name(pipeline::RunProgress::Phase phase) {
    switch (phase) {
      case pipeline::RunProgress::Phase::kFeeding:
        return "feeding";
      case pipeline::RunProgress::Phase::kRunning:
        return "running";
      case pipeline::RunProgress::Phase::kWriting:
        return "writing";
    }
    return "";
  }

  // A line that reaches the last column would wrap, and stay when it is drawn again.
  static size_t columns() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1u : 79u;
  }

  std::ostream& out_;
  const bool shown_;
  Mutex mutex_;  // progress comes from two threads
  bool drawn_ = false;
};

Result<std::vector<pipeline::FileBinding>> parse_bindings(const std::vector<std::string>& texts) {
  std::vector<pipeline::FileBinding> bindings;
  for (const auto& text : texts) {
    MILLRACE_ASSIGN_OR_RETURN(auto binding, pipeline::parse_binding(text));
    bindings.push_back(std::move(binding));
  }
  return bindings;
}

// A member of the pipeline's groups until it is told to stop: how a second worker joins.
Status run_worker(const CommandLine& line, pipeline::ResolvedPlan plan, const RunFlags& flags, std::stop_token stop) {
  const env::SystemClock clock;
  MILLRACE_ASSIGN_OR_RETURN(
      const auto worker,
      pipeline::Worker::make(std::move(plan), {.client = connection(line), .threads = flags.threads}, clock));
  line.notes << fmt::format("{}: {}; Ctrl-C stops\n", worker->plan().plan.name, pipeline::Worker::guarantee());
  return worker->run(stop);
}

Status run(const CommandLine& line, const RunFlags& flags) {
  const StopOnSignal signal;
  env::PosixFileSystem files;
  const env::SystemClock clock;
  MILLRACE_ASSIGN_OR_RETURN(auto plan, pipeline::load_plan(files, flags.file));
  if (flags.inputs.empty() && !line.bootstrap.empty()) return run_worker(line, std::move(plan), flags, signal.token());
  if (flags.inputs.empty())
    return fail(Errc::kInvalidArgument, "nothing to run on: neither --input nor --bootstrap is given",
                fmt::format("millrace pipeline run {} --input SOURCE=FILE", flags.file));

  pipeline::RunOptions options;
  MILLRACE_ASSIGN_OR_RETURN(options.inputs, parse_bindings(flags.inputs));
  MILLRACE_ASSIGN_OR_RETURN(options.outputs, parse_bindings(flags.outputs));
  std::unique_ptr<embed::LocalBroker> broker;
  options.client = connection(line);
  if (line.bootstrap.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(broker, embed::LocalBroker::start());
    options.client.bootstrap = broker->bootstrap();
  }
  options.threads = flags.threads;
  line.notes << fmt::format("{}: {}\n", plan.plan.name, pipeline::Worker::guarantee());
  Result<pipeline::Report> report = tl::unexpected(Error{});
  {
    ProgressBar bar(line.notes);
    options.progress = [&bar](const pipeline::RunProgress& progress) { bar.show(progress); };
    report = pipeline::run(std::move(plan), std::move(options), files, clock, signal.token());
  }
  if (!report) return tl::unexpected(report.error());
  line.out << (line.output == OutputFormat::kJson ? report->to_json() + "\n" : report->to_text());
  return {};
}

}  // namespace

void add_pipeline_commands(CLI::App& root, CommandLine& line) {
  auto* pipeline = root.add_subcommand("pipeline", "pipelines: lint, infer, run");
  pipeline->require_subcommand(1);

  auto linting = std::make_shared<std::vector<std::string>>();
  auto* lint = pipeline->add_subcommand("lint", "check pipeline files: every finding with file:line:column");
  lint->add_option("files", *linting, "YAML files")->required();
  lint->callback([&line, linting] { line.selected = [&line, linting] { return lint_files(line, *linting); }; });

  auto inferring = std::make_shared<std::string>();
  auto* infer_command = pipeline->add_subcommand("infer", "write a source's columns from a sample of a file or topic");
  infer_command->add_option("what", *inferring, "a csv, jsonl or text file (also gz), or a topic")->required();
  infer_command->callback(
      [&line, inferring] { line.selected = [&line, inferring] { return infer(line, *inferring); }; });

  auto running = std::make_shared<RunFlags>();
  auto* run_command = pipeline->add_subcommand(
      "run", "run a pipeline over files, to their end; with --bootstrap and no --input, as a worker until Ctrl-C");
  run_command->add_option("file", running->file, "the pipeline")->required();
  run_command->add_option("--input", running->inputs, "csv, jsonl or lines, also gz; may be repeated")
      ->type_name("SOURCE=FILE");
  run_command->add_option("--output", running->outputs, "csv by its ending, else JSON lines; may be repeated")
      ->type_name("SINK=FILE");
  run_command->add_option("--threads", running->threads, "members of each consumer group in this process [1]")
      ->check(CLI::Range(1, kThreadsMax));
  run_command->callback([&line, running] { line.selected = [&line, running] { return run(line, *running); }; });
}

}  // namespace millrace::app
