#include "broker/internal/broker_metrics.h"

#include <chrono>
#include <string>
#include <string_view>

#include "broker/internal/coordinator_survey.h"

namespace millrace::broker {
namespace {

using enum Exposition::Type;

void add_traffic(Exposition& out, const std::string& prefix, const std::string& of, const TopicTraffic& traffic,
                 Exposition::Labels labels) {
  out.family(prefix + "produced_records_total", "Records appended by clients" + of, kCounter)
      .add(labels, traffic.records_in.value());
  out.family(prefix + "produced_bytes_total", "Bytes of the record batches appended by clients" + of, kCounter)
      .add(labels, traffic.bytes_in.value());
  out.family(prefix + "fetched_records_total", "Records in the batches sent to consumers" + of, kCounter)
      .add(labels, traffic.records_out.value());
  out.family(prefix + "fetched_bytes_total", "Bytes of the record batches sent to consumers" + of, kCounter)
      .add(labels, traffic.bytes_out.value());
}

void add_groups(Exposition& out, const CoordinatorSurvey& survey) {
  auto& states = out.family("millrace_broker_groups", "Consumer groups by state.", kGauge);
  for (size_t i = 0; i < survey.groups_by_state.size(); ++i)
    states.add({{"state", coord::group_state_name(static_cast<coord::GroupState>(i))}}, survey.groups_by_state[i]);
  out.family("millrace_broker_group_members_bytes",
             "Memory of what the members of all groups have told and were assigned; group.members.max.bytes bounds it.",
             kGauge)
      .add({}, survey.member_bytes);
  auto& members = out.family("millrace_group_members", "Members of a consumer group.", kGauge);
  auto& lag = out.family("millrace_group_lag_records",
                         "What a group has not committed of its partitions up to their high watermarks.", kGauge);
  for (const auto& group : survey.groups) {
    members.add({{"group", group.name}}, group.members);
    lag.add({{"group", group.name}}, group.lag_records);
  }
  auto& of_partition = out.family("millrace_group_partition_lag_records",
                                  "The lag of a group in one partition that it has committed an offset of.", kGauge);
  for (const auto& one : survey.lags)
    of_partition.add({{"group", survey.groups[one.group].name},
                      {"topic", one.topic->name()},
                      {"partition", std::to_string(one.partition.value())}},
                     one.records);
  auto& left_out =
      out.family("millrace_metrics_left_out",
                 "Groups, partitions of groups, and partitions that have no series here: too many.", kGauge);
  left_out.add({{"what", "group"}}, survey.groups_left_out);
  left_out.add({{"what", "group_partition"}}, survey.lags_left_out);
}

void add_transactions(Exposition& out, const CoordinatorSurvey& survey, WallTime now) {
  using enum coord::TransactionState;
  auto& open = out.family("millrace_broker_open_transactions", "Transactions that are open, by state.", kGauge);
  for (const auto state : {kOngoing, kPrepareCommit, kPrepareAbort})
    open.add({{"state", coord::transaction_state_name(state)}},
             survey.transactions_by_state[static_cast<size_t>(state)]);
  const auto age = survey.oldest_transaction ? now - *survey.oldest_transaction : WallTime::duration(0);
  out.family("millrace_broker_oldest_transaction_seconds", "For how long the oldest open transaction has been open.",
             kGauge)
      .add({}, std::chrono::duration<double>(age).count());
  out.family("millrace_broker_transactional_ids", "Transactional ids that are known.", kGauge)
      .add({}, survey.transactional_ids);
}

}  // namespace

BrokerMetrics::BrokerMetrics(Core& core, const Server& server, const RequestMetrics& requests, Metrics& metrics)
    : core_(core),
      server_(server),
      requests_(requests),
      registration_(metrics.add_collector([this](Exposition& out) { collect(out); })) {}

void BrokerMetrics::collect(Exposition& out) const {
  requests_.collect(out);
  server_.collect(out);
  collect_topics(out);
  collect_partitions(out);
  collect_fetches(out);
  collect_log(out);
  collect_coordinators(out);
}

void BrokerMetrics::collect_topics(Exposition& out) const {
  add_traffic(out, "millrace_broker_", ", all topics together.", core_.topics.traffic(), {});
  const auto topics = core_.topics.snapshot();
  auto& partitions = out.family("millrace_topic_partitions", "Partitions of a topic.", kGauge);
  auto& size = out.family("millrace_topic_size_bytes", "Bytes of a topic's records on disk.", kGauge);
  size_t segments = 0;
  size_t producers = 0;
  size_t quarantined = 0;
  for (const auto& [name, topic] : topics->all()) {
    add_traffic(out, "millrace_topic_", ".", *topic->traffic, {{"topic", name}});
    uint64_t bytes = 0;
    for (const auto& partition : topic->topic->partitions) {
      bytes += partition->size_bytes();
      segments += partition->segment_count();
      producers += partition->producer_count();
      quarantined += partition->damage() ? 1 : 0;
    }
    partitions.add({{"topic", name}}, topic->partitions());
    size.add({{"topic", name}}, bytes);
  }
  out.family("millrace_log_segments", "Segments of all partitions.", kGauge).add({}, segments);
  out.family("millrace_log_quarantined_partitions", "Partitions whose files are damaged: they take no records.", kGauge)
      .add({}, quarantined);
  out.family("millrace_broker_producer_ids", "Producers that partitions remember, one for each partition.", kGauge)
      .add({}, producers);
}

void BrokerMetrics::collect_partitions(Exposition& out) const {
  auto& start = out.family("millrace_partition_log_start_offset", "The first offset that can be read.", kGauge);
  auto& end = out.family("millrace_partition_high_watermark", "The offset behind the last that can be read.", kGauge);
  auto& stable =
      out.family("millrace_partition_last_stable_offset",
                 "Where read_committed ends: the high watermark, or the first offset of an open transaction.", kGauge);
  auto& size = out.family("millrace_partition_size_bytes", "Bytes of a partition's records on disk.", kGauge);
  size_t shown = 0;
  size_t left_out = 0;
  const auto topics = core_.topics.snapshot();
  for (const auto& [name, topic] : topics->all()) {
    for (const auto& partition : topic->topic->partitions) {
      if (shown == kPartitionsShownMax) {
        ++left_out;
        continue;
      }
      ++shown;
      const std::string number = std::to_string(partition->id().value());
      const Exposition::Labels labels = {{"topic", name}, {"partition", number}};
      start.add(labels, partition->log_start_offset().value());
      end.add(labels, partition->high_watermark().value());
      stable.add(labels, partition->last_stable_offset().value());
      size.add(labels, partition->size_bytes());
    }
  }
  out.family("millrace_metrics_left_out",
             "Groups, partitions of groups, and partitions that have no series here: too many.", kGauge)
      .add({{"what", "partition"}}, left_out);
}

void BrokerMetrics::collect_fetches(Exposition& out) const {
  out.family("millrace_broker_parked_fetches", "Fetches that wait for records.", kGauge)
      .add({}, core_.purgatory.parked());
  out.family("millrace_broker_parked_fetch_memory_bytes", "What waiting fetches hold in memory.", kGauge)
      .add({}, core_.purgatory.memory_bytes());
  out.family("millrace_broker_parked_fetch_memory_limit_bytes",
             "The most that waiting fetches may hold: parked.fetch.max.bytes.", kGauge)
      .add({}, core_.purgatory.memory_bytes_max());
  out.family("millrace_broker_fetch_sessions", "Fetch sessions (KIP-227) that are open.", kGauge)
      .add({}, core_.fetch_sessions.size());
}

void BrokerMetrics::collect_log(Exposition& out) const {
  const auto add = [&out](std::string_view name, std::string_view help, Exposition::Type type, auto value) {
    out.family(name, help, type).add({}, value);
  };
  const log::Store::Statistics log = core_.store.statistics();
  add("millrace_wal_written_bytes_total", "Bytes written to the write-ahead log.", kCounter, log.wal_bytes);
  add("millrace_wal_sync_seconds", "How long syncs of the write-ahead log took.", kHistogram, log.wal_sync_times);
  add("millrace_wal_replayable_bytes", "Write-ahead log after the last checkpoint: what a start now would read.",
      kGauge, log.wal_replayable_bytes);
  add("millrace_log_checkpoints_total", "Checkpoints taken.", kCounter, log.checkpoints);
  add("millrace_log_checkpoint_failures_total", "Checkpoints that failed; they are tried again.", kCounter,
      log.checkpoints_failed);
  add("millrace_log_checkpoint_age_seconds", "Since the last checkpoint, or the start.", kGauge,
      std::chrono::duration<double>(log.since_checkpoint).count());
  add("millrace_log_tails_bytes", "Records that are in memory and the write-ahead log, and not yet in segments.",
      kGauge, log.tails_bytes);
  add("millrace_log_removed_segments_total", "Segments removed by retention and DeleteRecords.", kCounter,
      log.removed_segments);
  add("millrace_log_removed_bytes_total", "Bytes of the segments removed by retention and DeleteRecords.", kCounter,
      log.removed_bytes);
  add("millrace_log_retention_runs_total", "Looks at what retention gives up.", kCounter, log.retention_runs);
  add("millrace_log_retention_failures_total", "Partitions in which a look for retention failed.", kCounter,
      log.retention_failures);
  add("millrace_log_compactions_total", "Compactions of a partition.", kCounter, log.compactions);
  add("millrace_log_compaction_failures_total", "Compactions of a partition that failed.", kCounter,
      log.compaction_failures);
  add("millrace_log_compacted_bytes_total", "Bytes of the segments that compaction wrote anew.", kCounter,
      log.compacted_bytes);
  add("millrace_log_compaction_removed_bytes_total", "By how much segments became smaller in compaction.", kCounter,
      log.compaction_removed_bytes);
  if (const auto left = core_.store.free_bytes())
    add("millrace_disk_free_bytes", "What may still be written on the data folder's disk.", kGauge, *left);
}

void BrokerMetrics::collect_coordinators(Exposition& out) const {
  out.family("millrace_broker_rebalance_seconds", "How long rebalances of consumer groups took.", kHistogram)
      .add({}, core_.groups.rebalances().snapshot());
  const auto survey = survey_coordinators(core_.groups, core_.transactions, core_.topics);
  auto& served = out.family("millrace_broker_coordinator_up",
                            "Whether groups, or transactions, are served: 0 after a write of theirs failed, or where "
                            "the coordinator does not answer.",
                            kGauge);
  served.add({{"coordinator", "group"}}, int{survey && survey->groups_served});
  served.add({{"coordinator", "transaction"}}, int{survey && survey->transactions_served});
  if (!survey) return;
  add_groups(out, *survey);
  add_transactions(out, *survey, core_.clock.wall_now());
}

}  // namespace millrace::broker
