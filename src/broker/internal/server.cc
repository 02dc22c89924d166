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

std::vector<double> latency_buckets_s() {
  return {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5};
}

}  // namespace

Server::Server(const Settings& settings, Clock& clock, Metrics& metrics)
    : connections_max_(static_cast<uint64_t>(settings.max_connections)),
      connections_gauge_(metrics.gauge("millrace_broker_connections", "Connections open now")),
      rejects_(std::make_unique<RateLimit>(clock)) {
  shared_.reset(new SessionShared{
      .handler = nullptr,
      .limits = {.request_bytes_max = static_cast<size_t>(settings.socket_request_bytes_max),
                 .idle_max = std::chrono::milliseconds(settings.connections_max_idle_ms)},
      .budget = std::make_shared<MemoryBudget>(settings.queued_request_bytes_max),
      .clock = clock,
      .rejects = *rejects_,
      .bytes_in = metrics.counter("millrace_broker_received_bytes_total", "Bytes read from clients"),
      .bytes_out = metrics.counter("millrace_broker_sent_bytes_total", "Bytes written to clients"),
      .latency_s = metrics.histogram("millrace_broker_request_seconds",
                                     "From a request's start to its answer's turn to be sent", latency_buckets_s()),
      .on_closed =
          [this] {
            connections_gauge_.add(-1);
            connections_.fetch_sub(1, std::memory_order_relaxed);
          },
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
                   if (rejects_->pass())
                     log_warning("broker", "a connection refused: max.connections is {}", connections_max_);
                   return;
                 }
                 connections_.fetch_add(1, std::memory_order_relaxed);
                 connections_gauge_.add(1);
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

Executor& Server::thread(size_t index) const { return *threads_[index]; }

void Server::clock_moved() {
  for (const auto& thread : threads_) thread->post([&io = *thread] { io.run_timers(); });
}

uint64_t Server::queued_request_bytes() const { return shared_->budget->used(); }

uint16_t Server::port(size_t listener) const { return listeners_[listener]->port(); }

}  // namespace millrace::broker
