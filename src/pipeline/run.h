#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "client/options.h"
#include "env/file_system.h"
#include "format/infer.h"
#include "pipeline/report.h"
#include "pipeline/resolve.h"

namespace millrace::pipeline {

// A source or sink and a file: `SOURCE=FILE` of the command line.
struct FileBinding {
  std::string name;
  std::string path;
};
Result<FileBinding> parse_binding(std::string_view text);

struct RunProgress {
  enum class Phase { kFeeding, kRunning, kWriting };
  Phase phase = Phase::kFeeding;
  std::string what;   // the source, the pipeline, or the sink
  uint64_t done = 0;  // bytes of the file; records; records
  uint64_t total = 0;
};

struct RunOptions {
  client::Options client;  // an embedded broker, or any other
  // Files for sources: csv, jsonl or lines, gzip or not. Sources without one are read as far as their topics go now.
  std::vector<FileBinding> inputs;
  // Files for sinks: .csv, else JSON lines.
  std::vector<FileBinding> outputs;
  int threads = 1;
  std::function<void(const RunProgress&)> progress;  // now and then, from the caller's thread and one other
};

// Feeds files into the sources' topics (keyed by the source's key, at their event time), runs the pipeline to the end
// of that input, writes the sinks' files. With one order of input lines there is one result, however it is cut.
// kCancelled when `stop` came first.
Result<Report> run(ResolvedPlan plan, RunOptions options, env::FileSystem& files, const Clock& clock,
                   std::stop_token stop);

// The `sources:` entry that declares the columns of what `target`, a file of events, holds.
Result<std::string> infer_file(const std::string& target);
// The same of a topic, from its first records.
Result<std::string> infer_topic(const client::Options& client, const std::string& topic);

}  // namespace millrace::pipeline
