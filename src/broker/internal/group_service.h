#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/metrics.h"
#include "base/random.h"
#include "broker/internal/coordinator_host.h"
#include "broker/internal/topics.h"
#include "coord/group_coordinator.h"
#include "log/store.h"

namespace millrace::broker {

// The group coordinator with its log, __consumer_offsets.
class GroupService final : public CoordinatorHost<coord::GroupCoordinator, coord::Event, coord::Effects, coord::Reply> {
 public:
  GroupService(log::Store& store, const Topics& topics, const Settings& settings, const Clock& clock, Random random);

  // Read __consumer_offsets and start the coordinator. Once, before `owner` runs; `owner` outlives the service's use.
  Status load(CoordinatorGate& owner);

  enum class State {
    kServing,
    kNoGroupsYet,  // there is no __consumer_offsets: no group has anything
    kFailed,       // the last append failed; until the log takes records again, nothing may be said about groups
  };
  State state() const;

  // Its offsets go, as soon as there is a coordinator: a topic to come may have its name.
  void topic_deleted(const std::string& topic);
  void connection_closed(uint64_t connection) { handle(coord::ConnectionClosed{coord::ConnectionId{connection}}); }
  void next_request_waits(uint64_t connection) { handle(coord::NextRequestWaits{coord::ConnectionId{connection}}); }
  // Told of each rebalance that has ended; for before load().
  void set_rebalance_observer(std::function<void(std::vector<coord::Rebalance>)> observer) {
    on_rebalances_ = std::move(observer);
  }
  // The producer's marker stands in partition `partition` of __consumer_offsets, durable at `position`.
  void transaction_ended(ProducerId producer, bool committed, int32_t partition, log::WalPosition position);

  // Groups that have records. From any thread.
  uint64_t group_count() const { return group_count_.load(std::memory_order_relaxed); }
  // How long rebalances took that ended since the start. From any thread.
  const DurationHistogram& rebalances() const { return rebalances_; }

 private:
  Result<std::unique_ptr<coord::GroupCoordinator>> rebuild() override;
  Result<std::deque<CoordinatorWrite>> writes_for(const coord::Effects& effects) const override;
  void appended(const coord::Effects& effects) override;
  void refuse(coord::Reply& reply) const override;
  void resumed() override { forget_deleted(); }

  void forget_deleted();
  // What a topic's deletion has left where the process ended before its offsets were gone.
  void note_missing_topics();
  Status replay(coord::GroupCoordinator& coordinator) const;
  coord::TransactionEnded ended(ProducerId producer, bool committed, int32_t partition) const;

  const Topics& topics_;
  const Settings& settings_;
  Random random_;
  std::function<void(std::vector<coord::Rebalance>)> on_rebalances_;
  std::set<std::string> deleted_;  // topics whose offsets are still to go
  std::atomic<uint64_t> group_count_{0};
  DurationHistogram rebalances_;
};

}  // namespace millrace::broker
