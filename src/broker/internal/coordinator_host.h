#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/logging.h"
#include "base/result.h"
#include "broker/internal/coordinator_gate.h"
#include "broker/internal/coordinator_log.h"
#include "broker/internal/executor.h"
#include "coord/types.h"
#include "log/store.h"

namespace millrace::broker {

// Keeps a state machine of `coord` going: hands it events, has its records appended, releases its replies once these
// are durable, and wakes it at its deadlines.
//
// Where the log's buffer has no room for what was decided, the disk being slower than what comes, the gate is shut
// until there is: the write is appended then, and all that came meanwhile follows. Where records cannot be appended,
// the disk being full, the coordinator has decided what its log does not say: it ends, and one that is built from the
// log takes its place soon. As long as the disk stays full that one only tells what it knows: takes_records().
//
// All but post(), post_look() and is_crowded() happens on one executor, its owner, which is shared with whom its writes
// must keep an order.
template <typename Coordinator, typename Event, typename Effects, typename Reply>
class CoordinatorHost {
 public:
  // From any thread: run `task` on the owner's.
  void post(Task task) { owner_->post(std::move(task)); }
  // The same for a task that only looks at the coordinator, and shows nobody what must not be lost: even while a write
  // waits for room.
  void post_look(Task task) { owner_->post_past(std::move(task)); }
  // Whether so much waits that requests are to be refused instead of posted. From any thread.
  bool is_crowded() const { return owner_->is_crowded(); }

  // Whether there is a coordinator: not between a failed append and its successor.
  bool is_alive() const { return coordinator_ != nullptr; }
  // Whether what leads to records may be asked of it: not while the disk is known to be full, because it would end.
  bool takes_records() { return is_alive() && has_disk_room(kLeastRecordBytes); }

  // Hand in `request`; its reply comes to `done` when it may be shown, on the owner. While is_alive().
  template <typename ReplyBody, typename Request>
  void call(Request request, OnceFunction<ReplyBody> done) {
    call<ReplyBody>(std::move(request), *owner_, std::move(done));
  }
  // The same where `done` touches nothing of the owner's: it is called on `where`, a connection's thread, without a way
  // round by the owner; or at once on the owner, with a refusal.
  template <typename ReplyBody, typename Request>
  void call(Request request, Executor& where, OnceFunction<ReplyBody> done) {
    // The task has asked for something before, whose write waits for room now.
    if (!owner_->is_open()) return call_later(std::move(request), where, std::move(done));
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
  Status load(CoordinatorGate& owner) {
    owner_ = &owner;
    MILLRACE_ASSIGN_OR_RETURN(coordinator_, rebuild());
    absorb(coordinator_->start(now()));
    return {};
  }

  // A coordinator that all records of the log were applied to, not started.
  virtual Result<std::unique_ptr<Coordinator>> rebuild() = 0;
  // What is to be appended for `effects`: atomic writes, one after another.
  virtual Result<std::deque<CoordinatorWrite>> writes_for(const Effects& effects) const = 0;
  // It was appended: before replies are released.
  virtual void appended(const Effects&) {}
  // The coordinator takes events again: after a write that had to wait, or because it has taken the place of one that
  // had to end.
  virtual void resumed() {}
  // Whether all that falls due leads to records: it waits then for as long as the disk is full.
  virtual bool time_needs_room() const { return false; }
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
    while (coordinator_ && owner_->is_open() && coordinator_->next_deadline() &&
           *coordinator_->next_deadline() <= clock_.mono_now())
      absorb(coordinator_->on_time(now()));
  }
  coord::Instant now() const { return {clock_.mono_now(), clock_.wall_now()}; }

  CoordinatorGate& owner() const { return *owner_; }

 private:
  // After a failure, look so often whether the log takes records again.
  static constexpr std::chrono::seconds kRetryPause{1};
  // And what falls due, if all of that leads to records, is tried again after ever more of such pauses.
  static constexpr int kPauseDoublingsMax = 5;
  // Of what happens again and again while a disk is full the log tells so often.
  static constexpr std::chrono::seconds kTellEvery{60};
  // Whatever is appended takes at least that much.
  static constexpr size_t kLeastRecordBytes = 100;

  struct Asked {
    Executor* where;
    OnceFunction<Reply> done;
  };
  struct Outcome {
    OnceFunction<Reply> done;
    Reply reply;
  };
  // What the coordinator has decided; `writes` are still to be appended.
  struct Decided {
    Effects effects;
    std::deque<CoordinatorWrite> writes;
  };

  template <typename ReplyBody, typename Request>
  void call_later(Request request, Executor& where, OnceFunction<ReplyBody> done) {
    owner_->pass([this, &where, request = std::move(request), done = std::move(done)]() mutable {
      if (is_alive()) return call<ReplyBody>(std::move(request), where, std::move(done));
      Reply refused{.to = {}, .body = ReplyBody{}};
      if constexpr (requires(ReplyBody body) { body.errors.resize(request.offsets.size()); })
        std::get<ReplyBody>(refused.body).errors.resize(request.offsets.size());
      refuse(refused);
      done(std::get<ReplyBody>(std::move(refused.body)));
    });
  }

