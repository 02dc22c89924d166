#pragma once

#include <cstddef>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "http/server.h"

namespace millrace::http {

// GET /metrics in Prometheus' text format. Writing it may wait for others, so it has a thread, which sleeps until
// somebody asks. Whoever asks while one answer is being written gets the next one, together with others that do.
class MetricsRoute {
 public:
  // Adds the route: before `server` starts. Both must outlive this, but for the server's stop().
  MetricsRoute(Server& server, Metrics& metrics);
  // stop().
  ~MetricsRoute();
  MetricsRoute(const MetricsRoute&) = delete;
  MetricsRoute& operator=(const MetricsRoute&) = delete;

  // Waits for a running answer; who waits for the next gets none. Before anything stops that collectors ask.
  void stop() EXCLUDES(mutex_);

 private:
  static constexpr size_t kWaitingMax = 64;

  void ask(ResponderPtr responder) EXCLUDES(mutex_);
  void run() EXCLUDES(mutex_);

  Metrics& metrics_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<ResponderPtr> waiting_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace millrace::http
