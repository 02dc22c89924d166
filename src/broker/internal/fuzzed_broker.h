#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/fake_clock.h"
#include "broker/broker.h"
#include "env/fault_file_system.h"

namespace millrace::broker {

// A broker over files in memory and a clock of its own, and one connection at a time to it: frames in, answers out.
// Requests that wait are helped by letting time pass.
class FuzzedBroker {
 public:
  // `files` outlives it, and is a data folder for the next one afterwards.
  FuzzedBroker(Settings settings, env::FaultFileSystem& files, uint64_t seed) {
    settings.num_network_threads = 1;
    settings.connections_max_idle_ms = int64_t{10} * 365 * 24 * 3600 * 1000;
    const BrokerOptions options{
        .data_dir = "/data",
        .listeners = {{.name = "FUZZ", .host = "127.0.0.1", .port = 0, .advertised_host = {}, .advertised_port = 0}},
        .settings = std::move(settings),
        .on_fatal = [](const Error& error) { MILLRACE_CHECK(false, error.message); }};
    auto started = Broker::start(options, files, clock_, Random(seed), metrics_);
    MILLRACE_CHECK(started, started ? "" : started.error().message);
    broker_ = std::move(*started);
  }
  ~FuzzedBroker() { hang_up(); }
  FuzzedBroker(const FuzzedBroker&) = delete;
  FuzzedBroker& operator=(const FuzzedBroker&) = delete;

  struct Outcome {
    bool closed = false;
    std::optional<Bytes> answer;  // with its length; a request may have none, and stay open
  };

  // `frame` comes without its length.
  Outcome ask(ByteView frame) {
    if (socket_ < 0) dial();
    Bytes sent;
    ByteWriter out(sent);
    out.fixed(static_cast<uint32_t>(frame.size()));
    out.bytes(frame);
    // Answers come in the order of the requests: behind whatever this one's is comes that one's, an ApiVersions'.
    out.fixed(uint32_t{10});
    out.fixed(int16_t{18});
    out.fixed(int16_t{0});
    out.fixed(kMark);
    out.fixed(int16_t{-1});
    Outcome outcome;
    if (!send_all(sent)) return closed();
    while (true) {
      auto received = receive();
      if (!received) return closed();
      if (ByteReader(ByteView(*received).subspan(4)).fixed<int32_t>().value() == kMark) return outcome;
      MILLRACE_CHECK(!outcome.answer, "a request has one answer");
      outcome.answer = std::move(*received);
    }
  }

  void hang_up() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

 private:
  static constexpr int32_t kMark = 0x5eed5eed;
  static constexpr size_t kAnswerBytesMax = 64 << 20;

  void dial() {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(broker_->address("FUZZ").port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MILLRACE_CHECK(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }

  Outcome closed() {
    hang_up();
    return {.closed = true, .answer = {}};
  }

  bool send_all(ByteView bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes = bytes.subspan(static_cast<size_t>(sent));
    }
    return true;
  }

  std::optional<Bytes> receive() {
    Bytes frame(4);
    if (!receive_into(frame)) return std::nullopt;
    const auto size = ByteReader(frame).fixed<uint32_t>().value();
    MILLRACE_CHECK(size >= 4 && size <= kAnswerBytesMax, std::to_string(size));
    frame.resize(4 + size);
    if (!receive_into(std::span(frame).subspan(4))) return std::nullopt;
    return frame;
  }

  bool receive_into(std::span<std::byte> into) {
    while (!into.empty()) {
      wait_readable();
      const ssize_t got = ::recv(socket_, into.data(), into.size(), 0);
      if (got <= 0) return false;
      into = into.subspan(static_cast<size_t>(got));
    }
    return true;
  }

  // What the disk does takes microseconds; whoever waits longer waits for time to pass. In small steps at first: where
  // the machine is busy, little time passes for nothing.
  void wait_readable() {
    std::chrono::microseconds step{1'000};
    for (int steps = 0;; ++steps) {
      pollfd waited{.fd = socket_, .events = POLLIN, .revents = 0};
      if (::poll(&waited, 1, 5) == 1) return;
      MILLRACE_CHECK(steps < 5'000, "a request is not answered");
      clock_.advance(step);
      broker_->clock_moved();
      step = std::min<std::chrono::microseconds>(step * 2, std::chrono::hours(24));
    }
  }

  FakeClock clock_;
  Metrics metrics_;
  std::unique_ptr<Broker> broker_;
  int socket_ = -1;
};

}  // namespace millrace::broker
