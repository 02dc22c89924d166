#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "base/uuid.h"
#include "broker/settings.h"
#include "env/file_system.h"

namespace millrace::broker {

// One address to listen on. What a client is told to connect to (Metadata, FindCoordinator) is the advertised address
// of the listener it came in by, so a public name never stands between a local client and its broker.
struct ListenerOptions {
  std::string name;                // for logs and address(): "PLAINTEXT", "INTERNAL"; unique
  std::string host = "127.0.0.1";  // a name or an address; every address it resolves to is listened on
  uint16_t port = 9092;            // 0: a free one
  std::string advertised_host;     // empty: `host`
  uint16_t advertised_port = 0;    // 0: the port listened on
};

struct BrokerOptions {
  std::string data_dir;  // made when missing; belongs to this broker alone while it runs
  std::vector<ListenerOptions> listeners;
  Settings settings;
  // Called once, on any thread, when the log has failed for good (a write or a sync of it did): nothing more can be
  // acknowledged, and the process should end. The broker logs it in any case.
  std::function<void(const Error&)> on_fatal;
};

// What one listener really got.
struct ListenerAddress {
  std::string host;
  uint16_t port = 0;
};

struct TopicStats {
  std::string name;
  bool internal = false;
  int32_t partitions = 0;
  uint64_t records_in = 0;  // since start
  uint64_t bytes_in = 0;
  uint64_t records_out = 0;
  uint64_t bytes_out = 0;
};

struct BrokerStats {
  uint64_t connections = 0;
  uint64_t queued_request_bytes = 0;  // of requests being read or in work
  uint64_t groups = 0;
  std::vector<TopicStats> topics;  // by name
};

// A Kafka broker for one machine. It owns its threads, sockets and the data folder's log; what it serves and its limits
// are in docs/manual/broker.md, who owns what inside in README.md.
class Broker {
 public:
  // Take the ports, then open the log and replay it, then serve. Ports are taken first, so that a port in use is an
  // error before anything on disk is touched. `files`, `clock` and `metrics` must outlive the broker; `random` is the
  // source of topic ids and member ids. kConflict: a port in use, or a data folder that another process has or another
  // version made; kInvalidArgument: options that make no sense; kIo, kCorruption: the log.
  static Result<std::unique_ptr<Broker>> start(BrokerOptions options, env::FileSystem& files, Clock& clock,
                                               Random random, Metrics& metrics);
  // stop(), if it was not called.
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // Close the listeners and every connection, join the threads, sync and close the log. Waits for no client; takes as
  // long as log::Store::close(). Calling it again does nothing.
  void stop();

  // Where the listener of that name can be reached from this machine. It must be one of the options'.
  ListenerAddress address(std::string_view listener) const;
  const Uuid& cluster_id() const;

  // Cheap (no I/O, one short lock per topic); thread-safe.
  BrokerStats stats() const;

  // The last `count_max` rebalances of a group, newest first, as JSON objects, handed to `done` on a thread that may
  // block. Not after stop().
  void rebalances(std::string group, size_t count_max, std::function<void(Result<std::vector<std::string>>)> done);

  // For tests with a clock of their own: look at the timers again, because the clock moved.
  void clock_moved();

 private:
  struct Impl;
  explicit Broker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::broker
