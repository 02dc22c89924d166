#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/result.h"

namespace millrace::embed {

// One thing that is wrong with a pipeline.
struct Finding {
  int line = 0;  // from 1
  int column = 0;
  Error error;
};

// Everything that is wrong with a pipeline's YAML, in the order of the text; nothing where it can run. ${NAME} in the
// text is the environment's. Loads DuckDB where the pipeline has SQL.
std::vector<Finding> lint(std::string_view yaml);

struct RunOptions {
  // HOST:PORT of a broker, embedded or not. Empty: one that this run has for itself.
  std::string bootstrap = {};
  // Files for sources, by name: csv, jsonl or lines, also gz. Sources without one are read as far as their topics go
  // when the run begins.
  std::map<std::string, std::string> inputs = {};
  // Files for sinks, by id: csv by its ending, else JSON lines. They are written when the run has ended; a file that
  // exists is replaced.
  std::map<std::string, std::string> outputs = {};
  int threads = 1;  // members of each consumer group in this process
};

// What a run did.
struct Report {
  double seconds = 0;  // everything: feeding, running, writing files
  uint64_t records_in = 0;
  uint64_t rows_out = 0;  // written to sinks, all together
  uint64_t filtered = 0;
  uint64_t dead_letters = 0;
  uint64_t waiting = 0;  // for a label that has not come
  // As `millrace pipeline run` prints it: models with their metrics, steps, sinks.
  std::string json;
  std::string text;
};

// A pipeline as its YAML describes it, checked. Copies share it; thread-safe.
class Pipeline {
 public:
  // `name` stands before each place in messages. The error has a line for each finding.
  static Result<Pipeline> parse(std::string_view yaml, const std::string& name = "pipeline.yaml");
  static Result<Pipeline> load(const std::string& path);

  const std::string& name() const;

  // Feed the inputs into the sources' topics, run to their end, write the outputs: `millrace pipeline run`. Blocks.
  // With one order of input there is one result. kCancelled when `stop` came first.
  Result<Report> run(const RunOptions& options, std::stop_token stop = {}) const;

  // Be a worker of this pipeline on a broker until `stop`, or an error that trying again cannot mend. Blocks. Ending
  // the process at any moment loses nothing: whoever runs the pipeline next goes on from the last commit.
  Status work(const std::string& bootstrap, std::stop_token stop, int threads = 1) const;

 private:
  struct Impl;
  explicit Pipeline(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace millrace::embed
