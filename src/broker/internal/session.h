#pragma once

#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/metrics.h"
#include "broker/internal/io_thread.h"
#include "broker/internal/rate_limit.h"
#include "broker/internal/request.h"
#include "broker/internal/request_metrics.h"
#include "broker/internal/send_queue.h"

namespace millrace::broker {

// What a session needs of the rest. `handle` is called on the session's thread, with the session's frames in their
// order.
class FrameHandler {
 public:
  virtual ~FrameHandler() = default;
  struct Incoming {
    FramePtr frame;
    std::string client_host;
    size_t listener;
    uint64_t connection;   // its number: never given twice, never 0
    ClientTraits* client;  // until `handle` returns
    Reply reply;
  };
  virtual void handle(Incoming incoming) = 0;
  // The connection's request in work, a heartbeat, has another behind it: its answer is to be kept back no longer. On
  // its session's thread, once for a heartbeat.
  virtual void next_waits(uint64_t connection) = 0;
  // Nothing more comes from the connection. On its session's thread; not for those that are open when the server stops.
  virtual void closed(uint64_t connection) = 0;
};

struct SessionLimits {
  size_t request_bytes_max;
  std::chrono::milliseconds idle_max;
};

// What all sessions share. Outlives them.
struct SessionShared {
  FrameHandler* handler;
  SessionLimits limits;
  std::shared_ptr<MemoryBudget> budget;
  const Clock& clock;
  RateLimit& rejects;
  RequestMetrics& requests;
  Counter& bytes_in;
  Counter& bytes_out;
  std::function<void()> on_closed;  // from the session's thread, once
  std::atomic<uint64_t> connections_made{0};
};

// One connection: cuts its bytes into frames, has them handled one at a time, and sends the answers in their order.
//
// A produce that has appended, but is not yet answered (it waits for a sync), does not hold up further produces; any
// other request waits until all before it are answered. While a request waits, or more than kUnsentBytesMax are not
// taken by the client, nothing more is read from the socket. Lives on its IoThread, which keeps it until it is closed.
class Session final : public ReplySink, public std::enable_shared_from_this<Session> {
 public:
  Session(boost::asio::ip::tcp::socket socket, IoThread& thread, SessionShared& shared, size_t listener);
  ~Session() override;

  void start();
  void answer(uint64_t slot, std::optional<Response> response, std::chrono::milliseconds mute) override;
  void give_up(const std::string& reason) override;
  void hold_next(bool held) override;

 private:
  struct Slot {
    MonoTime begun;
    wire::ApiKey api;
    bool answered = false;
    std::chrono::milliseconds mute{0};
    bool hurried = false;
    std::optional<Response> response;
  };

  // Reading.
  void resume_reading();
  bool may_read() const;
  void on_readable();
  // Read once. False when the socket has no more for now, or the connection is gone.
  bool read_some();
  void take_bytes(ByteView bytes);
  // Make the frame whose size is known by now. False when it must wait for memory, or is refused.
  bool begin_frame();
  void on_memory();
  void finish_frame_if_whole();
  // Look, kStallMax after `since`, whether the frame that has begun goes on.
  void watch_stall(MonoTime since);
  void on_stall_timer();

  // Working.
  void work();
  bool may_start_next() const;
  void start_next();
  // A heartbeat's answer may be kept back while nothing else comes from the client.
  void hurry_heartbeat();
  void collect_answered();
  // Read and begin nothing for so long, or for longer where that was said before.
  void mute(std::chrono::milliseconds time);
  // Soon, once for all that comes by then.
  void work_later();

  // Writing.
  void flush();
  void wait_until_writable();

  void watch_idle();
  void close();

  // Nothing is gained by more: the sync that they wait for takes all of them.
  static constexpr size_t kProducesInWorkMax = 64;
  static constexpr size_t kUnsentBytesMax = 1 << 20;
  // A frame that began must go on: its memory is counted.
  static constexpr std::chrono::seconds kStallMax{30};
  // Whoever is slower for a whole frame, beyond kStallMax, would hold the memory for it that others wait for.
  static constexpr int32_t kSlowestBytesPerS = 64 << 10;
  // Then other sessions of the thread have their turn.
  static constexpr size_t kReadBytesPerTurn = 4 << 20;

  boost::asio::ip::tcp::socket socket_;
  IoThread& thread_;
  SessionShared& shared_;
  const size_t listener_;
  const uint64_t connection_;
  std::string client_host_;
  ClientTraits client_;
  bool closed_ = false;

  // Reading: the size's bytes, then the frame they announce.
  std::array<std::byte, 4> size_bytes_{};
  size_t size_bytes_read_ = 0;
  FramePtr frame_;
  size_t frame_bytes_read_ = 0;
  MonoTime frame_due_;                 // without the times in which nothing is read
  std::optional<MonoTime> paused_at_;  // with a frame that has begun
  Bytes overrun_;                      // read, but behind a frame that waits for memory
  bool reading_ = false;
  bool waiting_for_memory_ = false;
  std::deque<FramePtr> pending_;  // read whole, not begun

  // Working: one slot for each request begun and not yet sent.
  std::deque<Slot> slots_;
  uint64_t first_slot_ = 0;
  bool held_ = false;  // the last one begun has not appended yet
  bool working_ = false;
  bool work_deferred_ = false;

  // Writing.
  SendQueue unsent_;
  bool writing_ = false;

  MonoTime last_activity_;
  std::optional<TimerId> idle_timer_;
  std::optional<TimerId> stall_timer_;
  std::optional<TimerId> unmute_timer_;  // while muted
  MonoTime muted_until_;
};

}  // namespace millrace::broker
