#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "broker/broker.h"
#include "broker/internal/io_thread.h"
#include "broker/internal/rate_limit.h"

namespace millrace::broker {

// The sockets of one ListenerOptions: one for each address that its host resolves to, all on the same port. Taken in
// open(); connections that come before start() wait in the system's queue.
class Listener {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  struct Callbacks {
    std::function<IoThread&()> next_thread;                // where the next connection shall live
    std::function<void(Socket, IoThread&)> on_connection;  // on the listener's thread
    RateLimit* notes;  // for log lines that clients can cause; outlives the listener
  };

  // kConflict: the port is in use; kInvalidArgument: the host is not one of this machine's.
  static Result<std::unique_ptr<Listener>> open(const ListenerOptions& options, IoThread& thread);

  // Begin to accept. On the listener's thread or before that runs.
  void start(Callbacks callbacks);

  const ListenerOptions& options() const { return options_; }
  uint16_t port() const { return port_; }

 private:
  using Acceptor = boost::asio::ip::tcp::acceptor;

  Listener(ListenerOptions options, IoThread& thread) : options_(std::move(options)), thread_(thread) {}
  Status bind(boost::asio::ip::tcp::endpoint endpoint);
  void accept(Acceptor& acceptor);

  ListenerOptions options_;
  IoThread& thread_;
  uint16_t port_ = 0;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  Callbacks callbacks_;
};

}  // namespace millrace::broker
