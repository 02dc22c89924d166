#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <deque>

#include "broker/internal/request.h"

namespace millrace::broker {

// The answers that a connection has yet to send, in their order. Used by one thread.
class SendQueue {
 public:
  void push(Response response);

  // Bytes that the socket has not taken yet.
  size_t bytes() const { return bytes_; }
  bool empty() const { return pieces_.empty(); }

  struct Sent {
    size_t bytes = 0;
    // would_block where the socket takes no more for now; no error where nothing is left.
    boost::system::error_code error;
  };
  // Send as much as the socket takes, without waiting.
  Sent send(boost::asio::ip::tcp::socket& socket);

 private:
  struct Unsent {
    Response response;
    size_t pieces_left;
  };

  void consume(size_t bytes);

  std::deque<Unsent> responses_;
  std::deque<ByteView> pieces_;  // of responses_, in their order; the first may be the rest of one
  size_t bytes_ = 0;
};

}  // namespace millrace::broker
