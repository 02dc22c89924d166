#pragma once

#include <optional>
#include <string>

#include "coord/transaction_coordinator.h"
#include "coord/transactions.h"

namespace millrace::coord::internal {

// One transactional id: its current producer and its transaction.
//
//   Empty --AddPartitions--> Ongoing --EndTxn--> CompleteCommit | CompleteAbort --AddPartitions--> Ongoing …
//                               |                                                --InitProducerId--> Empty
//                               +--timeout, or InitProducerId: fenced--> CompleteAbort
//
// Calls that change something add what they do to `effects`; errors change nothing.
class Transaction {
 public:
  explicit Transaction(std::string id) : id_(std::move(id)) {}

  // Take up what a record says.
  void restore(TransactionRecordValue value) { value_ = std::move(value); }
  // After the last restore().
  void start(Instant now, TransactionEffects& effects);

  InitProducerReply init_producer(const InitProducerRequest& request,
                                  const TransactionCoordinator::NewProducerId& new_producer_id, Instant now,
                                  TransactionEffects& effects);
  AddPartitionsReply add_partitions(const AddPartitionsRequest& request, Instant now, TransactionEffects& effects);
  EndTransactionReply end(const EndTransactionRequest& request,
                          const TransactionCoordinator::NewProducerId& new_producer_id, Instant now,
                          TransactionEffects& effects);
  // Abort what has run out of time and fence its producer; complete what Kafka had decided. Precondition: is_open().
  void on_time(Instant now, TransactionEffects& effects);

  const std::string& id() const { return id_; }
  const TransactionRecordValue& value() const { return value_; }
  bool is_ongoing() const { return value_.state == TransactionState::kOngoing; }
  bool is_open() const {
    return is_ongoing() || value_.state == TransactionState::kPrepareCommit ||
           value_.state == TransactionState::kPrepareAbort;
  }
  // When the open transaction times out. Precondition: is_open().
  MonoTime deadline() const { return deadline_; }

  std::optional<MonoTime> scheduled;  // its entry among the coordinator's deadlines

 private:
  bool is_current_or_previous(const Producer& producer) const;
  bool is_after_end(const EndTransactionRequest& request) const;
  TransactionError check_producer(const Producer& producer) const;
  void raise_epoch(std::optional<ProducerId> successor);
  void abort_and_fence(Instant now, TransactionEffects& effects);
  void complete(bool commit, const Producer& marked_by, Instant now, TransactionEffects& effects);
  void admit(std::vector<TopicPartition> partitions, TransactionEffects& effects) const;
  void record(Instant now, TransactionEffects& effects);

  const std::string id_;
  TransactionRecordValue value_;
  // The epoch before the last raise that the client asked for by naming it: if it asks again, it has not heard.
  ProducerEpoch last_epoch_ = kNoProducerEpoch;
  MonoTime deadline_;
};

}  // namespace millrace::coord::internal
