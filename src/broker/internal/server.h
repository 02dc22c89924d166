#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/metrics.h"
#include "broker/broker.h"

namespace millrace::broker {

class FrameHandler;
class IoThread;
class Listener;
class RateLimit;
class RequestMetrics;
struct SessionShared;

// The network side: the I/O threads, the listeners and all sessions. Knows frames, not what is in them.
class Server {
 public:
  Server(const Settings& settings, Clock& clock, RequestMetrics& requests);
  ~Server();

  // Take the ports, without accepting yet.
  Status listen(const std::vector<ListenerOptions>& listeners);
  // Run the threads and accept connections, whose frames go to `handler`. It must outlive stop().
  void start(FrameHandler& handler);
  // Join the threads and close the listeners. Connections are closed at destruction, unless before.
  void stop();

  size_t threads() const { return threads_.size(); }
  IoThread& thread(size_t index) const;
  // Run the timers that are due, on each thread.
  void clock_moved();

  uint16_t port(size_t listener) const;
  uint64_t queued_request_bytes() const;
  uint64_t connections() const { return connections_.load(std::memory_order_relaxed); }
  // What went through connections and what they hold; thread-safe.
  void collect(Exposition& out) const;

 private:
  const uint64_t connections_max_;
  std::atomic<uint64_t> connections_{0};
  Counter refused_;
  Counter bytes_in_;
  Counter bytes_out_;
  // Sessions refer to `shared_` and are owned by the threads' contexts: the threads go first.
  std::unique_ptr<SessionShared> shared_;
  std::unique_ptr<RateLimit> rejects_;
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  size_t next_thread_ = 0;
};

}  // namespace millrace::broker
