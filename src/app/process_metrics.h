#pragma once

#include "base/clock.h"
#include "base/metrics.h"

namespace millrace::app {

// Have `metrics` show what this process is and takes: under the names that Prometheus' client libraries use
// (process_*), and millrace_build_info, millrace_time_seconds and millrace_uptime_seconds. `clock` must outlive the
// registration; the process counts as started now.
Metrics::Registration show_process(Metrics& metrics, const Clock& clock);

}  // namespace millrace::app
