#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/internal/simulation_stage.h"
#include "record/marker.h"
#include "wire/fetch.h"
#include "wire/offset_fetch.h"

namespace millrace::broker {

// Reads all partitions as consumers do, from the beginning now and then; leaves out what was aborted as they do, by the
// list that comes with the records. Also asks for the positions of transactional producers' groups.
class SimulatedReader final : public SimulatedClient {
 public:
  SimulatedReader(SimulatedStage stage, std::string name, bool committed_only)
      : SimulatedClient(stage, std::move(name)), committed_only_(committed_only) {}

  void act() override {
    if (busy_) return;
    if (stage_.random.chance(0.2)) return ask_position();
    const auto partition = static_cast<int32_t>(stage_.random.below(kSimulatedPartitions));
    if (stage_.random.chance(0.03)) positions_[static_cast<size_t>(partition)] = Offset{0};
    fetch(partition);
  }
  void lose_connections() {
    if (link_ != nullptr) stage_.network.lose(link_);
  }

  const std::array<Offset, kSimulatedPartitions>& positions() const { return positions_; }

 private:
  void fetch(int32_t partition) {
    const Offset from = positions_[static_cast<size_t>(partition)];
    wire::FetchRequest request;
    request.max_wait_ms = stage_.random.chance(0.5) ? 0 : 500;
    request.min_bytes = 1;
    request.max_bytes = 1 << 20;
    request.isolation_level = committed_only_ ? 1 : 0;
    auto& topic = request.topics.emplace_back();
    topic.topic = kSimulatedTopic;
    auto& part = topic.partitions.emplace_back();
    part.partition = partition;
    part.fetch_offset = from.value();
    part.partition_max_bytes = 200 + static_cast<int32_t>(stage_.random.below(4000));
    constexpr int16_t kByName = 12;
    busy_ = true;
    stage_.network.send<wire::FetchRequest>(
        open(link_), name() + ": Fetch " + std::to_string(partition) + " from " + std::to_string(from.value()), request,
        kByName, [this, partition, from](const wire::FetchResponse* answer) {
          busy_ = false;
          if (answer != nullptr) read(partition, from, *answer);
        });
  }

  void read(int32_t partition, Offset from, const wire::FetchResponse& answer) {
    if (answer.error_code != wire::ErrorCode::kNone) return undeserved("Fetch", answer.error_code);
    const auto& part = answer.responses.at(0).partitions.at(0);
    if (part.error_code != wire::ErrorCode::kNone) return undeserved("Fetch", part.error_code);
    std::multimap<Offset, ProducerId> aborts_ahead;  // by first offset
    if (part.aborted_transactions) {
      for (const auto& aborted : *part.aborted_transactions)
        aborts_ahead.emplace(Offset{aborted.first_offset}, ProducerId{aborted.producer_id});
    }
    std::set<ProducerId> aborting;
    std::vector<int> values;
    Offset next = from;
    record::BatchReader reader(part.records.value_or(ByteView{}));
    while (true) {
      const auto batch = reader.next();
      if (!batch || !*batch) break;
      const Offset last = (*batch)->last_offset();
      next = last + 1;
      while (!aborts_ahead.empty() && aborts_ahead.begin()->first <= last) {
        aborting.insert(aborts_ahead.begin()->second);
        aborts_ahead.erase(aborts_ahead.begin());
      }
      if ((*batch)->is_control()) {
        if (record::marker_type(**batch).value() == record::MarkerType::kAbort) aborting.erase((*batch)->producer_id());
        continue;
      }
      if (committed_only_ && (*batch)->is_transactional() && aborting.contains((*batch)->producer_id())) continue;
      auto records = record::RecordReader::open(**batch, 1 << 20);
      record::Record record;
      while (records->next(record).value_or(false)) {
        // The first batch may begin before the position.
        if (record.offset >= from) values.push_back(static_cast<int>(*parse_int64(as_text(*record.value))));
      }
    }
    stage_.referee.consumed(partition, from, next, values, committed_only_);
    positions_[static_cast<size_t>(partition)] = next;
  }

  void ask_position() {
    if (stage_.random.chance(0.5)) return ask_group_position();
    const auto& groups = stage_.referee.groups();
    if (groups.empty()) return;
    const std::string group =
        std::next(groups.begin(), static_cast<std::ptrdiff_t>(stage_.random.below(groups.size())))->first;
    wire::OffsetFetchRequest request;
    auto& asked = request.groups.emplace_back();
    asked.group_id = group;
    asked.topics.emplace().push_back({kSimulatedTopic, {0}});
    request.require_stable = stage_.random.chance(0.5);
    const Offset at_least = stage_.referee.committed_offset(group);
    busy_ = true;
    stage_.network.send<wire::OffsetFetchRequest>(
        open(link_), name() + ": OffsetFetch " + group, request, 8,
        [this](const wire::OffsetFetchResponse*) { busy_ = false; },
        [&referee = stage_.referee, group, at_least](const wire::OffsetFetchResponse& answer) {
          const auto& told = answer.groups.at(0);
          if (told.error_code != wire::ErrorCode::kNone) return;
          const auto& partition = told.topics.at(0).partitions.at(0);
          if (partition.error_code == wire::ErrorCode::kUnstableOffsetCommit) return;
          EXPECT_EQ(partition.error_code, wire::ErrorCode::kNone);
          referee.offset_told(group, Offset{partition.committed_offset}, at_least);
        });
  }

  void ask_group_position() {
    const auto partition = static_cast<int32_t>(stage_.random.below(kSimulatedPartitions));
    wire::OffsetFetchRequest request;
    request.group_id = stage_.group.name();
    request.topics.emplace().push_back({kSimulatedTopic, {partition}});
    busy_ = true;
    stage_.network.send<wire::OffsetFetchRequest>(
        open(link_), name() + ": OffsetFetch " + request.group_id, request, 5,
        [this](const wire::OffsetFetchResponse*) { busy_ = false; },
        [&group = stage_.group, partition](const wire::OffsetFetchResponse& answer) {
          if (answer.error_code != wire::ErrorCode::kNone) return;
          group.position_told(partition, answer.topics.at(0).partitions.at(0).committed_offset);
        });
  }

  const bool committed_only_;
  LinkPtr link_;
  bool busy_ = false;
  std::array<Offset, kSimulatedPartitions> positions_{};
};

}  // namespace millrace::broker
