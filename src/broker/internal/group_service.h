#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/metrics.h"
#include "base/random.h"
#include "broker/internal/executor.h"
#include "broker/internal/topics.h"
#include "coord/group_coordinator.h"
#include "log/store.h"

namespace millrace::broker {

// The group coordinator with its log: hands it events, appends its records to __consumer_offsets, releases its replies
// once these are durable, and wakes it at its deadlines. Everything but post() and group_count() happens on one
// executor's thread, its owner.
class GroupService {
 public:
  GroupService(log::Store& store, const Topics& topics, const Settings& settings, const Clock& clock, Random random,
               Metrics& metrics);

  // Read __consumer_offsets and start the coordinator. Once, before `owner` runs; `owner` outlives the service's use.
  Status load(Executor& owner);

  // From any thread: run `task` on the owner's.
  void post(Task task) { owner_->post(std::move(task)); }

  enum class State {
    kServing,
    kNoGroupsYet,  // there is no __consumer_offsets: no group has anything
    kFailed,       // the last append failed; until the log takes records again, nothing may be said about groups
  };
  State state() const;

  // Hand in `request` (a coord::JoinRequest and so on); its reply comes to `done` when it may be shown.
  template <typename ReplyBody, typename Request>
  void call(Request request, OnceFunction<ReplyBody> done) {
    request.token = coord::RequestToken{++last_token_};
    waiting_.emplace(request.token, [done = std::move(done)](coord::Reply reply) mutable {
      done(std::get<ReplyBody>(std::move(reply.body)));
    });
    handle(std::move(request));
  }
  void topic_deleted(const std::string& topic) { handle(coord::TopicDeleted{topic}); }

  // For queries, while kServing. What they say may be shown from within after_durable() only.
  const coord::GroupCoordinator& coordinator() const { return *coordinator_; }
  // Run `show` when all that was decided so far is durable; with an error where it never will be.
  void after_durable(OnceFunction<const Status&> show);

  // Groups that have records. From any thread.
  uint64_t group_count() const { return group_count_.load(std::memory_order_relaxed); }

 private:
  using Done = OnceFunction<coord::Reply>;
  struct Outcome {
    Done done;
    coord::Reply reply;
  };

  coord::Instant now() const { return {clock_.mono_now(), clock_.wall_now()}; }
  void handle(coord::Event event);
  void absorb(coord::Effects effects);
  Status append(const std::vector<coord::Record>& records);
  // After a failure, look so often whether the log takes records again.
  static constexpr std::chrono::seconds kRetryPause{1};

  void deliver(std::vector<coord::Reply> replies);
  void refuse_all(coord::Effects effects);
  void stop_serving(const Error& why);
  void recover_later();
  void recover();
  void schedule();
  Status replay(coord::GroupCoordinator& coordinator) const;
  void count_groups();

  log::Store& store_;
  const Topics& topics_;
  const Settings& settings_;
  const Clock& clock_;
  Random random_;
  Executor* owner_ = nullptr;

  std::unique_ptr<coord::GroupCoordinator> coordinator_;  // null while kFailed
  uint64_t last_token_ = 0;
  std::map<coord::RequestToken, Done> waiting_;
  log::WalPosition last_append_{0};
  std::optional<MonoTime> deadline_;
  std::optional<TimerId> timer_;
  std::atomic<uint64_t> group_count_{0};
  Gauge group_gauge_;
};

}  // namespace millrace::broker
