#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "coord/types.h"

// The words of transactions (KIP-98, KIP-360, KIP-890), as Kafka's documentation uses them: what comes into a
// TransactionCoordinator, and what comes out of it.
namespace millrace::coord {

// What a transaction's request can end with. Each has the Kafka error of the same name.
enum class TransactionError {
  kNone,
  kInvalidRequest,             // the transactional id is empty
  kInvalidTransactionTimeout,  // not in 1..transaction.max.timeout.ms
  kInvalidProducerIdMapping,   // the transactional id is not known, or belongs to another producer id
  kProducerFenced,             // a newer incarnation of the producer has begun, or the transaction timed out
  kInvalidTxnState,            // what is asked does not fit the transaction's state
  kTransactionalIdNotFound,    // there is no such transactional id to describe
  kCoordinatorNotAvailable,    // no new producer id is at hand yet: try again
  kNotCoordinator,             // this coordinator has resigned: find the transaction's coordinator again
};

// Where a transactional id stands. Numbered as in Kafka's records. The two Prepare states are Kafka's only: it needs
// them between its decision and its last marker, which here are written at once.
enum class TransactionState : int8_t {
  kEmpty = 0,
  kOngoing = 1,
  kPrepareCommit = 2,
  kPrepareAbort = 3,
  kCompleteCommit = 4,
  kCompleteAbort = 5,
};

// Kafka's name of it: "CompleteCommit".
const char* transaction_state_name(TransactionState state);

// --- Settings, under Kafka's names with Kafka's defaults.

struct TransactionSettings {
  using Millis = std::chrono::milliseconds;

  Millis transaction_max_timeout_ms{900'000};
  Millis transactional_id_expiration_ms{7LL * 24 * 3'600'000};
  Millis transaction_remove_expired_transaction_cleanup_interval_ms{3'600'000};
};

// --- Requests

// InitProducerId of a transactional producer. With `expected` the producer believes to be that incarnation and wants
// its epoch raised (KIP-360); without, it is a new process that takes the id over.
struct InitProducerRequest {
  RequestToken token;
  std::string transactional_id;
  std::chrono::milliseconds timeout_ms{0};
  std::optional<Producer> expected;
};

// Add partitions to the producer's transaction, beginning one where none is open. Offsets of a group count as the
// partition of __consumer_offsets that holds them. With `verify_only`: are they all in it already?
struct AddPartitionsRequest {
  RequestToken token;
  std::string transactional_id;
  Producer producer;
  std::vector<TopicPartition> partitions;
  bool verify_only = false;
};

struct EndTransactionRequest {
  RequestToken token;
  std::string transactional_id;
  Producer producer;
  bool commit = false;
  // EndTxn version 5 and later (KIP-890): the producer goes on with the next epoch, told in the reply.
  bool raises_epoch = false;
};

using TransactionEvent = std::variant<InitProducerRequest, AddPartitionsRequest, EndTransactionRequest>;

// --- Replies

struct InitProducerReply {
  TransactionError error = TransactionError::kNone;
  Producer producer;
};

struct AddPartitionsReply {
  TransactionError error = TransactionError::kNone;
  std::vector<TopicPartition> absent;  // with verify_only and kInvalidTxnState: those that are not in the transaction
};

struct EndTransactionReply {
  TransactionError error = TransactionError::kNone;
  Producer producer;  // to go on with, where the request raises the epoch
};

struct TransactionReply {
  RequestToken to;
  std::variant<InitProducerReply, AddPartitionsReply, EndTransactionReply> body;
};

// --- Records: the durable form of a transactional id, Kafka's TransactionLogValue. The last one of an id counts; one
// without a value forgets it.

struct TransactionRecordValue {
  Producer producer;
  ProducerId previous_producer_id = kNoProducerId;  // before its epochs were used up
  std::chrono::milliseconds timeout_ms{0};
  TransactionState state = TransactionState::kEmpty;
  std::set<TopicPartition> partitions;
  WallTime last_update;                // in whole milliseconds
  std::optional<WallTime> started_at;  // of the last transaction, not while Empty; in whole milliseconds
  bool raises_epoch = false;           // the last end raised the epoch: KIP-890's, or a timeout

  friend bool operator==(const TransactionRecordValue&, const TransactionRecordValue&) = default;
};

struct TransactionRecord {
  std::string transactional_id;
  std::optional<TransactionRecordValue> value;

  friend bool operator==(const TransactionRecord&, const TransactionRecord&) = default;
};

// A transaction's end in some partitions: one control batch with `producer` in each.
struct Marker {
  Producer producer;
  bool commit = false;
  std::vector<TopicPartition> partitions;

  friend bool operator==(const Marker&, const Marker&) = default;
};

// From now on `producer` may write transactional records to these partitions, until a marker ends that.
struct Admission {
  Producer producer;
  std::vector<TopicPartition> partitions;
};

// What one call does to the world outside. As with the group coordinator's Effects, the coordinator's state has already
// moved on, so the caller must:
//  1. append `markers` to their partitions and `records`, in their order and behind those of earlier effects, in ONE
//     atomic write: a transaction is over in all its partitions, or in none. Partitions that no longer exist are left
//     out;
//  2. make `admissions` known to the partitions, before the next call;
//  3. send each reply only when this write, and those of all earlier effects, are durable.
struct TransactionEffects {
  std::vector<TransactionRecord> records;
  std::vector<Marker> markers;
  std::vector<Admission> admissions;
  std::vector<TransactionReply> replies;
};

// --- What DescribeTransactions and ListTransactions show

struct TransactionDescription {
  std::string transactional_id;
  TransactionRecordValue value;
};

struct TransactionFilter {
  std::vector<std::string> states;       // Kafka's names; empty: all
  std::vector<ProducerId> producer_ids;  // empty: all
  // Since the start of the last transaction, over or not; an id that has had none is older than that.
  std::optional<std::chrono::milliseconds> running_longer_than;
};

}  // namespace millrace::coord
