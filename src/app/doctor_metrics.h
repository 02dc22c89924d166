#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "log/inspect.h"

namespace millrace::app {

// What a server answered to GET /metrics.
struct Scrape {
  std::string server;  // HOST:PORT, as findings name it
  std::string text;    // Prometheus' text format; may be anything
  WallTime asked;      // by this machine's clock
  WallTime answered;
};

// What the figures say of the server: its version, its clock beside this machine's, damage, failures, slow syncs. The
// clocks are compared to within the time that the answer took. `own_version` is that of this program.
std::vector<log::Finding> examine_metrics(const Scrape& scrape, std::string_view own_version);

}  // namespace millrace::app
