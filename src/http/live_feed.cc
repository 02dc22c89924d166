#include "http/live_feed.h"

#include <algorithm>

namespace millrace::http {
namespace {

constexpr std::chrono::milliseconds kInterval{1000};
// Half an hour.
constexpr size_t kHistoryMax = 1800;

}  // namespace

LiveFeed::LiveFeed(Server& server, Sample sample)
    : sample_(std::move(sample)), history_bytes_max_(server.options().stream_bytes_max / 2) {
  server.route("GET", "/v1/live", [this](const Request&, ResponderPtr responder) { add(responder->stream()); });
  thread_ = std::jthread([this] { run(); });
}

LiveFeed::~LiveFeed() { stop(); }

void LiveFeed::stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mutex_);
  clients_.clear();
  newcomers_.clear();
}

void LiveFeed::add(std::shared_ptr<EventSink> client) {
  MutexLock lock(mutex_);
  newcomers_.push_back(std::move(client));
  changed_.notify_all();
}

void LiveFeed::run() {
  while (true) {
    const auto clients = wait_for_clients();
    if (clients.empty()) return;
    broadcast(sample_(), clients);
    if (!sleep_unless_stopped()) return;
  }
}

std::vector<std::shared_ptr<EventSink>> LiveFeed::wait_for_clients() {
  std::vector<std::shared_ptr<EventSink>> newcomers;
  std::vector<std::shared_ptr<EventSink>> everyone;
  {
    MutexLock lock(mutex_);
    while (true) {
      if (stopping_) return {};
      std::erase_if(clients_, [](const auto& client) { return !client->is_open(); });
      if (!clients_.empty() || !newcomers_.empty()) break;
      changed_.wait(mutex_);
    }
    newcomers.swap(newcomers_);
    clients_.insert(clients_.end(), newcomers.begin(), newcomers.end());
    everyone = clients_;
  }
  if (!newcomers.empty()) {
    std::string history = "[";
    for (const std::string& past : history_) history += (history.size() > 1 ? "," : "") + past;
    history += "]";
    for (const auto& newcomer : newcomers) newcomer->send("history", next_id_, history);
    ++next_id_;
  }
  return everyone;
}

// False: stop.
bool LiveFeed::sleep_unless_stopped() {
  const auto until = std::chrono::steady_clock::now() + kInterval;
  MutexLock lock(mutex_);
  while (!stopping_ && newcomers_.empty()) {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    changed_.wait_for(mutex_, left);
  }
  return !stopping_;
}

void LiveFeed::broadcast(const Overview& overview, const std::vector<std::shared_ptr<EventSink>>& clients) {
  const std::string text = to_json(overview);
  for (const auto& client : clients) client->send("overview", next_id_, text);
  ++next_id_;
  keep(overview);
}

// A sample grows with the topics, groups and models that there are: the history is bounded in bytes, too.
void LiveFeed::keep(Overview overview) {
  overview.events.clear();
  history_bytes_ += history_.emplace_back(to_json(overview)).size();
  while (history_.size() > kHistoryMax || history_bytes_ > history_bytes_max_) {
    history_bytes_ -= history_.front().size();
    history_.pop_front();
  }
}

}  // namespace millrace::http
