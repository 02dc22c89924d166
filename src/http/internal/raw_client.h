#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::http::internal {

// The tests' client of plain sockets: what it sends is exactly what the test says.
class RawClient {
 public:
  enum When { kNow, kLater };
  // kLater: connect() is called by the test.
  explicit RawClient(uint16_t port, When when = kNow) : port_(port), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{10, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (when == kNow) connect();
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void connect() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool connected() const { return connected_; }
  void send(std::string_view text) const {
    ASSERT_EQ(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL), ssize_t(text.size()));
  }
  // Everything up to and with `end`, or all until the server closes.
  std::string read_until(std::string_view end) {
    char buffer[4096];
    while (received_.find(end) == std::string::npos) {
      const ssize_t size = ::recv(socket_, buffer, sizeof buffer, 0);
      if (size <= 0) break;
      received_.append(buffer, static_cast<size_t>(size));
    }
    const size_t found = received_.find(end);
    const size_t length = found == std::string::npos ? received_.size() : found + end.size();
    std::string text = received_.substr(0, length);
    received_.erase(0, length);
    return text;
  }
  std::string read_all() { return read_until("\x01never\x01"); }

 private:
  const uint16_t port_;
  const int socket_;
  bool connected_ = false;
  std::string received_;
};

}  // namespace millrace::http::internal
