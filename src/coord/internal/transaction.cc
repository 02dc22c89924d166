#include "coord/internal/transaction.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "base/check.h"

namespace millrace::coord::internal {
namespace {

// The last epoch is kept for fencing: a producer id whose epoch has come this far gets a successor.
constexpr ProducerEpoch kLastEpoch{std::numeric_limits<int16_t>::max() - 1};

ProducerEpoch next(ProducerEpoch epoch) { return ProducerEpoch{static_cast<int16_t>(epoch.value() + 1)}; }

}  // namespace

void Transaction::start(Instant now, TransactionEffects& effects) {
  switch (value_.state) {
    case TransactionState::kPrepareCommit:
    case TransactionState::kPrepareAbort:
      deadline_ = now.mono;
      return;
    case TransactionState::kOngoing: {
      // Time that has passed while nobody was there counts, too; a clock that was set back must not keep it open.
      const WallTime started = std::min(value_.started_at.value_or(now.wall), now.wall);
      deadline_ = now.mono + value_.timeout_ms - (now.wall - started);
      return admit({value_.partitions.begin(), value_.partitions.end()}, effects);
    }
    case TransactionState::kEmpty:
    case TransactionState::kCompleteCommit:
    case TransactionState::kCompleteAbort:
      return;
  }
}

InitProducerReply Transaction::init_producer(const InitProducerRequest& request,
                                             const TransactionCoordinator::NewProducerId& new_producer_id, Instant now,
                                             TransactionEffects& effects) {
  const bool is_new = value_.producer.id == kNoProducerId;
  if (request.expected && !is_new && !is_current_or_previous(*request.expected)) {
    return {TransactionError::kProducerFenced, {}};
  }
  // The answer to the last raise was lost.
  if (request.expected && !is_new && request.expected->id == value_.producer.id &&
      request.expected->epoch == last_epoch_ && !is_ongoing()) {
    return {TransactionError::kNone, value_.producer};
  }
  // Before anything changes: a retry must find the epoch that it knows.
  const int epoch_then = value_.producer.epoch.value() + (is_ongoing() ? 1 : 0);
  std::optional<ProducerId> successor;
  if (is_new || epoch_then >= kLastEpoch.value()) {
    successor = new_producer_id();
    if (!successor) return {TransactionError::kCoordinatorNotAvailable, {}};
  }
  if (is_ongoing()) abort_and_fence(now, effects);
  const ProducerEpoch before = value_.producer.epoch;
  raise_epoch(successor);
  last_epoch_ = request.expected && value_.producer.epoch == next(before) ? request.expected->epoch : kNoProducerEpoch;
  value_.timeout_ms = request.timeout_ms;
  value_.state = TransactionState::kEmpty;
  value_.started_at.reset();
  record(now, effects);
  return {TransactionError::kNone, value_.producer};
}

// KIP-360: a client may name the epoch it has or, if the answer to its last raise was lost, the one before; and the
// last epoch of the producer id before.
bool Transaction::is_current_or_previous(const Producer& producer) const {
  if (producer.id == value_.previous_producer_id && producer.id != kNoProducerId) return producer.epoch >= kLastEpoch;
  if (producer.id != value_.producer.id) return false;
  return producer.epoch == value_.producer.epoch || (last_epoch_ != kNoProducerEpoch && producer.epoch == last_epoch_);
}

// The next epoch, or the first one of `successor`.
void Transaction::raise_epoch(std::optional<ProducerId> successor) {
  if (!successor) {
    value_.producer.epoch = next(value_.producer.epoch);
    return;
  }
  value_.previous_producer_id = value_.producer.id;
  value_.producer = {*successor, ProducerEpoch{0}};
}

TransactionError Transaction::check_producer(const Producer& producer) const {
  if (producer.id != value_.producer.id) return TransactionError::kInvalidProducerIdMapping;
  if (producer.epoch != value_.producer.epoch) return TransactionError::kProducerFenced;
  return TransactionError::kNone;
}

AddPartitionsReply Transaction::add_partitions(const AddPartitionsRequest& request, Instant now,
                                               TransactionEffects& effects) {
  if (const auto error = check_producer(request.producer); error != TransactionError::kNone) return {error, {}};
  std::vector<TopicPartition> added;
  std::ranges::copy_if(request.partitions, std::back_inserter(added),
                       [&](const auto& one) { return !is_ongoing() || !value_.partitions.contains(one); });
  if (request.verify_only) {
    if (is_ongoing() && added.empty()) return {TransactionError::kNone, {}};
    return {TransactionError::kInvalidTxnState, std::move(added)};
  }
  if (added.empty() && is_ongoing()) return {TransactionError::kNone, {}};
  if (!is_ongoing()) {
    value_.state = TransactionState::kOngoing;
    value_.partitions.clear();
    value_.started_at = whole_ms(now.wall);
    deadline_ = now.mono + value_.timeout_ms;
  }
  last_epoch_ = kNoProducerEpoch;
  value_.partitions.insert(added.begin(), added.end());
  record(now, effects);
  admit(std::move(added), effects);
  return {TransactionError::kNone, {}};
}

EndTransactionReply Transaction::end(const EndTransactionRequest& request,
                                     const TransactionCoordinator::NewProducerId& new_producer_id, Instant now,
                                     TransactionEffects& effects) {
  if (is_after_end(request)) {
    const auto outcome = request.commit ? TransactionState::kCompleteCommit : TransactionState::kCompleteAbort;
    if (value_.state != outcome) return {TransactionError::kInvalidTxnState, {}};
    return {TransactionError::kNone, value_.producer};
  }
  if (const auto error = check_producer(request.producer); error != TransactionError::kNone) return {error, {}};
  if (!is_ongoing()) {
    // KIP-890: a client that does not know whether anything was added may abort, to get a new epoch.
    if (!request.raises_epoch || request.commit) return {TransactionError::kInvalidTxnState, {}};
  }
  Producer marked_by = value_.producer;
  if (request.raises_epoch) {
    std::optional<ProducerId> successor;
    if (value_.producer.epoch >= kLastEpoch) {
      successor = new_producer_id();
      if (!successor) return {TransactionError::kCoordinatorNotAvailable, {}};
    }
    // The markers raise the epoch in the partitions, too, so that what the ended transaction still has on its way is
    // fenced there.
    marked_by.epoch = next(marked_by.epoch);
    raise_epoch(successor);
  }
  last_epoch_ = kNoProducerEpoch;
  value_.raises_epoch = request.raises_epoch;
  if (!is_ongoing()) value_.started_at = whole_ms(now.wall);
  complete(request.commit, marked_by, now, effects);
  return {TransactionError::kNone, value_.producer};
}

// Whether `request` is of the producer whose transaction ended last, before it heard of the end: the answer was lost,
// or a timeout came first.
bool Transaction::is_after_end(const EndTransactionRequest& request) const {
  if (value_.state != TransactionState::kCompleteCommit && value_.state != TransactionState::kCompleteAbort)
    return false;
  if (!request.raises_epoch) return request.producer == value_.producer;
  if (!value_.raises_epoch) return false;
  if (request.producer.id == value_.producer.id) {
    return value_.producer.epoch.value() > 0 && next(request.producer.epoch) == value_.producer.epoch;
  }
  return request.producer.id == value_.previous_producer_id && request.producer.epoch >= kLastEpoch &&
         value_.producer.epoch.value() == 0;
}

void Transaction::on_time(Instant now, TransactionEffects& effects) {
  if (is_ongoing()) return abort_and_fence(now, effects);
  complete(value_.state == TransactionState::kPrepareCommit, value_.producer, now, effects);
}

void Transaction::abort_and_fence(Instant now, TransactionEffects& effects) {
  value_.producer.epoch = next(value_.producer.epoch);
  last_epoch_ = kNoProducerEpoch;
  value_.raises_epoch = true;
  complete(false, value_.producer, now, effects);
}

void Transaction::complete(bool commit, const Producer& marked_by, Instant now, TransactionEffects& effects) {
  if (!value_.partitions.empty()) {
    effects.markers.push_back({marked_by, commit, {value_.partitions.begin(), value_.partitions.end()}});
  }
  value_.state = commit ? TransactionState::kCompleteCommit : TransactionState::kCompleteAbort;
  value_.partitions.clear();
  record(now, effects);
}

void Transaction::admit(std::vector<TopicPartition> partitions, TransactionEffects& effects) const {
  if (!partitions.empty()) effects.admissions.push_back({value_.producer, std::move(partitions)});
}

void Transaction::record(Instant now, TransactionEffects& effects) {
  value_.last_update = whole_ms(now.wall);
  effects.records.push_back({id_, value_});
}

}  // namespace millrace::coord::internal
