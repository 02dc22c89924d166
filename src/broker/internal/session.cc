#include "broker/internal/session.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "base/logging.h"

namespace millrace::broker {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

// By the frame's first field, the API key. Every frame has at least kFrameBytesMin.
wire::ApiKey api_of(const Frame& frame) {
  return static_cast<wire::ApiKey>(ByteReader(frame.view()).fixed<int16_t>().value());
}

// A request's header without client id and tags.
constexpr int32_t kFrameBytesMin = 8;

}  // namespace

Session::Session(asio::ip::tcp::socket socket, IoThread& thread, SessionShared& shared, size_t listener)
    : socket_(std::move(socket)),
      thread_(thread),
      shared_(shared),
      listener_(listener),
      connection_(shared.connections_made.fetch_add(1, std::memory_order_relaxed) + 1) {}

Session::~Session() { shared_.on_closed(); }

void Session::start() {
  error_code error;
  const auto peer = socket_.remote_endpoint(error);
  if (!error) client_host_ = "/" + peer.address().to_string();
  if (!error) socket_.non_blocking(true, error);
  if (!error) socket_.set_option(asio::ip::tcp::no_delay(true), error);
  if (error) return close();
  thread_.keep(shared_from_this());
  last_activity_ = shared_.clock.mono_now();
  watch_idle();
  resume_reading();
}

// ── Reading ──

bool Session::may_read() const {
  return !closed_ && !unmute_timer_ && pending_.empty() && !waiting_for_memory_ && unsent_.bytes() < kUnsentBytesMax;
}

void Session::resume_reading() {
  if (reading_) return;
  if (!may_read()) {
    if (frame_ && !paused_at_) paused_at_ = shared_.clock.mono_now();
    return;
  }
  if (paused_at_) frame_due_ += shared_.clock.mono_now() - *std::exchange(paused_at_, std::nullopt);
  reading_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
    self->reading_ = false;
    if (error) return self->close();
    self->on_readable();
  });
}

void Session::on_readable() {
  reading_ = true;
  size_t turns_left = kReadBytesPerTurn / thread_.scratch().size();
  while (may_read() && turns_left-- > 0) {
    if (!read_some()) break;
  }
  reading_ = false;
  resume_reading();
}

bool Session::read_some() {
  const size_t frame_left = frame_ ? frame_->size() - frame_bytes_read_ : 0;
  const auto scratch = thread_.scratch();
  const std::array<asio::mutable_buffer, 2> into = {
      asio::buffer(frame_ ? frame_->data() + frame_bytes_read_ : nullptr, frame_left),
      asio::buffer(scratch.data(), scratch.size())};
  error_code error;
  const size_t got = socket_.read_some(into, error);
  if (error == asio::error::would_block || error == asio::error::try_again) return false;
  if (error) {
    close();
    return false;
  }
  last_activity_ = shared_.clock.mono_now();
  shared_.bytes_in.add(got);
  const size_t direct = std::min(got, frame_left);
  frame_bytes_read_ += direct;
  finish_frame_if_whole();
  take_bytes(scratch.first(got - direct));
  watch_stall(last_activity_);
  work();
  // Where a request ended short of the space there was nothing behind it, and to ask would cost as much as to read.
  const bool drained = got < asio::buffer_size(into) && !frame_ && size_bytes_read_ == 0;
  return !closed_ && !drained;
}

void Session::take_bytes(ByteView bytes) {
  while (!bytes.empty() && !closed_) {
    if (!frame_) {
      const size_t wanted = std::min(size_bytes_.size() - size_bytes_read_, bytes.size());
      std::copy_n(bytes.begin(), wanted, size_bytes_.begin() + static_cast<ptrdiff_t>(size_bytes_read_));
      size_bytes_read_ += wanted;
      bytes = bytes.subspan(wanted);
      if (size_bytes_read_ < size_bytes_.size()) return;
      if (!begin_frame()) {
        overrun_.assign(bytes.begin(), bytes.end());
        return;
      }
    }
    const size_t wanted = std::min(frame_->size() - frame_bytes_read_, bytes.size());
    std::copy_n(bytes.begin(), wanted, frame_->data() + frame_bytes_read_);
    frame_bytes_read_ += wanted;
    bytes = bytes.subspan(wanted);
    finish_frame_if_whole();
  }
}

