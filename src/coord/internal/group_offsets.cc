#include "coord/internal/group_offsets.h"

namespace millrace::coord::internal {

void GroupOffsets::restore(std::string topic, PartitionId partition, std::optional<CommittedOffset> value) {
  if (value) {
    topics_[std::move(topic)].insert_or_assign(partition, std::move(*value));
    return;
  }
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return;
  found->second.erase(partition);
  if (found->second.empty()) topics_.erase(found);
}

void GroupOffsets::commit(std::string topic, PartitionId partition, CommittedOffset offset, Effects& effects) {
  effects.records.push_back(OffsetRecord{group_, topic, partition, offset});
  restore(std::move(topic), partition, std::move(offset));
}

bool GroupOffsets::expire(WallTime time, size_t records_max, Effects& effects) {
  for (auto topic = topics_.begin(); topic != topics_.end();) {
    Partitions& partitions = topic->second;
    for (auto entry = partitions.begin(); entry != partitions.end();) {
      if (entry->second.committed_at > time) {
        ++entry;
        continue;
      }
      if (records_max-- == 0) return false;
      record_deletion(topic->first, entry->first, effects);
      entry = partitions.erase(entry);
    }
    topic = partitions.empty() ? topics_.erase(topic) : std::next(topic);
  }
  return true;
}

void GroupOffsets::delete_topic(std::string_view topic, Effects& effects) {
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return;
  for (const auto& [partition, offset] : found->second) record_deletion(found->first, partition, effects);
  topics_.erase(found);
}

void GroupOffsets::delete_all(Effects& effects) {
  for (const auto& [topic, partitions] : topics_)
    for (const auto& [partition, offset] : partitions) record_deletion(topic, partition, effects);
  topics_.clear();
}

const CommittedOffset* GroupOffsets::find(std::string_view topic, PartitionId partition) const {
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return nullptr;
  const auto entry = found->second.find(partition);
  return entry == found->second.end() ? nullptr : &entry->second;
}

std::vector<PartitionOffset> GroupOffsets::all() const {
  std::vector<PartitionOffset> all;
  for (const auto& [topic, partitions] : topics_)
    for (const auto& [partition, offset] : partitions) all.push_back({topic, partition, offset});
  return all;
}

void GroupOffsets::record_deletion(const std::string& topic, PartitionId partition, Effects& effects) const {
  effects.records.push_back(OffsetRecord{group_, topic, partition, std::nullopt});
}

}  // namespace millrace::coord::internal
