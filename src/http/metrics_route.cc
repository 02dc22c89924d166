#include "http/metrics_route.h"

#include <utility>

namespace millrace::http {

MetricsRoute::MetricsRoute(Server& server, Metrics& metrics) : metrics_(metrics), thread_([this] { run(); }) {
  server.route("GET", "/metrics", [this](const Request&, ResponderPtr responder) { ask(std::move(responder)); });
}

MetricsRoute::~MetricsRoute() { stop(); }

void MetricsRoute::ask(ResponderPtr responder) {
  {
    MutexLock lock(mutex_);
    if (!stopping_ && waiting_.size() < kWaitingMax) {
      waiting_.push_back(std::move(responder));
      changed_.notify_one();
      return;
    }
  }
  responder->send(Response::error(503, "unavailable", "too many ask for metrics, or the server is stopping"));
}

void MetricsRoute::stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void MetricsRoute::run() {
  while (true) {
    std::vector<ResponderPtr> asking;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !stopping_) changed_.wait(mutex_);
      if (stopping_) return;
      asking.swap(waiting_);
    }
    const std::string text = metrics_.to_prometheus_text();
    for (const ResponderPtr& responder : asking)
      responder->send({.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = text});
  }
}

}  // namespace millrace::http