bool Session::begin_frame() {
  const int32_t size = ByteReader(size_bytes_).fixed<int32_t>().value();
  if (size < kFrameBytesMin || static_cast<size_t>(size) > shared_.limits.request_bytes_max) {
    give_up(
        fmt::format("a request of {} bytes; socket.request.max.bytes is {}", size, shared_.limits.request_bytes_max));
    return false;
  }
  frame_ = shared_.budget->allocate(static_cast<size_t>(size), thread_, [self = weak_from_this()] {
    if (const auto alive = self.lock()) static_cast<Session&>(*alive).on_memory();
  });
  waiting_for_memory_ = frame_ == nullptr;
  frame_bytes_read_ = 0;
  frame_due_ = last_activity_ + kStallMax + std::chrono::seconds(size / kSlowestBytesPerS);
  paused_at_.reset();
  return frame_ != nullptr;
}

void Session::on_memory() {
  if (closed_) return;
  last_activity_ = shared_.clock.mono_now();  // it was not the client that was late
  if (!begin_frame()) return;
  take_bytes(std::exchange(overrun_, {}));
  work();
}

void Session::finish_frame_if_whole() {
  if (!frame_ || frame_bytes_read_ < frame_->size()) return;
  pending_.push_back(std::move(frame_));
  frame_.reset();
  size_bytes_read_ = 0;
}

void Session::watch_stall(MonoTime since) {
  if (!frame_ || stall_timer_ || closed_) return;
  stall_timer_ = thread_.call_at(since + kStallMax, [self = weak_from_this()] {
    if (const auto alive = self.lock()) static_cast<Session&>(*alive).on_stall_timer();
  });
}

void Session::on_stall_timer() {
  stall_timer_.reset();
  const MonoTime now = shared_.clock.mono_now();
  // While a request before it is in work nothing is read: then it is not the client that is late.
  if (!reading_) return watch_stall(now);
  if (frame_ && now - last_activity_ >= kStallMax)
    return give_up(fmt::format("a request stopped after {} of {} bytes", frame_bytes_read_, frame_->size()));
  if (frame_ && now >= frame_due_)
    return give_up(fmt::format("a request comes too slowly: {} of {} bytes so far", frame_bytes_read_, frame_->size()));
  watch_stall(last_activity_);
}

// ── Working ──

void Session::work() {
  if (working_) return;
  working_ = true;
  collect_answered();
  do {
    while (may_start_next()) {
      start_next();
      collect_answered();
    }
    flush();
  } while (may_start_next());
  working_ = false;
  hurry_heartbeat();
  resume_reading();
}

bool Session::may_start_next() const {
  if (closed_ || held_ || pending_.empty() || unsent_.bytes() >= kUnsentBytesMax) return false;
  if (slots_.empty()) return true;
  return slots_.back().api == wire::ApiKey::kProduce && api_of(*pending_.front()) == wire::ApiKey::kProduce &&
         slots_.size() < kProducesInWorkMax;
}

void Session::start_next() {
  FramePtr frame = std::move(pending_.front());
  pending_.pop_front();
  const uint64_t slot = first_slot_ + slots_.size();
  const MonoTime begun = shared_.clock.mono_now();
  const wire::ApiKey api = api_of(*frame);
  slots_.push_back({.begun = begun, .api = api, .response = std::nullopt});
  shared_.handler->handle(
      {std::move(frame), client_host_, listener_, connection_, &client_, Reply(weak_from_this(), thread_, slot)});
  shared_.requests.handled(api, shared_.clock.mono_now() - begun);
}

