#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "millrace/result.h"

namespace millrace::embed {

struct BrokerOptions {
  // Made when missing; belongs to this broker alone while it runs. Empty: a temporary folder, gone with the broker.
  std::string data_dir = {};
  std::string host = "127.0.0.1";  // a name or an address; every address it resolves to is listened on
  uint16_t port = 0;               // 0: a free one
  // By Kafka's names: {"num.partitions", "4"}. docs/manual/broker.md lists them.
  std::map<std::string, std::string> settings = {};
  // Called once, on any thread, when a write or sync of the log failed for good: nothing more can be acknowledged, and
  // the program should end. The broker reports it on stderr in any case. Must not call the broker.
  std::function<void(const Error&)> on_fatal = {};
};

// A Kafka broker inside this process, on threads of its own. Any Kafka client can use it, in this process or another.
// Several may run at once, each on its own folder and port. Thread-safe, but for moving and destroying it.
class Broker {
 public:
  // Take the port, open the log and replay it, then serve: it serves when this returns. kConflict: the port is in use,
  // or another process has the folder; kInvalidArgument: options that make no sense; kIo, kCorruption: the folder.
  static Result<Broker> start(BrokerOptions options = {});

  // stop(), and a temporary folder goes.
  ~Broker();
  Broker(Broker&&) noexcept;
  Broker& operator=(Broker&&) noexcept;

  // HOST:PORT for a client's bootstrap.servers.
  const std::string& bootstrap() const;
  const std::string& data_dir() const;

  // Close every connection, sync the log, join the threads. Everything acknowledged is on disk, as it was before.
  // Takes a last checkpoint: a sync of all that was written since the one before, up to 32 MB of log. Calling it again
  // does nothing.
  void stop();

 private:
  struct Impl;
  explicit Broker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::embed
