#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <deque>
#include <string>
#include <variant>

#include "broker/internal/request.h"

namespace millrace::broker {

// The answers that a connection has yet to send, in their order: from memory in gathering writes, from files without
// reading them into memory. Used by one thread, which has SIGPIPE blocked.
class SendQueue {
 public:
  void push(Response response);

  // Bytes that the socket has not taken yet.
  size_t bytes() const { return bytes_; }
  bool empty() const { return pieces_.empty(); }

  enum class Outcome {
    kDone,
    kMore,    // go on when the socket can be written to
    kBroken,  // the connection is of no use any more
  };
  struct Sent {
    Outcome outcome = Outcome::kDone;
    size_t bytes = 0;
    std::string reason;  // why it is broken, where that is not the client's doing
  };
  // Send as much as the socket, which does not block, takes, but not more than others on the thread can wait for.
  Sent send(boost::asio::ip::tcp::socket& socket);

 private:
  using Piece = std::variant<ByteView, env::FileRange>;
  struct Unsent {
    Response response;
    size_t pieces_left = 0;
  };

  void add(Piece piece);
  // How many bytes the socket took of the first pieces; 0: none for now. kUnavailable: the peer is gone.
  Result<size_t> send_some(boost::asio::ip::tcp::socket& socket) const;
  Result<size_t> send_memory(boost::asio::ip::tcp::socket& socket) const;
  void consume(size_t bytes);

  // Then other sessions of the thread have their turn.
  static constexpr size_t kBytesPerTurn = 4 << 20;

  std::deque<Unsent> responses_;
  std::deque<Piece> pieces_;  // of responses_, in their order; the first may be the rest of one
  size_t bytes_ = 0;
};

}  // namespace millrace::broker
