#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>

#include "base/byte_reader.h"
#include "wire/frame.h"

namespace millrace::broker {

// A blocking client for tests: one connection, frames as they are. What takes longer than 20 s fails the test.
class TestClient {
 public:
  // With `receive_buffer_bytes` the system takes little for a client that does not read.
  explicit TestClient(uint16_t port, int receive_buffer_bytes = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer_bytes > 0)
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0) << "port " << port;
  }
  ~TestClient() { close(); }
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

  // Send without waiting for the answer; returns the correlation id.
  template <typename Request>
  int32_t send(const Request& request, int16_t version = Request::kMaxVersion) {
    const int32_t id = ++last_id_;
    const auto frame = wire::encode_request(request, id, "test", version);
    EXPECT_TRUE(frame) << frame.error().message;
    if (frame) send_bytes(frame->flatten());
    return id;
  }
  void send_bytes(ByteView bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // closed: whoever reads next finds out
      bytes = bytes.subspan(static_cast<size_t>(sent));
    }
  }

  // The next frame without its length; nothing where the connection was closed.
  std::optional<Bytes> receive_frame() {
    Bytes size(4);
    if (!receive_exactly(size)) return std::nullopt;
    Bytes frame(ByteReader(size).fixed<uint32_t>().value());
    if (!receive_exactly(frame)) return std::nullopt;
    return frame;
  }

  // All that comes until the connection is closed.
  Bytes receive_until_closed() {
    Bytes all;
    Bytes some(1 << 16);
    while (true) {
      const ssize_t n = ::recv(socket_, some.data(), some.size(), 0);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) ADD_FAILURE() << "nothing came in 20 s";
      if (n <= 0) return all;
      all.insert(all.end(), some.begin(), some.begin() + n);
    }
  }

  // The next answer, which must be to request `id`. Its views live until the next one.
  template <typename Response>
  Response receive(int32_t id, int16_t version) {
    auto frame = receive_frame();
    if (!frame) {
      ADD_FAILURE() << "the connection was closed instead of " << Response::kName;
      return {};
    }
    last_frame_ = std::move(*frame);
    EXPECT_EQ(ByteReader(last_frame_).fixed<int32_t>().value(), id) << Response::kName;
    ByteReader in(last_frame_);
    auto response = wire::decode_response<Response>(in, version);
    EXPECT_TRUE(response) << response.error().message;
    EXPECT_EQ(in.remaining(), 0u) << Response::kName;
    return response ? std::move(*response) : Response{};
  }

  template <typename Request>
  typename Request::Response call(const Request& request, int16_t version = Request::kMaxVersion) {
    const int32_t id = send(request, version);
    return receive<typename Request::Response>(id, version);
  }

  // Whether bytes, or the end, come within the time.
  bool readable_within(int ms) {
    pollfd poll{.fd = socket_, .events = POLLIN, .revents = 0};
    return ::poll(&poll, 1, ms) == 1;
  }
  bool closed_by_server() { return !receive_frame(); }

 private:
  bool receive_exactly(Bytes& into) {
    size_t got = 0;
    while (got < into.size()) {
      const ssize_t n = ::recv(socket_, into.data() + got, into.size() - got, 0);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) ADD_FAILURE() << "nothing came in 20 s";
      if (n <= 0) return false;
      got += static_cast<size_t>(n);
    }
    return true;
  }

  int socket_;
  int32_t last_id_ = 0;
  Bytes last_frame_;
};

}  // namespace millrace::broker
