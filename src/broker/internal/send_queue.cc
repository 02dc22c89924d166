#include "broker/internal/send_queue.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <span>
#include <utility>

namespace millrace::broker {

namespace asio = boost::asio;

void SendQueue::push(Response response) {
  const auto pieces = response.frame.pieces();
  for (const ByteView piece : pieces) {
    bytes_ += piece.size();
    pieces_.push_back(piece);
  }
  responses_.push_back({std::move(response), pieces.size()});
}

SendQueue::Sent SendQueue::send(asio::ip::tcp::socket& socket) {
  constexpr size_t kPiecesMax = 64;
  Sent sent;
  while (!pieces_.empty()) {
    std::array<asio::const_buffer, kPiecesMax> pieces;
    const size_t count = std::min(kPiecesMax, pieces_.size());
    for (size_t i = 0; i < count; ++i) pieces[i] = asio::buffer(pieces_[i].data(), pieces_[i].size());
    const size_t taken = socket.write_some(std::span<const asio::const_buffer>(pieces.data(), count), sent.error);
    if (sent.error) return sent;
    sent.bytes += taken;
    consume(taken);
  }
  return sent;
}

void SendQueue::consume(size_t bytes) {
  bytes_ -= bytes;
  while (!pieces_.empty() && bytes >= pieces_.front().size()) {
    bytes -= pieces_.front().size();
    pieces_.pop_front();
    if (--responses_.front().pieces_left == 0) responses_.pop_front();
  }
  if (bytes > 0) pieces_.front() = pieces_.front().subspan(bytes);
}

}  // namespace millrace::broker
