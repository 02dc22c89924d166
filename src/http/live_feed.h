#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "http/overview.h"
#include "http/server.h"

namespace millrace::http {

// The console's live stream, GET /v1/live: each client first gets `history` (the Overviews kept, without their events,
// oldest first: half an hour, or less where that is more than half of what may wait for a client), then an `overview` a
// second. One thread samples for all clients, and only while somebody listens: a server that nobody watches does
// nothing. Clients that are too slow are disconnected by their EventSink and come back by themselves.
class LiveFeed {
 public:
  // Calls `sample` on the feed's own thread, about once a second; it may block, and must return soon after stop() was
  // asked for.
  using Sample = std::function<Overview()>;

  LiveFeed(Server& server, Sample sample);
  ~LiveFeed();
  LiveFeed(const LiveFeed&) = delete;
  LiveFeed& operator=(const LiveFeed&) = delete;

  // End the thread and forget the clients. Idempotent.
  void stop();

 private:
  void run();
  void add(std::shared_ptr<EventSink> client);
  // Everyone who listens; waits until there is someone. Empty: stop.
  std::vector<std::shared_ptr<EventSink>> wait_for_clients();
  bool sleep_unless_stopped();
  void keep(Overview overview);
  void broadcast(const Overview& overview, const std::vector<std::shared_ptr<EventSink>>& clients);

  const Sample sample_;
  const size_t history_bytes_max_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<EventSink>> clients_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<EventSink>> newcomers_ GUARDED_BY(mutex_);
  // The feed's thread alone:
  std::deque<std::string> history_;
  size_t history_bytes_ = 0;
  uint64_t next_id_ = 1;
  std::jthread thread_;
};

}  // namespace millrace::http
