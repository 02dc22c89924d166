#include "broker/internal/group_service.h"

#include <fmt/core.h>

#include <utility>

#include "base/logging.h"
#include "broker/internal/group_records.h"
#include "record/records.h"

namespace millrace::broker {
namespace {

coord::GroupSettings group_settings(const Settings& settings) {
  using std::chrono::milliseconds;
  coord::GroupSettings group;
  group.group_min_session_timeout_ms = milliseconds(settings.group_session_timeout_min_ms);
  group.group_max_session_timeout_ms = milliseconds(settings.group_session_timeout_max_ms);
  group.group_max_size = static_cast<int32_t>(settings.group_size_max);
  group.group_initial_rebalance_delay_ms = milliseconds(settings.group_initial_rebalance_delay_ms);
  group.group_rebalance_debounce_ms = milliseconds(settings.group_rebalance_debounce_ms);
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

// Calls `take` with each record of a batch sequence.
template <typename Take>
Result<Offset> for_each_record(ByteView batches, Offset from, Take take) {
  constexpr size_t kPlainBytesMax = 64u << 20;
  record::BatchReader reader(batches);
  Offset next = from;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, reader.next());
    if (!batch) return next;
    next = batch->last_offset() + 1;
    if (batch->is_control()) continue;
    MILLRACE_ASSIGN_OR_RETURN(auto records, record::RecordReader::open(*batch, kPlainBytesMax));
    record::Record record;
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, records.next(record));
      if (!more) break;
      MILLRACE_RETURN_IF_ERROR(take(record));
    }
  }
}

}  // namespace

GroupService::GroupService(log::Store& store, const Topics& topics, const Settings& settings, const Clock& clock,
                           Random random, Metrics& metrics)
    : store_(store),
      topics_(topics),
      settings_(settings),
      clock_(clock),
      random_(random),
      group_gauge_(metrics.gauge("millrace_broker_groups", "Consumer groups")) {}

Status GroupService::load(Executor& owner) {
  owner_ = &owner;
  auto coordinator = std::make_unique<coord::GroupCoordinator>(group_settings(settings_), random_.fork());
  MILLRACE_RETURN_IF_ERROR(replay(*coordinator));
  coordinator_ = std::move(coordinator);
  absorb(coordinator_->start(now()));
  count_groups();
  return {};
}

Status GroupService::replay(coord::GroupCoordinator& coordinator) const {
  constexpr size_t kReadBytes = 1 << 20;
  const auto topic = topics_.snapshot()->find(kOffsetsTopic);
  if (!topic) return {};
  Bytes batches;
  for (const auto& partition : topic->topic->partitions) {
    Offset next = partition->log_start_offset();
    while (next < partition->high_watermark()) {
      batches.clear();
      MILLRACE_RETURN_IF_ERROR(partition->read(next, kReadBytes, true, batches));
      MILLRACE_ASSIGN_OR_RETURN(next, for_each_record(batches, next, [&](const record::Record& record) -> Status {
                                  if (!record.key) return {};
                                  MILLRACE_ASSIGN_OR_RETURN(auto decoded,
                                                            decode_group_record(*record.key, record.value));
                                  if (decoded) coordinator.apply(std::move(*decoded));
                                  return {};
                                }));
    }
  }
  return {};
}

GroupService::State GroupService::state() const {
  if (!topics_.snapshot()->find(kOffsetsTopic)) return State::kNoGroupsYet;
  return coordinator_ ? State::kServing : State::kFailed;
}

void GroupService::handle(coord::Event event) {
  if (!coordinator_) return;
  absorb(coordinator_->handle(std::move(event), now()));
}

void GroupService::absorb(coord::Effects effects) {
  if (const auto appended = append(effects.records); !appended) {
    refuse_all(std::move(effects));
    return stop_serving(appended.error());
  }
  bool groups_changed = false;
  for (const auto& record : effects.records)
    groups_changed = groups_changed || std::holds_alternative<coord::GroupRecord>(record);
  if (groups_changed) count_groups();
  deliver(std::move(effects.replies));
  schedule();
}

