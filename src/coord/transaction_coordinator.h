#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "coord/transactions.h"

namespace millrace::coord {

namespace internal {
class Transaction;
}

// The coordinator of transactions: which incarnation of a transactional producer is the current one, what its open
// transaction has written to, and how it ended. A pure state machine as GroupCoordinator is, with the same life:
//
//   start:    apply() every record of the log, oldest first, then start() once
//   running:  handle() for each event; on_time() when next_deadline() is reached; queries at any time
//   end:      just drop it: everything that was acknowledged is in the records
//
// Every request gets exactly one reply, in the effects of its own call. What Kafka does in two phases, a decision and
// then a marker in every partition, is one atomic write of the caller's (see TransactionEffects): an end is final as
// soon as it is decided, and nobody is ever told CONCURRENT_TRANSACTIONS.
//
// A transaction that is open for longer than its timeout is aborted and its producer fenced. One thread at a time.
class TransactionCoordinator {
 public:
  // A producer id that nobody has had; nothing while there is none at hand.
  using NewProducerId = std::function<std::optional<ProducerId>()>;

  TransactionCoordinator(TransactionSettings settings, NewProducerId new_producer_id);
  ~TransactionCoordinator();
  TransactionCoordinator(const TransactionCoordinator&) = delete;
  TransactionCoordinator& operator=(const TransactionCoordinator&) = delete;

  // Before start(): take up a record of the log. The last one of an id wins, so the log may be compacted or not.
  void apply(TransactionRecord record);
  // After the last apply(): admits open transactions again. on_time() is due where a log of Kafka's stops between a
  // decision and its markers; call it before the first event.
  TransactionEffects start(Instant now);

  // After start().
  TransactionEffects handle(TransactionEvent event, Instant now);
  // Do what is due at `now`: a timeout, forgetting idle ids. One transaction a call, so that no write has two markers
  // for a partition; the next is due at once. Early and spurious calls do no harm.
  TransactionEffects on_time(Instant now);
  // When on_time() is next of use; nothing where nothing is pending. May change with each call above.
  std::optional<MonoTime> next_deadline() const;

  // Nothing waits for an answer: every reply is in the effects of its own call.
  TransactionEffects resign() { return {}; }

  // --- Queries. What they return may be shown only as rule 3 of TransactionEffects says.

  // Sorted by id.
  std::vector<TransactionDescription> list(const TransactionFilter& filter, WallTime now) const;
  // Nothing: the id is not known.
  std::optional<TransactionDescription> describe(std::string_view transactional_id) const;
  // How many transactions are open.
  size_t ongoing() const { return deadlines_.size(); }
  // Those, in no order.
  void visit_open(const std::function<void(const TransactionRecordValue&)>& visit) const;
  // How many transactional ids are known.
  size_t id_count() const { return transactions_.size(); }

 private:
  using Transactions = std::map<std::string, internal::Transaction, std::less<>>;

  void on(const InitProducerRequest& request, Instant now, TransactionEffects& effects);
  void on(const AddPartitionsRequest& request, Instant now, TransactionEffects& effects);
  void on(const EndTransactionRequest& request, Instant now, TransactionEffects& effects);
  tl::expected<internal::Transaction*, TransactionError> find_named(const std::string& transactional_id);
  void reschedule(internal::Transaction& transaction);
  void forget_idle(Instant now, TransactionEffects& effects);

  const TransactionSettings settings_;
  const NewProducerId new_producer_id_;
  Transactions transactions_;
  // When each open transaction times out, earliest first; the ids are those of transactions_.
  std::set<std::pair<MonoTime, std::string_view>> deadlines_;
  std::optional<MonoTime> next_idle_check_;
};

}  // namespace millrace::coord
