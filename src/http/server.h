#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "base/result.h"
#include "http/guard.h"
#include "http/message.h"

namespace millrace::http {

// Feeds one browser's event stream (Server-Sent Events, WHATWG HTML section 9.2). Thread-safe; outlives its connection.
class EventSink {
 public:
  virtual ~EventSink() = default;
  // Queue an event; `data` holds no line break. False: the client is gone, or so slow that
  // `ServerOptions::stream_bytes_max` of earlier events still wait for it, in which case it is disconnected and will
  // ask again with its Last-Event-ID. What waits is thus at most that and one event.
  virtual bool send(std::string_view event, uint64_t id, std::string_view data) = 0;
  virtual bool is_open() const = 0;
};

// Answers one request, once, from any thread and at any later time; dropping it unanswered answers 500.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void send(Response response) = 0;
  // Instead of send(): keep the connection open as an event stream.
  virtual std::shared_ptr<EventSink> stream() = 0;
  // Before send(): `gone` is called, on the server's thread and at most once, when the client hangs up, or closes its
  // side of the connection, before it is answered; never after.
  virtual void on_gone(std::function<void()> gone) = 0;
};
using ResponderPtr = std::shared_ptr<Responder>;

// Called on the server's thread: must not block. What takes long moves `responder` to another thread.
using Handler = std::function<void(const Request& request, ResponderPtr responder)>;

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0: a free one
  GuardOptions guard;
  size_t connections_max = 256;
  size_t body_bytes_max = 8u << 20;
  size_t stream_bytes_max = 4u << 20;  // of a stream's events that its client has not taken yet
  std::chrono::seconds idle_timeout{60};
};

// An HTTP/1.1 server with one thread. Routes are added before start(); of those that match, the longest wins.
class Server {
 public:
  explicit Server(ServerOptions options, Metrics& metrics);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // `path` is matched whole, or as a prefix where it ends in '*'. Where other methods of a path exist the answer is
  // 405.
  void route(const std::string& method, const std::string& path, Handler handler);

  // Take the port and serve. kConflict: the port is in use; kInvalidArgument: not an address of this machine, or one
  // that is not loopback without allow_remote and a token.
  Status start();
  // Close everything and join the thread; unanswered requests are dropped. Idempotent.
  void stop();

  uint16_t port() const;  // after start()
  const ServerOptions& options() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::http
