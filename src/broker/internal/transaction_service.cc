#include "broker/internal/transaction_service.h"

#include <fmt/core.h>

#include <chrono>
#include <utility>

#include "broker/internal/coordinator_log.h"
#include "broker/internal/group_records.h"
#include "broker/internal/transaction_records.h"

namespace millrace::broker {
namespace {

coord::TransactionSettings transaction_settings(const Settings& settings) {
  using std::chrono::milliseconds;
  coord::TransactionSettings transactions;
  transactions.transaction_max_timeout_ms = milliseconds(settings.transaction_timeout_max_ms);
  transactions.transactional_id_expiration_ms = milliseconds(settings.transactional_id_expiration_ms);
  transactions.transaction_remove_expired_transaction_cleanup_interval_ms =
      milliseconds(settings.transaction_remove_expired_interval_ms);
  return transactions;
}

struct Refuse {
  template <typename Reply>
  void operator()(Reply& reply) const {
    reply = Reply{};
    reply.error = coord::TransactionError::kNotCoordinator;
  }
};

// Call `visit` with each partition of `partitions` that exists.
template <typename Visit>
void for_each_existing(const TopicTable& topics, const std::vector<coord::TopicPartition>& partitions, Visit visit) {
  for (const auto& [topic, number] : partitions)
    if (const auto partition = topics.find_partition(topic, number.value())) visit(partition);
}

}  // namespace

TransactionService::TransactionService(log::Store& store, const Topics& topics, GroupService& groups,
                                       ProducerIds& producer_ids, const Settings& settings, const Clock& clock)
    : CoordinatorHost("transactions", store, clock),
      topics_(topics),
      groups_(groups),
      producer_ids_(producer_ids),
      settings_(settings) {}

Status TransactionService::load(CoordinatorGate& owner) {
  MILLRACE_RETURN_IF_ERROR(CoordinatorHost::load(owner));
  catch_up();
  return {};
}

Result<std::unique_ptr<coord::TransactionCoordinator>> TransactionService::rebuild() {
  auto coordinator = std::make_unique<coord::TransactionCoordinator>(transaction_settings(settings_),
                                                                     [this] { return producer_ids_.take(); });
  const auto topic = topics_.snapshot()->find(kTransactionsTopic);
  if (!topic) return coordinator;
  for (const auto& partition : topic->topic->partitions) {
    MILLRACE_RETURN_IF_ERROR(read_partition(
        *partition,
        [&](const record::BatchView&, const record::Record& record) -> Status {
          if (!record.key) return {};
          MILLRACE_ASSIGN_OR_RETURN(auto decoded, decode_transaction_record(*record.key, record.value));
          if (decoded) coordinator->apply(std::move(*decoded));
          return {};
        },
        [](const record::BatchView&) -> Status { return {}; }));
  }
  return coordinator;
}

Result<std::deque<CoordinatorWrite>> TransactionService::writes_for(const coord::TransactionEffects& effects) const {
  std::deque<CoordinatorWrite> writes;
  if (effects.records.empty() && effects.markers.empty()) return writes;
  const auto topics = topics_.snapshot();
  const auto log = topics->find(kTransactionsTopic);
  if (!log) return fail(Errc::kNotFound, fmt::format("topic '{}' is gone", kTransactionsTopic));
  CoordinatorWrite& write = writes.emplace_back(to_unix_ms(now().wall));
  for (const coord::TransactionRecord& record : effects.records) {
    MILLRACE_ASSIGN_OR_RETURN(const auto encoded, encode_transaction_record(record));
    write.add_record(*log->partition(group_partition(record.transactional_id, log->partitions())), encoded);
  }
  for (const coord::Marker& marker : effects.markers) {
    for_each_existing(*topics, marker.partitions, [&](const std::shared_ptr<log::Partition>& partition) {
      write.add_marker(partition, marker.producer, marker.commit);
    });
  }
  return writes;
}

void TransactionService::appended(const coord::TransactionEffects& effects) {
  const auto topics = topics_.snapshot();
  for (const coord::Admission& admission : effects.admissions) {
    for_each_existing(*topics, admission.partitions, [&](const std::shared_ptr<log::Partition>& partition) {
      partition->admit(admission.producer.id, admission.producer.epoch);
    });
  }
  for (const coord::Marker& marker : effects.markers) {
    for (const auto& [topic, partition] : marker.partitions) {
      if (topic == kOffsetsTopic)
        groups_.transaction_ended(marker.producer.id, marker.commit, partition.value(), last_append());
    }
  }
}

void TransactionService::refuse(coord::TransactionReply& reply) const { std::visit(Refuse{}, reply.body); }

}  // namespace millrace::broker
