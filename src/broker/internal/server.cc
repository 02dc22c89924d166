#include "broker/internal/server.h"

#include <algorithm>
#include <thread>

#include "base/logging.h"
#include "broker/internal/listener.h"
#include "broker/internal/session.h"

namespace millrace::broker {
namespace {

size_t thread_count(const Settings& settings) {
  if (settings.num_network_threads > 0) return static_cast<size_t>(settings.num_network_threads);
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 4);
}

}  // namespace

Server::Server(const Settings& settings, Clock& clock, RequestMetrics& requests)
    : connections_max_(static_cast<uint64_t>(settings.max_connections)), rejects_(std::make_unique<RateLimit>(clock)) {
  shared_.reset(new SessionShared{
      .handler = nullptr,
      .limits = {.request_bytes_max = static_cast<size_t>(settings.socket_request_bytes_max),
                 .idle_max = std::chrono::milliseconds(settings.connections_max_idle_ms)},
      .budget = std::make_shared<MemoryBudget>(settings.queued_request_bytes_max),
      .clock = clock,
      .rejects = *rejects_,
      .requests = requests,
      .bytes_in = bytes_in_,
      .bytes_out = bytes_out_,
      .on_closed = [this] { connections_.fetch_sub(1, std::memory_order_relaxed); },
  });
  for (size_t i = 0; i < thread_count(settings); ++i) threads_.push_back(std::make_unique<IoThread>(clock));
}

Server::~Server() { stop(); }

Status Server::listen(const std::vector<ListenerOptions>& listeners) {
  for (const ListenerOptions& options : listeners) {
    MILLRACE_ASSIGN_OR_RETURN(auto listener, Listener::open(options, *threads_.front()));
    listeners_.push_back(std::move(listener));
  }
  return {};
}

void Server::start(FrameHandler& handler) {
  shared_->handler = &handler;
  for (const auto& thread : threads_) thread->start();
  threads_.front()->post([this] {
    for (size_t index = 0; index < listeners_.size(); ++index) {
      listeners_[index]->start(
          {.next_thread = [this]() -> IoThread& { return *threads_[next_thread_++ % threads_.size()]; },
           .on_connection =
               [this, index](Listener::Socket socket, IoThread& home) {
                 if (connections_.load(std::memory_order_relaxed) >= connections_max_) {
                   refused_.add();
                   if (rejects_->pass())
                     log_warning("broker", "a connection refused: max.connections is {}", connections_max_);
                   return;
                 }
                 connections_.fetch_add(1, std::memory_order_relaxed);
                 auto session = std::make_shared<Session>(std::move(socket), home, *shared_, index);
                 home.post([session = std::move(session)] { session->start(); });
               },
           .notes = rejects_.get()});
    }
  });
}

void Server::stop() {
  for (const auto& thread : threads_) thread->stop();
  listeners_.clear();
  shared_->budget->drop_waiters();
}

IoThread& Server::thread(size_t index) const { return *threads_[index]; }

void Server::clock_moved() {
  for (const auto& thread : threads_) thread->post([&io = *thread] { io.run_timers(); });
}

uint64_t Server::queued_request_bytes() const { return shared_->budget->used(); }

void Server::collect(Exposition& out) const {
  using enum Exposition::Type;
  out.family("millrace_broker_connections", "Connections open now.", kGauge).add({}, connections());
  out.family("millrace_broker_connections_opened_total", "Connections accepted.", kCounter)
      .add({}, shared_->connections_made.load(std::memory_order_relaxed));
  out.family("millrace_broker_connections_refused_total", "Connections closed as they came: max.connections.", kCounter)
      .add({}, refused_.value());
  out.family("millrace_broker_received_bytes_total", "Bytes read from clients.", kCounter).add({}, bytes_in_.value());
  out.family("millrace_broker_sent_bytes_total", "Bytes written to clients.", kCounter).add({}, bytes_out_.value());
  out.family("millrace_broker_request_memory_bytes", "Memory of requests being read or in work.", kGauge)
      .add({}, queued_request_bytes());
  out.family("millrace_broker_request_memory_limit_bytes", "The most memory of requests: queued.max.request.bytes.",
             kGauge)
      .add({}, shared_->budget->bytes_max());
}

uint16_t Server::port(size_t listener) const { return listeners_[listener]->port(); }

}  // namespace millrace::broker
