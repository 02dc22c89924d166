#pragma once

#include <fmt/core.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/logging.h"
#include "base/result.h"
#include "broker/internal/executor.h"
#include "coord/types.h"
#include "log/store.h"

namespace millrace::broker {

// Keeps a state machine of `coord` going: hands it events, has its records appended, releases its replies once these
// are durable, and wakes it at its deadlines. Where records cannot be appended, the coordinator has decided what its
// log does not say: it ends, and one that is built from the log takes its place as soon as the log takes records again.
//
// All but post() happens on one executor, its owner.
template <typename Coordinator, typename Event, typename Effects, typename Reply>
class CoordinatorHost {
 public:
  // From any thread: run `task` on the owner's.
  void post(Task task) { owner_->post(std::move(task)); }

  // Whether there is a coordinator: not between a failed append and its successor.
  bool is_alive() const { return coordinator_ != nullptr; }

  // Hand in `request`; its reply comes to `done` when it may be shown, on the owner. While is_alive().
  template <typename ReplyBody, typename Request>
  void call(Request request, OnceFunction<ReplyBody> done) {
    call<ReplyBody>(std::move(request), *owner_, std::move(done));
  }
  // The same where `done` touches nothing of the owner's: it is called on `where`, a connection's thread, without a way
  // round by the owner; or at once on the owner, with a refusal.
  template <typename ReplyBody, typename Request>
  void call(Request request, Executor& where, OnceFunction<ReplyBody> done) {
    request.token = coord::RequestToken{++last_token_};
    waiting_.emplace(request.token, Asked{&where, [done = std::move(done)](Reply reply) mutable {
                                            done(std::get<ReplyBody>(std::move(reply.body)));
                                          }});
    handle(std::move(request));
  }

  // For queries, while is_alive(). What they say may be shown from within after_durable() only.
  const Coordinator& coordinator() const { return *coordinator_; }

  // Run `show` when all that was decided so far is durable, on `where`; with an error where it never will be. What runs
  // on the same executor runs in the order of the decisions.
  void after_durable(Executor& where, OnceFunction<const Status&> show) {
    auto shared = std::make_shared<OnceFunction<const Status&>>(std::move(show));
    store_.when_durable(last_append_, [&where, shared](const Status& durable) {
      if (where.is_current()) return (*shared)(durable);
      where.post([shared, durable] { (*shared)(durable); });
    });
  }

 protected:
  // `what` it serves, in the plural, for the log.
  CoordinatorHost(std::string_view what, log::Store& store, const Clock& clock)
      : what_(what), store_(store), clock_(clock) {}
  ~CoordinatorHost() = default;

  // Build the coordinator from its log. Once, before `owner` runs; `owner` outlives this.
  Status load(Executor& owner) {
    owner_ = &owner;
    MILLRACE_ASSIGN_OR_RETURN(coordinator_, rebuild());
    absorb(coordinator_->start(now()));
    return {};
  }

  // A coordinator that all records of the log were applied to, not started.
  virtual Result<std::unique_ptr<Coordinator>> rebuild() = 0;
  // Append what `effects` asks for, in one atomic write, and note_append() its position.
  virtual Status append(const Effects& effects) = 0;
  // It was appended: before replies are released.
  virtual void appended(const Effects&) {}
  // Another coordinator has taken the place of one that had to end, and takes events again.
  virtual void recovered() {}
  // Turn a reply that was decided, but cannot be vouched for, into a refusal. On any thread.
  virtual void refuse(Reply& reply) const = 0;

  void handle(Event event) {
    if (coordinator_) absorb(coordinator_->handle(std::move(event), now()));
  }
  // Nothing decided from here on may be shown before `position` is durable.
  void note_append(log::WalPosition position) { last_append_ = std::max(last_append_, position); }
  log::WalPosition last_append() const { return last_append_; }
  // Do what is due already, before anybody asks.
  void catch_up() {
    while (coordinator_ && coordinator_->next_deadline() && *coordinator_->next_deadline() <= clock_.mono_now())
      absorb(coordinator_->on_time(now()));
  }
  coord::Instant now() const { return {clock_.mono_now(), clock_.wall_now()}; }

