#include "coord/transaction_coordinator.h"

#include <algorithm>

#include "coord/internal/transaction.h"

namespace millrace::coord {
namespace {

using internal::Transaction;

// At most so many ids are forgotten in one call, so that one write stays small.
constexpr size_t kForgottenPerCallMax = 1000;

template <typename Body>
void reply(TransactionEffects& effects, RequestToken to, Body body) {
  effects.replies.push_back({to, std::move(body)});
}

}  // namespace

const char* transaction_state_name(TransactionState state) {
  switch (state) {
    case TransactionState::kEmpty:
      return "Empty";
    case TransactionState::kOngoing:
      return "Ongoing";
    case TransactionState::kPrepareCommit:
      return "PrepareCommit";
    case TransactionState::kPrepareAbort:
      return "PrepareAbort";
    case TransactionState::kCompleteCommit:
      return "CompleteCommit";
    case TransactionState::kCompleteAbort:
      return "CompleteAbort";
  }
  return "Unknown";
}

TransactionCoordinator::TransactionCoordinator(TransactionSettings settings, NewProducerId new_producer_id)
    : settings_(settings), new_producer_id_(std::move(new_producer_id)) {}
TransactionCoordinator::~TransactionCoordinator() = default;

void TransactionCoordinator::apply(TransactionRecord record) {
  if (!record.value) {
    transactions_.erase(record.transactional_id);
    return;
  }
  transactions_.try_emplace(record.transactional_id, record.transactional_id)
      .first->second.restore(std::move(*record.value));
}

TransactionEffects TransactionCoordinator::start(Instant now) {
  TransactionEffects effects;
  for (auto& [id, transaction] : transactions_) {
    transaction.start(now, effects);
    reschedule(transaction);
  }
  next_idle_check_ = now.mono + settings_.transaction_remove_expired_transaction_cleanup_interval_ms;
  return effects;
}

TransactionEffects TransactionCoordinator::handle(TransactionEvent event, Instant now) {
  TransactionEffects effects;
  std::visit([&](const auto& any) { on(any, now, effects); }, event);
  return effects;
}

TransactionEffects TransactionCoordinator::on_time(Instant now) {
  TransactionEffects effects;
  if (!deadlines_.empty() && deadlines_.begin()->first <= now.mono) {
    Transaction& transaction = transactions_.find(deadlines_.begin()->second)->second;
    transaction.on_time(now, effects);
    reschedule(transaction);
  }
  if (next_idle_check_ && *next_idle_check_ <= now.mono) forget_idle(now, effects);
  return effects;
}

std::optional<MonoTime> TransactionCoordinator::next_deadline() const {
  std::optional<MonoTime> next;
  // Where there is nothing to forget there is no reason to wake up.
  if (!transactions_.empty()) next = next_idle_check_;
  if (!deadlines_.empty()) next = std::min(next.value_or(deadlines_.begin()->first), deadlines_.begin()->first);
  return next;
}

void TransactionCoordinator::on(const InitProducerRequest& request, Instant now, TransactionEffects& effects) {
  const auto refuse = [&](TransactionError error) { reply(effects, request.token, InitProducerReply{error, {}}); };
  if (request.transactional_id.empty()) return refuse(TransactionError::kInvalidRequest);
  if (request.timeout_ms <= TransactionSettings::Millis{0} ||
      request.timeout_ms > settings_.transaction_max_timeout_ms) {
    return refuse(TransactionError::kInvalidTransactionTimeout);
  }
  const auto [found, is_new] = transactions_.try_emplace(request.transactional_id, request.transactional_id);
  Transaction& transaction = found->second;
  const InitProducerReply answer = transaction.init_producer(request, new_producer_id_, now, effects);
  reschedule(transaction);
  if (is_new && answer.error != TransactionError::kNone) transactions_.erase(found);
  reply(effects, request.token, answer);
}

void TransactionCoordinator::on(const AddPartitionsRequest& request, Instant now, TransactionEffects& effects) {
  const auto named = find_named(request.transactional_id);
  if (!named) return reply(effects, request.token, AddPartitionsReply{named.error(), {}});
  AddPartitionsReply answer = (*named)->add_partitions(request, now, effects);
  reschedule(**named);
  reply(effects, request.token, std::move(answer));
}

void TransactionCoordinator::on(const EndTransactionRequest& request, Instant now, TransactionEffects& effects) {
  const auto named = find_named(request.transactional_id);
  if (!named) return reply(effects, request.token, EndTransactionReply{named.error(), {}});
  const EndTransactionReply answer = (*named)->end(request, new_producer_id_, now, effects);
  reschedule(**named);
  reply(effects, request.token, answer);
}

tl::expected<Transaction*, TransactionError> TransactionCoordinator::find_named(const std::string& transactional_id) {
  if (transactional_id.empty()) return tl::unexpected(TransactionError::kInvalidRequest);
  const auto found = transactions_.find(transactional_id);
  if (found == transactions_.end()) return tl::unexpected(TransactionError::kInvalidProducerIdMapping);
  return &found->second;
}

void TransactionCoordinator::reschedule(Transaction& transaction) {
  const auto entry = transactions_.find(transaction.id());
  if (transaction.scheduled) deadlines_.erase({*transaction.scheduled, entry->first});
  transaction.scheduled.reset();
  if (!transaction.is_open()) return;
  transaction.scheduled = transaction.deadline();
  deadlines_.insert({*transaction.scheduled, entry->first});
}

void TransactionCoordinator::forget_idle(Instant now, TransactionEffects& effects) {
  next_idle_check_ = now.mono + settings_.transaction_remove_expired_transaction_cleanup_interval_ms;
  const WallTime before = now.wall - settings_.transactional_id_expiration_ms;
  size_t left = kForgottenPerCallMax;
  for (auto entry = transactions_.begin(); entry != transactions_.end();) {
    const Transaction& transaction = entry->second;
    if (transaction.is_open() || transaction.value().last_update >= before) {
      ++entry;
      continue;
    }
    if (left-- == 0) {
      next_idle_check_ = now.mono;
      return;
    }
    effects.records.push_back({entry->first, std::nullopt});
    entry = transactions_.erase(entry);
  }
}

std::vector<TransactionDescription> TransactionCoordinator::list(const TransactionFilter& filter, WallTime now) const {
  std::vector<TransactionDescription> listed;
  for (const auto& [id, transaction] : transactions_) {
    const TransactionRecordValue& value = transaction.value();
    const auto has = [](const auto& wanted, const auto& one) {
      return wanted.empty() || std::ranges::find(wanted, one) != wanted.end();
    };
    if (!has(filter.states, transaction_state_name(value.state))) continue;
    if (!has(filter.producer_ids, value.producer.id)) continue;
    // In whole milliseconds, of which any number is asked for. What never began is older than everything.
    const auto age = floor<std::chrono::milliseconds>(now - value.started_at.value_or(WallTime{}));
    if (filter.running_longer_than && age <= *filter.running_longer_than) continue;
    listed.push_back({id, value});
  }
  return listed;
}

void TransactionCoordinator::visit_open(const std::function<void(const TransactionRecordValue&)>& visit) const {
  for (const auto& [deadline, id] : deadlines_) visit(transactions_.find(id)->second.value());
}

std::optional<TransactionDescription> TransactionCoordinator::describe(std::string_view transactional_id) const {
  const auto found = transactions_.find(transactional_id);
  if (found == transactions_.end()) return std::nullopt;
  return TransactionDescription{found->first, found->second.value()};
}

}  // namespace millrace::coord
