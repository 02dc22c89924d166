#include "app/process_metrics.h"

#include <chrono>

#include "env/process_stats.h"

namespace millrace::app {

Metrics::Registration show_process(Metrics& metrics, const Clock& clock) {
  const WallTime started = clock.wall_now();
  const MonoTime up_since = clock.mono_now();
  return metrics.add_collector([&clock, started, up_since](Exposition& out) {
    using enum Exposition::Type;
    out.family("millrace_build_info", "1; the label says which version runs.", kGauge)
        .add({{"version", MILLRACE_VERSION}}, 1);
    out.family("millrace_time_seconds", "The server's wall clock, since 1970 in UTC.", kGauge)
        .add({}, static_cast<double>(to_unix_us(clock.wall_now())) * 1e-6);
    out.family("millrace_uptime_seconds", "Since the process was started.", kGauge)
        .add({}, std::chrono::duration<double>(clock.mono_now() - up_since).count());
    out.family("process_start_time_seconds", "When the process was started, since 1970 in UTC.", kGauge)
        .add({}, static_cast<double>(to_unix_us(started)) * 1e-6);
    const auto stats = env::process_stats();
    if (!stats) return;
    out.family("process_cpu_seconds_total", "User and system time of all threads.", kCounter).add({}, stats->cpu_s);
    out.family("process_resident_memory_bytes", "Memory in RAM.", kGauge).add({}, stats->resident_bytes);
    out.family("process_virtual_memory_bytes", "Address space.", kGauge).add({}, stats->virtual_bytes);
    out.family("process_threads", "Threads.", kGauge).add({}, stats->threads);
    out.family("process_open_fds", "Open files and sockets.", kGauge).add({}, stats->open_files);
    out.family("process_max_fds", "The most that may be open.", kGauge).add({}, stats->open_files_max);
  });
}

}  // namespace millrace::app
