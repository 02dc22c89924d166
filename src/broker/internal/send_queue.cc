#include "broker/internal/send_queue.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <span>
#include <utility>

namespace millrace::broker {

namespace asio = boost::asio;

namespace {

size_t size_of(const std::variant<ByteView, env::FileRange>& piece) {
  if (const auto* range = std::get_if<env::FileRange>(&piece)) return range->bytes;
  return std::get<ByteView>(piece).size();
}

}  // namespace

void SendQueue::add(Piece piece) {
  const size_t size = size_of(piece);
  if (size == 0) return;
  bytes_ += size;
  pieces_.push_back(std::move(piece));
  ++responses_.back().pieces_left;
}

void SendQueue::push(Response response) {
  Response& held = responses_.emplace_back(Unsent{.response = std::move(response)}).response;
  held.visit([&](ByteView bytes) { add(bytes); }, [&](const env::FileRange& range) { add(range); });
}

SendQueue::Sent SendQueue::send(asio::ip::tcp::socket& socket) {
  Sent sent;
  while (!pieces_.empty()) {
    const auto taken = sent.bytes < kBytesPerTurn ? send_some(socket) : Result<size_t>(0);
    if (!taken) {
      sent.outcome = Outcome::kBroken;
      if (taken.error().code != Errc::kUnavailable) sent.reason = taken.error().message;
      return sent;
    }
    if (*taken == 0) {
      sent.outcome = Outcome::kMore;
      return sent;
    }
    sent.bytes += *taken;
    consume(*taken);
  }
  return sent;
}

Result<size_t> SendQueue::send_some(asio::ip::tcp::socket& socket) const {
  if (const auto* range = std::get_if<env::FileRange>(&pieces_.front()))
    return range->file->send_to(socket.native_handle(), range->position, std::min(range->bytes, kBytesPerTurn));
  return send_memory(socket);
}

Result<size_t> SendQueue::send_memory(asio::ip::tcp::socket& socket) const {
  constexpr size_t kPiecesMax = 64;
  std::array<asio::const_buffer, kPiecesMax> gathered;
  size_t count = 0;
  for (; count < std::min(kPiecesMax, pieces_.size()); ++count) {
    const auto* bytes = std::get_if<ByteView>(&pieces_[count]);
    if (bytes == nullptr) break;
    gathered[count] = asio::buffer(bytes->data(), bytes->size());
  }
  // What stands before a file's bytes leaves in one packet with them.
  const int flags = count < pieces_.size() ? MSG_MORE : 0;
  boost::system::error_code error;
  const size_t taken = socket.send(std::span<const asio::const_buffer>(gathered.data(), count), flags, error);
  if (error == asio::error::would_block || error == asio::error::try_again) return size_t{0};
  if (error) return fail(Errc::kUnavailable, error.message());
  return taken;
}

void SendQueue::consume(size_t bytes) {
  bytes_ -= bytes;
  while (bytes > 0) {
    const size_t size = size_of(pieces_.front());
    if (bytes < size) break;
    bytes -= size;
    pieces_.pop_front();
    if (--responses_.front().pieces_left == 0) responses_.pop_front();
  }
  if (bytes == 0) return;
  if (auto* range = std::get_if<env::FileRange>(&pieces_.front())) {
    range->position += bytes;
    range->bytes -= bytes;
  } else {
    auto& view = std::get<ByteView>(pieces_.front());
    view = view.subspan(bytes);
  }
}

}  // namespace millrace::broker
