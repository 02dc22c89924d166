#pragma once

#include <span>
#include <string>
#include <vector>

#include "app/command_line.h"
#include "log/inspect.h"

namespace millrace::app {

// What was looked at and what was found: of a data folder, or of a running server.
struct Diagnosis {
  std::string subject;  // "data folder ./millrace-data"
  std::vector<log::Finding> findings;
  Listing overview;  // a row a partition, or a consumer group
};

// A data folder that no server uses meanwhile; nothing in it is changed. kConflict where a server runs on it. Progress
// of a large folder goes to a terminal.
Result<Diagnosis> examine_folder(const CommandLine& line, log::InspectOptions options);

// A running server, or a cluster: as its clients see it, where it is on this machine as the system sees it, and where
// its HTTP address is known, by its metrics. `http`: HOST:PORT; empty: of the server on the data folder, if any. The
// token for another one is MILLRACE_HTTP_TOKEN.
Result<Diagnosis> examine_server(const CommandLine& line, const std::string& http);

// The overview and the findings, the worst first; JSON is one object. kCorruption where one is Severity::kDamage.
Status show_diagnosis(const CommandLine& line, Diagnosis diagnosis);

}  // namespace millrace::app