void Session::hurry_heartbeat() {
  if (closed_ || unmute_timer_ || pending_.empty() || slots_.empty()) return;
  Slot& last = slots_.back();
  if (last.api != wire::ApiKey::kHeartbeat || last.answered || std::exchange(last.hurried, true)) return;
  shared_.handler->next_waits(connection_);
}

void Session::answer(uint64_t slot, std::optional<Response> response, std::chrono::milliseconds mute) {
  if (closed_) return;
  Slot& asked = slots_[slot - first_slot_];
  asked.answered = true;
  asked.mute = mute;
  asked.response = std::move(response);
  // A sync answers many produces at once: they leave in one write.
  work_later();
}

void Session::hold_next(bool held) {
  held_ = held;
  if (!held) work_later();
}

void Session::work_later() {
  if (working_ || work_deferred_ || closed_) return;
  work_deferred_ = true;
  thread_.defer([self = shared_from_this()] {
    self->work_deferred_ = false;
    self->work();
  });
}

void Session::collect_answered() {
  while (!slots_.empty() && slots_.front().answered) {
    Slot done = std::move(slots_.front());
    slots_.pop_front();
    ++first_slot_;
    shared_.requests.answered(done.api, shared_.clock.mono_now() - done.begun);
    if (done.mute > std::chrono::milliseconds(0)) mute(done.mute);
    if (done.response) unsent_.push(std::move(*done.response));
  }
}

void Session::mute(std::chrono::milliseconds time) {
  muted_until_ = std::max(muted_until_, shared_.clock.mono_now() + time);
  if (unmute_timer_) thread_.cancel(*unmute_timer_);
  unmute_timer_ = thread_.call_at(muted_until_, [self = weak_from_this()] {
    const auto alive = self.lock();
    if (!alive) return;
    auto& session = static_cast<Session&>(*alive);
    session.unmute_timer_.reset();
    session.work();
  });
}

// ── Writing ──

void Session::flush() {
  if (closed_ || writing_ || unsent_.empty()) return;
  const auto sent = unsent_.send(socket_);
  if (sent.bytes > 0) last_activity_ = shared_.clock.mono_now();
  shared_.bytes_out.add(sent.bytes);
  switch (sent.outcome) {
    case SendQueue::Outcome::kDone:
      return;
    case SendQueue::Outcome::kMore:
      return wait_until_writable();
    case SendQueue::Outcome::kBroken:
      return sent.reason.empty() ? close() : give_up(sent.reason);
  }
}

void Session::wait_until_writable() {
  writing_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_write, [self = shared_from_this()](const error_code& error) {
    self->writing_ = false;
    if (error) return self->close();
    self->flush();
    self->work();
  });
}

// ── The end ──

void Session::watch_idle() {
  idle_timer_ = thread_.call_at(last_activity_ + shared_.limits.idle_max, [self = weak_from_this()] {
    const auto alive = self.lock();
    if (!alive) return;
    auto& session = static_cast<Session&>(*alive);
    session.idle_timer_.reset();
    const MonoTime now = session.shared_.clock.mono_now();
    const bool waits = !session.slots_.empty() || session.unmute_timer_;
    if (!waits && now - session.last_activity_ >= session.shared_.limits.idle_max) return session.close();
    if (waits) session.last_activity_ = now;
    session.watch_idle();
  });
}

void Session::give_up(const std::string& reason) {
  if (closed_) return;
  shared_.requests.rejected();
  if (const auto held_back = shared_.rejects.pass()) {
    log_warning("broker", "connection of {} closed: {}{}", client_host_, reason,
                *held_back > 0 ? fmt::format(" ({} such messages held back)", *held_back) : "");
  }
  close();
}

void Session::close() {
  if (closed_) return;
  closed_ = true;
  if (idle_timer_) thread_.cancel(*idle_timer_);
  if (stall_timer_) thread_.cancel(*stall_timer_);
  if (unmute_timer_) thread_.cancel(*unmute_timer_);
  error_code ignored;
  socket_.close(ignored);
  pending_.clear();
  frame_.reset();
  shared_.handler->closed(connection_);
  thread_.release(shared_from_this());
}

}  // namespace millrace::broker
