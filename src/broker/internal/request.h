#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/check.h"
#include "broker/internal/executor.h"
#include "broker/internal/memory_budget.h"
#include "broker/internal/request_metrics.h"
#include "env/file_system.h"
#include "wire/frame.h"

namespace millrace::broker {

// Record batches on their way out, in memory or in a file.
using RecordChunk = std::variant<Bytes, env::FileRange>;

// An answer ready to be sent, and what its slices stand for.
struct Response {
  wire::OutgoingFrame frame;
  std::vector<Bytes> held;  // what slices point into
  // What the slices that lie elsewhere consist of, in their order.
  std::vector<std::vector<RecordChunk>> elsewhere;

  // Visit what to send, in order: `on_bytes(ByteView)`, `on_range(const env::FileRange&)`.
  template <typename OnBytes, typename OnRange>
  void visit(const OnBytes& on_bytes, const OnRange& on_range) const {
    auto chunks = elsewhere.begin();
    frame.visit(on_bytes, [&](const wire::RecordSlice& slice) {
      if (slice.records.elsewhere_bytes() == 0) return on_bytes(slice.records);
      MILLRACE_CHECK(chunks != elsewhere.end());
      for (const RecordChunk& chunk : *chunks++) {
        if (const auto* range = std::get_if<env::FileRange>(&chunk)) {
          on_range(*range);
        } else {
          on_bytes(ByteView(std::get<Bytes>(chunk)));
        }
      }
    });
  }
  // One buffer with everything, for tests. Fails where a file cannot be read.
  Result<Bytes> flatten() const;
};

// Where answers go: a connection. Only on its executor's thread.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  // `slot` is the request's place in the connection's order; no response where the request has none (acks=0).
  // Then nothing more is to be read from the connection for as long as `mute` says (KIP-219).
  virtual void answer(uint64_t slot, std::optional<Response> response, std::chrono::milliseconds mute) = 0;
  // Give the connection up, saying why once in the log.
  virtual void give_up(const std::string& reason) = 0;
  // While held, no further request of the connection is begun.
  virtual void hold_next(bool held) = 0;
};

// The right to answer one request, once, from any thread. When the connection is gone by then, nothing happens.
class Reply {
 public:
  Reply(std::weak_ptr<ReplySink> sink, Executor& home, uint64_t slot)
      : sink_(std::move(sink)), home_(&home), slot_(slot) {}
  Reply(Reply&&) = default;
  Reply& operator=(Reply&&) = default;

  void send(Response response) { deliver(std::optional<Response>(std::move(response))); }
  void send_nothing() { deliver(std::nullopt); }
  void give_up(std::string reason);
  // Before sending: the client is over its quota, and is not to be read from for so long after the answer.
  void mute(std::chrono::milliseconds time) { mute_ = time; }

  // For a produce that cannot append yet, on the connection's own thread: what the client sends after it must not
  // overtake it. To be released as soon as it has appended.
  void hold_next();
  void release_next();

  // The connection is gone: nobody waits for the answer.
  bool abandoned() const { return sink_.expired(); }

  // The connection's own thread: what works there may be posted to it, and is dropped with it.
  Executor& home() const { return *home_; }

 private:
  void deliver(std::optional<Response> response);

  std::weak_ptr<ReplySink> sink_;
  Executor* home_;
  uint64_t slot_;
  std::chrono::milliseconds mute_{0};
};

// What a connection's client has told about itself. On the connection's own thread only.
struct ClientTraits {
  bool works_on = false;  // it is known that its work does not wait for the answer to a heartbeat
};

// A frame on its way through a handler. Views that were decoded from it live as long as `frame`.
struct Request {
  wire::RequestHeader header;
  FramePtr frame;
  ByteReader body;  // behind the header
  std::string client_host;
  size_t listener = 0;             // index of the listener it came in by
  uint64_t connection = 0;         // number of the connection it came by
  ClientTraits* client = nullptr;  // of that connection; until the handler returns
  RequestMetrics* metrics = nullptr;
  Reply reply;
};

}  // namespace millrace::broker
