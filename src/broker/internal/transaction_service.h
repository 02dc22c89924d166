#pragma once

#include <deque>
#include <string>

#include "broker/internal/coordinator_host.h"
#include "broker/internal/group_service.h"
#include "broker/internal/producer_ids.h"
#include "broker/internal/topics.h"
#include "coord/transaction_coordinator.h"
#include "log/store.h"

namespace millrace::broker {

// The transaction coordinator with its log. What it decides is one atomic write: the record in __transaction_state, and
// the markers in every partition of the transaction, those of __consumer_offsets among them. Shares its owner with the
// groups, whose offsets a marker decides.
class TransactionService final : public CoordinatorHost<coord::TransactionCoordinator, coord::TransactionEvent,
                                                        coord::TransactionEffects, coord::TransactionReply> {
 public:
  TransactionService(log::Store& store, const Topics& topics, GroupService& groups, ProducerIds& producer_ids,
                     const Settings& settings, const Clock& clock);

  // Read __transaction_state and start the coordinator; behind GroupService::load(). Once, before `owner` runs.
  Status load(CoordinatorGate& owner);

  // Whether the topic of its log is there: FindCoordinator makes it.
  bool is_ready() const { return topics_.snapshot()->find(kTransactionsTopic) != nullptr; }

 private:
  Result<std::unique_ptr<coord::TransactionCoordinator>> rebuild() override;
  Result<std::deque<CoordinatorWrite>> writes_for(const coord::TransactionEffects& effects) const override;
  void appended(const coord::TransactionEffects& effects) override;
  void refuse(coord::TransactionReply& reply) const override;
  bool time_needs_room() const override { return true; }

  const Topics& topics_;
  GroupService& groups_;
  ProducerIds& producer_ids_;
  const Settings& settings_;
};

}  // namespace millrace::broker
