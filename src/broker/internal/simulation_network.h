#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "broker/internal/request.h"
#include "broker/internal/simulation_broker.h"
#include "wire/frame.h"

namespace millrace::broker {

// A request on its way, and what becomes of its answer.
struct InFlight {
  std::string what;  // for people
  Bytes frame;       // without its length
  // The broker is about to take it up.
  std::function<void()> arriving;
  // The broker has let the answer out: from now on it must be true. Called whether or not the client gets it.
  std::function<void(ByteView frame)> released;
  // What the client hears: the answer, or nothing where the connection was lost. Once; empty when it has heard.
  std::function<void(std::optional<ByteView> frame)> heard;
};

// A TCP connection: what is sent arrives in order, or not at all. The broker takes one request at a time.
class Link final : public ReplySink {
 public:
  explicit Link(uint64_t number) : number_(number) {}

  void answer(uint64_t, std::optional<Response> response, std::chrono::milliseconds) override {
    if (!in_work) return;
    InFlight done = std::move(*in_work);
    in_work.reset();
    auto whole = response ? response->flatten() : Result<Bytes>(Bytes(4));
    if (!whole) {
      is_given_up = true;
      return;
    }
    Bytes frame = std::move(*whole);
    frame.erase(frame.begin(), frame.begin() + 4);
    if (done.released) done.released(frame);
    if (is_lost) return;
    done.frame = std::move(frame);
    answers.push_back(std::move(done));
  }
  void give_up(const std::string& reason) override {
    if (reason.find("the log has failed") == reason.npos)
      ADD_FAILURE() << "the broker gave a connection up: " << reason << " at " << (in_work ? in_work->what : "nothing");
    is_given_up = true;
  }

  // The next request waits for the answer in any case.
  void hold_next(bool) override {}

  uint64_t number() const { return number_; }

  std::deque<InFlight> requests;  // not yet taken by the broker
  std::optional<InFlight> in_work;
  std::deque<InFlight> answers;  // not yet read by the client
  bool is_hurried = false;       // the broker was told that another request waits for the one in work
  bool is_lost = false;          // as the client sees it
  bool is_given_up = false;      // by the broker
  bool may_arrive_late = true;   // what the client has sent, after it has gone over to another connection

 private:
  const uint64_t number_;
};
using LinkPtr = std::shared_ptr<Link>;

// What lies between the clients and the broker. A client whose connection is lost may come back over another one while
// what it sent over the old one is still on its way: so requests come late, twice, and in another order.
class SimulatedNetwork {
 public:
  explicit SimulatedNetwork(Random& random) : random_(random) {}

  LinkPtr connect() {
    links_.push_back(std::make_shared<Link>(++last_number_));
    return links_.back();
  }

  // Send over `link`. `heard` gets the answer or null, `released` what the broker answered, as in InFlight.
  template <typename Request>
  void send(Link& link, std::string what, const Request& request, int16_t version,
            std::function<void(const typename Request::Response*)> heard,
            std::function<void(const typename Request::Response&)> released = {}, std::function<void()> arriving = {}) {
    using Answer = typename Request::Response;
    const auto encoded = wire::encode_request(request, ++last_id_, "client", version);
    ASSERT_TRUE(encoded) << encoded.error().message;
    Bytes frame = encoded->flatten();
    frame.erase(frame.begin(), frame.begin() + 4);
    const auto decode = [version](ByteView bytes) {
      ByteReader in(bytes);
      return wire::decode_response<Answer>(in, version);
    };
    InFlight sent{.what = std::move(what),
                  .frame = std::move(frame),
                  .arriving = std::move(arriving),
                  .released = {},
                  .heard = {}};
    sent.heard = [heard = std::move(heard), decode](std::optional<ByteView> bytes) {
      if (!bytes) return heard(nullptr);
      const auto answer = decode(*bytes);
      ASSERT_TRUE(answer) << answer.error().message;
      heard(&*answer);
    };
    if (released) {
      sent.released = [released = std::move(released), decode](ByteView bytes) {
        const auto answer = decode(bytes);
        ASSERT_TRUE(answer) << answer.error().message;
        released(*answer);
      };
    }
    link.requests.push_back(std::move(sent));
  }