  log::Store& store() const { return store_; }

 private:
  // After a failure, look so often whether the log takes records again.
  static constexpr std::chrono::seconds kRetryPause{1};

  struct Asked {
    Executor* where;
    OnceFunction<Reply> done;
  };
  struct Outcome {
    OnceFunction<Reply> done;
    Reply reply;
  };

  void absorb(Effects effects) {
    if (const auto written = append(effects); !written) {
      refuse_all(std::move(effects));
      return stop_serving(written.error());
    }
    appended(effects);
    deliver(std::move(effects.replies));
    schedule();
  }

  void deliver(std::vector<Reply> replies) {
    std::map<Executor*, std::vector<Outcome>> by_place;
    for (Reply& reply : replies) {
      auto asked = waiting_.extract(reply.to);
      if (asked.empty()) continue;
      by_place[asked.mapped().where].push_back({std::move(asked.mapped().done), std::move(reply)});
    }
    for (auto& [where, here] : by_place) {
      after_durable(*where, [this, outcomes = std::move(here)](const Status& durable) mutable {
        for (Outcome& outcome : outcomes) {
          if (!durable) refuse(outcome.reply);
          outcome.done(std::move(outcome.reply));
        }
      });
    }
  }

  void refuse_all(Effects effects) {
    for (Reply& reply : effects.replies) {
      auto asked = waiting_.extract(reply.to);
      if (asked.empty()) continue;
      refuse(reply);
      asked.mapped().done(std::move(reply));
    }
  }

  void stop_serving(const Error& why) {
    log_error("broker", "{} are not served for now: their records could not be written: {}", what_, why.message);
    refuse_all(coordinator_->resign());
    coordinator_.reset();
    if (timer_) owner_->cancel(*timer_);
    deadline_.reset();
    recover_later();
  }

  void recover_later() {
    timer_ = owner_->call_at(clock_.mono_now() + kRetryPause, [this] {
      timer_.reset();
      // On a full disk what was appended last may be on its way for long: this thread serves others meanwhile.
      after_durable(*owner_, [this, waited_for = last_append_](const Status& durable) {
        // A log that is closed or has failed for good stays so.
        if (!durable) return;
        // What was noted meanwhile, a marker, is to be read back, too.
        if (last_append_ > waited_for) return recover_later();
        recover();
      });
    });
  }

  void recover() {
    auto fresh = rebuild();
    if (!fresh) {
      // A read that fails may work the next time; damage is mended at a start only.
      const bool may_pass = fresh.error().code != Errc::kCorruption;
      if (may_pass) recover_later();
      if (fresh.error().message == unreadable_) return;
      unreadable_ = fresh.error().message;
      return log_error("broker", "{} are not served {}: {}", what_, may_pass ? "for now" : "any more", unreadable_);
    }
    unreadable_.clear();
    Effects effects = (*fresh)->start(now());
    if (!append(effects)) return recover_later();
    coordinator_ = std::move(*fresh);
    appended(effects);
    log_info("broker", "{} are served again", what_);
    schedule();
    recovered();
  }

  void schedule() {
    const auto next = coordinator_->next_deadline();
    if (next == deadline_ && (timer_ || !next)) return;
    if (timer_) owner_->cancel(*timer_);
    timer_.reset();
    deadline_ = next;
    if (!next) return;
    timer_ = owner_->call_at(*next, [this] {
      timer_.reset();
      if (coordinator_) absorb(coordinator_->on_time(now()));
    });
  }

  const std::string_view what_;
  log::Store& store_;
  const Clock& clock_;
  Executor* owner_ = nullptr;
  std::unique_ptr<Coordinator> coordinator_;
  uint64_t last_token_ = 0;
  std::map<coord::RequestToken, Asked> waiting_;
  log::WalPosition last_append_{0};
  std::string unreadable_;  // why the last try to rebuild failed
  std::optional<MonoTime> deadline_;
  std::optional<TimerId> timer_;
};

}  // namespace millrace::broker