// All records of one call become durable together, whichever groups, and so partitions, they belong to.
Status GroupService::append(const std::vector<coord::Record>& records) {
  if (records.empty()) return {};
  const auto topic = topics_.snapshot()->find(kOffsetsTopic);
  if (!topic) return fail(Errc::kNotFound, fmt::format("topic '{}' is gone", kOffsetsTopic));
  const int64_t now_ms = to_unix_ms(clock_.wall_now());
  std::map<int32_t, record::BatchBuilder> builders;
  for (const coord::Record& record : records) {
    const int32_t partition = group_partition(coord::group_of(record), topic->partitions());
    auto& builder = builders.try_emplace(partition, record::BatchOptions{}).first->second;
    MILLRACE_ASSIGN_OR_RETURN(const auto encoded, encode_group_record(record));
    builder.add(now_ms, ByteView(encoded.key), encoded.value ? std::optional<ByteView>(*encoded.value) : std::nullopt);
  }
  std::vector<Bytes> batches;
  std::vector<log::Store::Item> items;
  batches.reserve(builders.size());
  for (auto& [partition, builder] : builders) {
    MILLRACE_ASSIGN_OR_RETURN(auto batch, builder.finish());
    batches.push_back(std::move(batch));
    items.push_back(
        {.partition = *topic->partition(partition), .batches = batches.back(), .options = {.from_reserve = true}});
  }
  for (const auto& appended : store_.append_all(items)) {
    if (!appended) return tl::unexpected(appended.error());
    last_append_ = std::max(last_append_, appended->position);
  }
  return {};
}

void GroupService::deliver(std::vector<coord::Reply> replies) {
  if (replies.empty()) return;
  std::vector<Outcome> outcomes;
  for (coord::Reply& reply : replies) {
    auto asked = waiting_.extract(reply.to);
    if (!asked.empty()) outcomes.push_back({std::move(asked.mapped()), std::move(reply)});
  }
  after_durable([outcomes = std::move(outcomes)](const Status& durable) mutable {
    for (Outcome& outcome : outcomes) {
      if (!durable) std::visit(Refuse{}, outcome.reply.body);
      outcome.done(std::move(outcome.reply));
    }
  });
}

void GroupService::after_durable(OnceFunction<const Status&> show) {
  auto shared = std::make_shared<OnceFunction<const Status&>>(std::move(show));
  store_.when_durable(last_append_, [owner = owner_, shared](const Status& durable) {
    if (owner->is_current()) return (*shared)(durable);
    owner->post([shared, durable] { (*shared)(durable); });
  });
}

// The coordinator has decided what its log does not say, so it ends. One that the log knows takes its place as soon as
// the log takes records.
void GroupService::stop_serving(const Error& why) {
  log_error("broker", "groups are not served for now: their records could not be written: {}", why.message);
  refuse_all(coordinator_->resign());
  coordinator_.reset();
  if (timer_) owner_->cancel(*timer_);
  deadline_.reset();
  recover_later();
}

void GroupService::recover_later() {
  timer_ = owner_->call_at(clock_.mono_now() + kRetryPause, [this] {
    timer_.reset();
    // On a full disk what was appended last may be on its way for long: this thread serves others meanwhile.
    after_durable([this](const Status& durable) {
      // A log that is closed or has failed for good stays so.
      if (durable) recover();
    });
  });
}

void GroupService::recover() {
  auto fresh = std::make_unique<coord::GroupCoordinator>(group_settings(settings_), random_.fork());
  if (const auto replayed = replay(*fresh); !replayed) {
    log_error("broker", "groups are not served any more: {}", replayed.error().message);
    return;
  }
  coord::Effects effects = fresh->start(now());
  if (!append(effects.records)) return recover_later();
  coordinator_ = std::move(fresh);
  log_info("broker", "groups are served again");
  schedule();
}

void GroupService::refuse_all(coord::Effects effects) {
  for (coord::Reply& reply : effects.replies) {
    auto asked = waiting_.extract(reply.to);
    if (asked.empty()) continue;
    std::visit(Refuse{}, reply.body);
    asked.mapped()(std::move(reply));
  }
}

void GroupService::schedule() {
  const auto next = coordinator_->next_deadline();
  if (next == deadline_ && (timer_ || !next)) return;
  if (timer_) owner_->cancel(*timer_);
  timer_.reset();
  deadline_ = next;
  if (!next) return;
  timer_ = owner_->call_at(*next, [this] {
    timer_.reset();
    if (coordinator_) absorb(coordinator_->on_time(now()));
  });
}

void GroupService::count_groups() { group_count_.store(coordinator_->list({}).size(), std::memory_order_relaxed); }

}  // namespace millrace::broker
