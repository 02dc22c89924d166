#pragma once

#include <string>
#include <vector>

#include "pipeline/status.h"

namespace millrace::pipeline {

// What a run did, at its end.
struct Report {
  double seconds = 0;  // everything: feeding, running, writing files
  std::vector<PipelineStatus> pipelines;

  // {"seconds": …, "pipelines": [{"name", "rows_in", "rows_out", "filtered", "dead_letters", "waiting", "events_per_s",
  //  "models": [{"name", "version", "champion", "rows", "metrics": {"learner": {…}, "live": {…}}}], "steps": […],
  //  "sinks": […]}]}
  std::string to_json() const;
  // For people: a table of steps and one line a model, lines ended by newlines.
  std::string to_text() const;
};

}  // namespace millrace::pipeline