  void absorb(Effects effects) {
    MILLRACE_CHECK(!decided_, "an event came while a write waits for room");
    auto writes = writes_for(effects);
    decided_ = Decided{std::move(effects), writes ? std::move(*writes) : std::deque<CoordinatorWrite>()};
    if (!writes) return stop_serving(writes.error(), 0);
    log::Room none;
    if (append_decided(none)) release_decided();
  }

  // False: the rest waits for room, or the coordinator has ended.
  bool append_decided(log::Room& room) {
    while (!decided_->writes.empty()) {
      CoordinatorWrite& write = decided_->writes.front();
      const auto position = write.append(store_, room);
      if (!position) {
        stop_serving(position.error(), write.batch_bytes());
        return false;
      }
      if (!*position) {
        wait_for_room(write);
        return false;
      }
      note_append(**position);
      failures_ = 0;
      time_stands_until_ = {};
      decided_->writes.pop_front();
    }
    return true;
  }

  void wait_for_room(CoordinatorWrite& write) {
    owner_->shut();
    write.when_room(store_, [this, owner = owner_](log::Room room) {
      owner->post_past([this, room = std::move(room)]() mutable { go_on(std::move(room)); });
    });
  }

  void go_on(log::Room room) {
    const bool appended_all = append_decided(room);
    if (!appended_all && decided_) return;
    owner_->open();
    if (!appended_all) return;
    release_decided();
    if (is_alive() && owner_->is_open()) resumed();
  }

  void release_decided() {
    Effects effects = std::move(decided_->effects);
    decided_.reset();
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

  // What was decided, of which a write of `batch_bytes` failed, is undone: nobody has heard of it.
  void stop_serving(const Error& why, size_t batch_bytes) {
    is_told_ = !told_at_ || clock_.mono_now() - *told_at_ >= kTellEvery;
    if (is_told_) {
      told_at_ = clock_.mono_now();
      log_error("broker", "{} are not served for now: their records could not be written: {}", what_, why.message);
    }
    if (why.code == Errc::kOutOfSpace) needed_bytes_ = batch_bytes;
    failures_ = std::min(failures_ + 1, kPauseDoublingsMax);
    time_stands_until_ = clock_.mono_now() + kRetryPause * (1 << failures_);
    Effects effects = std::move(decided_->effects);
    decided_.reset();
    refuse_all(std::move(effects));
    refuse_all(coordinator_->resign());
    coordinator_.reset();
    deadline_.reset();
    recover_later();
  }

  // Whether `bytes` more would find room on the disk. Asked only after a write has found none.
  bool has_disk_room(size_t bytes) {
    if (needed_bytes_ && store_.has_disk_room(*needed_bytes_)) needed_bytes_.reset();
    return !needed_bytes_ || store_.has_disk_room(bytes);
  }

  void do_what_is_due() {
    if (!coordinator_) return;
    // What would not be written had better not be decided: the coordinator goes on telling what it knows.
    if (time_needs_room()) {
      if (clock_.mono_now() < time_stands_until_) return arm_timer(time_stands_until_, [this] { do_what_is_due(); });
      if (needed_bytes_ && !has_disk_room(*needed_bytes_))
        return arm_timer(clock_.mono_now() + kRetryPause, [this] { do_what_is_due(); });
    }
    absorb(coordinator_->on_time(now()));
  }

  // There is one at most. One that has run may be held back at the gate: it is to do nothing when another came since.
  template <typename Act>
  void arm_timer(MonoTime when, Act act) {
    cancel_timer();
    timer_ = owner_->call_at(when, [this, act, number = timer_number_] {
      if (number != timer_number_) return;
      timer_.reset();
      act();
    });
  }
  void cancel_timer() {
    if (timer_) owner_->cancel(*timer_);
    timer_.reset();
    ++timer_number_;
  }

  void recover_later() {
    arm_timer(clock_.mono_now() + kRetryPause, [this] {
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
    coordinator_ = std::move(*fresh);
    absorb(coordinator_->start(now()));
    if (!coordinator_) return;
    if (is_told_) log_info("broker", "{} are served again", what_);
    if (owner_->is_open()) resumed();
  }

  void schedule() {
    if (!coordinator_) return;
    const auto next = coordinator_->next_deadline();
    if (next == deadline_ && (timer_ || !next)) return;
    cancel_timer();
    deadline_ = next;
    if (next) arm_timer(*next, [this] { do_what_is_due(); });
  }

  const std::string_view what_;
  log::Store& store_;
  const Clock& clock_;
  CoordinatorGate* owner_ = nullptr;
  std::unique_ptr<Coordinator> coordinator_;
  uint64_t last_token_ = 0;
  std::map<coord::RequestToken, Asked> waiting_;
  std::optional<Decided> decided_;  // while the gate is shut for it
  log::WalPosition last_append_{0};
  std::string unreadable_;  // why the last try to rebuild failed
  // A write of so many bytes has failed on a full disk, and no room for it was seen since.
  std::optional<size_t> needed_bytes_;
  int failures_ = 0;  // since the last write
  MonoTime time_stands_until_;
  std::optional<MonoTime> told_at_;
  bool is_told_ = false;  // of the last failure
  std::optional<MonoTime> deadline_;
  std::optional<TimerId> timer_;
  uint64_t timer_number_ = 0;
};

}  // namespace millrace::broker