  // One thing of those that may happen next: a request arrives, the broker sees that a connection is gone. Says what;
  // nothing where there was nothing to do.
  std::string deliver_request(SimulatedBroker& broker) {
    std::vector<LinkPtr> ready;
    for (const LinkPtr& link : links_) {
      // What comes over a connection that its client has given up comes late, when much else has happened.
      if (link->is_lost && !random_.chance(0.1)) continue;
      const bool may_arrive = !link->in_work && !link->requests.empty();
      const bool may_hurry = link->in_work && !link->requests.empty() && !link->is_hurried;
      if (may_arrive || may_hurry || (link->is_lost && link->requests.empty())) ready.push_back(link);
    }
    if (ready.empty()) return {};
    const LinkPtr link = ready[random_.below(ready.size())];
    if (link->requests.empty()) {
      std::erase(links_, link);
      closed_.push_back(link);
      broker.closed(link->number());
      return "the broker sees that connection " + std::to_string(link->number()) + " is closed";
    }
    if (link->in_work) {
      link->is_hurried = true;
      broker.next_waits(link->number());
      return "the broker sees that another request waits on connection " + std::to_string(link->number());
    }
    link->is_hurried = false;
    link->in_work = std::move(link->requests.front());
    link->requests.pop_front();
    const std::string what = link->in_work->what;
    if (link->in_work->arriving) link->in_work->arriving();
    // The answer may come at once.
    const Bytes frame = std::move(link->in_work->frame);
    broker.handle(frame, link->number(), link);
    return what + (link->is_lost ? " (late)" : "");
  }

  // A client reads an answer.
  std::string deliver_answer() {
    std::vector<LinkPtr> ready;
    for (const LinkPtr& link : links_) {
      if (link->is_given_up && !link->is_lost) {
        lose(link);
        return "connection " + std::to_string(link->number()) + " is given up";
      }
      if (!link->answers.empty()) ready.push_back(link);
    }
    if (ready.empty()) return {};
    Link& link = *ready[random_.below(ready.size())];
    InFlight done = std::move(link.answers.front());
    link.answers.pop_front();
    done.heard(done.frame);
    return "answered: " + done.what;
  }

  // The client gives its connection up. Some of what it sent may arrive nevertheless.
  void lose(const LinkPtr& link) {
    if (std::exchange(link->is_lost, true)) return;
    std::vector<InFlight> unheard;
    const auto forget = [&](InFlight& request) {
      if (request.heard)
        unheard.push_back({.what = {}, .frame = {}, .arriving = {}, .released = {}, .heard = std::move(request.heard)});
      request.heard = nullptr;
    };
    for (InFlight& request : link->answers) forget(request);
    if (link->in_work) forget(*link->in_work);
    for (InFlight& request : link->requests) forget(request);
    link->answers.clear();
    const size_t arriving = link->may_arrive_late ? random_.below(link->requests.size() + 1) : 0;
    link->requests.erase(link->requests.begin() + static_cast<std::ptrdiff_t>(arriving), link->requests.end());
    for (InFlight& request : unheard) request.heard(std::nullopt);
  }

  // The broker is gone, and every connection with it.
  void lose_all() {
    const std::vector<LinkPtr> all = std::exchange(links_, {});
    closed_.clear();
    for (const LinkPtr& link : all) lose(link);
  }

  bool is_quiet() const {
    return std::ranges::all_of(links_, [](const LinkPtr& link) {
      return !link->is_lost && !link->in_work && link->requests.empty() && link->answers.empty();
    });
  }

  // One that is open, if there is any.
  LinkPtr any_open() const {
    std::vector<LinkPtr> open;
    for (const LinkPtr& link : links_)
      if (!link->is_lost) open.push_back(link);
    return open.empty() ? nullptr : open[random_.below(open.size())];
  }

 private:
  Random& random_;
  std::vector<LinkPtr> links_;
  std::vector<LinkPtr> closed_;  // what the broker still answers there is looked at, though nobody hears it
  uint64_t last_number_ = 0;
  int32_t last_id_ = 0;
};

}  // namespace millrace::broker
