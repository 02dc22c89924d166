#pragma once

#include <memory>
#include <string>

#include "app/config.h"
#include "base/result.h"

namespace millrace::app {

// The rooms of one process, started in order and stopped in the reverse: data folder, broker, warehouse, pipelines,
// HTTP.
class Server {
 public:
  // Start everything that `config` asks for. Ports are taken before anything else starts. On failure nothing is left
  // running.
  static Result<std::unique_ptr<Server>> start(const ServerConfig& config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // HOST:PORT for clients on this machine: the embedded broker's, or the cluster's bootstrap.
  std::string kafka_address() const;
  // HOST:PORT that our own pipelines and commands use: the loopback listener that no public name, TLS or login stands
  // before.
  std::string internal_address() const;

  std::string console_url() const;

  // HTTP first, then pipelines, warehouse, broker. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::app
