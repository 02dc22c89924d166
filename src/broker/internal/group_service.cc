#include "broker/internal/group_service.h"

#include <fmt/core.h>

#include <limits>
#include <optional>
#include <utility>
#include <variant>

#include "broker/internal/coordinator_log.h"
#include "broker/internal/group_records.h"
#include "record/marker.h"
#include "record/records.h"

namespace millrace::broker {
namespace {

coord::GroupSettings group_settings(const Settings& settings) {
  using std::chrono::milliseconds;
  coord::GroupSettings group;
  group.group_min_session_timeout_ms = milliseconds(settings.group_session_timeout_min_ms);
  group.group_max_session_timeout_ms = milliseconds(settings.group_session_timeout_max_ms);
  group.group_max_size = static_cast<int32_t>(settings.group_size_max);
  group.group_members_max_bytes = static_cast<size_t>(settings.group_members_bytes_max);
  group.group_initial_rebalance_delay_ms = milliseconds(settings.group_initial_rebalance_delay_ms);
  group.group_rebalance_debounce_ms = milliseconds(settings.group_rebalance_debounce_ms);
  group.group_disconnect_grace_ms = milliseconds(settings.group_disconnect_grace_ms);
  group.group_heartbeat_hold_max_ms = milliseconds(settings.group_heartbeat_hold_max_ms);
  group.offsets_retention_minutes = std::chrono::minutes(settings.offsets_retention_minutes);
  group.offsets_retention_check_interval_ms = milliseconds(settings.offsets_retention_check_interval_ms);
  group.offset_metadata_max_bytes = static_cast<int32_t>(settings.offset_metadata_bytes_max);
  return group;
}

// A reply that was decided, but cannot be vouched for.
struct Refuse {
  void operator()(coord::CommitReply& reply) const {
    for (auto& error : reply.errors) error = coord::GroupError::kNotCoordinator;
  }
  void operator()(coord::LeaveReply& reply) const {
    reply.error = coord::GroupError::kNotCoordinator;
    reply.members.clear();
  }
  template <typename Reply>
  void operator()(Reply& reply) const {
    reply = Reply{};
    reply.error = coord::GroupError::kNotCoordinator;
  }
};

}  // namespace

GroupService::GroupService(log::Store& store, const Topics& topics, const Settings& settings, const Clock& clock,
                           Random random)
    : CoordinatorHost("groups", store, clock), topics_(topics), settings_(settings), random_(random) {}

Status GroupService::load(CoordinatorGate& owner) {
  MILLRACE_RETURN_IF_ERROR(CoordinatorHost::load(owner));
  if (is_alive()) note_missing_topics();
  forget_deleted();
  return {};
}

void GroupService::note_missing_topics() {
  const auto topics = topics_.snapshot();
  const auto note_topics_of = [&](const std::string& group) {
    const std::string* last = nullptr;
    coordinator().visit_offsets(group, "", std::numeric_limits<size_t>::max(),
                                [&](const std::string& topic, PartitionId, Offset) {
                                  if (last != nullptr && *last == topic) return;
                                  last = &topic;
                                  if (!topics->find(topic)) deleted_.insert(topic);
                                });
  };
  coordinator().visit_groups("", [&](const coord::GroupSummary& group) {
    note_topics_of(group.group);
    return true;
  });
}

void GroupService::topic_deleted(const std::string& topic) {
  deleted_.insert(topic);
  forget_deleted();
}

// One that waits for room, or could not be written, is tried again when groups are served on: nothing has been
// committed since for a topic that came to have its name.
void GroupService::forget_deleted() {
  while (is_alive() && owner().is_open() && !deleted_.empty()) {
    handle(coord::TopicDeleted{*deleted_.begin()});
    if (is_alive() && owner().is_open()) deleted_.erase(deleted_.begin());
  }
}

Result<std::unique_ptr<coord::GroupCoordinator>> GroupService::rebuild() {
  auto coordinator = std::make_unique<coord::GroupCoordinator>(group_settings(settings_), random_.fork());
  MILLRACE_RETURN_IF_ERROR(replay(*coordinator));
  return coordinator;
}

Status GroupService::replay(coord::GroupCoordinator& coordinator) const {
  const auto topic = topics_.snapshot()->find(kOffsetsTopic);
  if (!topic) return {};
  const auto on_record = [&](const record::BatchView& batch, const record::Record& record) -> Status {
    if (!record.key) return {};
    MILLRACE_ASSIGN_OR_RETURN(auto decoded, decode_group_record(*record.key, record.value));
    if (!decoded) return {};
    auto* offset = std::get_if<coord::OffsetRecord>(&*decoded);
    if (offset != nullptr && batch.is_transactional())
      offset->transaction = coord::Producer{batch.producer_id(), batch.producer_epoch()};
    coordinator.apply(std::move(*decoded));
    return {};
  };
  for (const auto& partition : topic->topic->partitions) {
    const auto on_control = [&](const record::BatchView& batch) -> Status {
      MILLRACE_ASSIGN_OR_RETURN(const auto type, record::marker_type(batch));
      if (type) {
        coordinator.apply(ended(batch.producer_id(), *type == record::MarkerType::kCommit, partition->id().value()));
      }
      return {};
    };
    MILLRACE_RETURN_IF_ERROR(read_partition(*partition, on_record, on_control));
  }
  return {};
}

coord::TransactionEnded GroupService::ended(ProducerId producer, bool committed, int32_t partition) const {
  const auto topic = topics_.snapshot()->find(kOffsetsTopic);
  return {producer, committed, [partition, partitions = topic->partitions()](const std::string& group) {
            return group_partition(group, partitions) == partition;
          }};
}

void GroupService::transaction_ended(ProducerId producer, bool committed, int32_t partition,
                                     log::WalPosition position) {
  note_append(position);
  handle(ended(producer, committed, partition));
}

GroupService::State GroupService::state() const {
  if (!topics_.snapshot()->find(kOffsetsTopic)) return State::kNoGroupsYet;
  return is_alive() ? State::kServing : State::kFailed;
}

// All records of one call become durable together, whichever groups, and so partitions, they belong to. Only what is
// very much is several writes, each with whole records: then it is of several groups or topics' offsets that are gone,
// none of which rests upon another.
Result<std::deque<CoordinatorWrite>> GroupService::writes_for(const coord::Effects& effects) const {
  // Half of what a disk that is behind leaves to coordinators; but one record, a group, may be more.
  constexpr size_t kWriteBytesMax = 8u << 20;
  constexpr size_t kRecordBytes = 32;  // what a record takes beside its key and value, at most
  std::deque<CoordinatorWrite> writes;
  if (effects.records.empty()) return writes;
  const auto topic = topics_.snapshot()->find(kOffsetsTopic);
  if (!topic) return fail(Errc::kNotFound, fmt::format("topic '{}' is gone", kOffsetsTopic));
  const int64_t now_ms = to_unix_ms(now().wall);
  size_t bytes = 0;
  for (const coord::Record& record : effects.records) {
    MILLRACE_ASSIGN_OR_RETURN(const auto encoded, encode_group_record(record));
    const size_t more = kRecordBytes + encoded.key.size() + (encoded.value ? encoded.value->size() : 0);
    if (writes.empty() || bytes + more > kWriteBytesMax) {
      writes.emplace_back(now_ms);
      bytes = 0;
    }
    bytes += more;
    const auto* offset = std::get_if<coord::OffsetRecord>(&record);
    writes.back().add_record(*topic->partition(group_partition(coord::group_of(record), topic->partitions())), encoded,
                             offset == nullptr ? std::nullopt : offset->transaction);
  }
  return writes;
}

void GroupService::appended(const coord::Effects& effects) {
  if (on_rebalances_ && !effects.rebalances.empty()) on_rebalances_(effects.rebalances);
  for (const coord::Rebalance& rebalance : effects.rebalances) rebalances_.observe(rebalance.took);
  group_count_.store(coordinator().group_count(), std::memory_order_relaxed);
}

void GroupService::refuse(coord::Reply& reply) const { std::visit(Refuse{}, reply.body); }

}  // namespace millrace::broker
