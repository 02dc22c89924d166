#include "coord/internal/group_offsets.h"

#include <algorithm>

namespace millrace::coord::internal {

void GroupOffsets::restore(std::string topic, PartitionId partition, std::optional<CommittedOffset> value) {
  if (value) {
    topics_[std::move(topic)].insert_or_assign(partition, Entry{std::move(*value), ++last_order_});
    return;
  }
  forget_pending({topic, partition});
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return;
  found->second.erase(partition);
  if (found->second.empty()) topics_.erase(found);
}

// What is deleted does not come back with the end of a transaction that holds it.
void GroupOffsets::forget_pending(const TopicPartition& where) {
  for (auto& [producer, offsets] : pending_) offsets.erase(where);
  std::erase_if(pending_, [](const auto& one) { return one.second.empty(); });
}

std::set<TopicPartition> GroupOffsets::pending_of(std::string_view topic) const {
  std::set<TopicPartition> found;
  for (const auto& [producer, offsets] : pending_) {
    for (const auto& [where, entry] : offsets)
      if (topic.empty() || where.topic == topic) found.insert(where);
  }
  return found;
}

void GroupOffsets::commit(std::string topic, PartitionId partition, CommittedOffset offset, Effects& effects) {
  effects.records.push_back(OffsetRecord{group_, topic, partition, offset});
  restore(std::move(topic), partition, std::move(offset));
}

void GroupOffsets::restore_pending(Producer producer, std::string topic, PartitionId partition,
                                   CommittedOffset offset) {
  pending_[producer.id].insert_or_assign({std::move(topic), partition}, Entry{std::move(offset), ++last_order_});
}

void GroupOffsets::commit_pending(Producer producer, std::string topic, PartitionId partition, CommittedOffset offset,
                                  Effects& effects) {
  effects.records.push_back(OffsetRecord{group_, topic, partition, offset, producer});
  restore_pending(producer, std::move(topic), partition, std::move(offset));
}

void GroupOffsets::end_transaction(ProducerId producer, bool committed) {
  const auto found = pending_.find(producer);
  if (found == pending_.end()) return;
  if (committed) {
    for (auto& [where, entry] : found->second) {
      const auto [place, is_new] = topics_[where.topic].try_emplace(where.partition, entry);
      if (!is_new && place->second.order < entry.order) place->second = std::move(entry);
    }
  }
  pending_.erase(found);
}

bool GroupOffsets::has_pending(std::string_view topic, PartitionId partition) const {
  if (pending_.empty()) return false;
  const TopicPartition where{std::string(topic), partition};
  return std::ranges::any_of(pending_, [&](const auto& one) { return one.second.contains(where); });
}

bool GroupOffsets::expire(WallTime time, size_t records_max, Effects& effects) {
  for (auto topic = topics_.begin(); topic != topics_.end();) {
    Partitions& partitions = topic->second;
    for (auto entry = partitions.begin(); entry != partitions.end();) {
      if (entry->second.offset.committed_at > time || has_pending(topic->first, entry->first)) {
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
  for (const TopicPartition& where : pending_of(topic)) {
    record_deletion(where.topic, where.partition, effects);
    forget_pending(where);
  }
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return;
  for (const auto& [partition, offset] : found->second) record_deletion(found->first, partition, effects);
  topics_.erase(found);
}

bool GroupOffsets::delete_one(const TopicPartition& partition, Effects& effects) {
  const bool was_pending = has_pending(partition.topic, partition.partition);
  forget_pending(partition);
  const auto found = topics_.find(partition.topic);
  if (found == topics_.end() || found->second.erase(partition.partition) == 0) {
    if (was_pending) record_deletion(partition.topic, partition.partition, effects);
    return was_pending;
  }
  if (found->second.empty()) topics_.erase(found);
  record_deletion(partition.topic, partition.partition, effects);
  return true;
}

void GroupOffsets::delete_all(Effects& effects) {
  for (const auto& [topic, partitions] : topics_)
    for (const auto& [partition, offset] : partitions) record_deletion(topic, partition, effects);
  for (const TopicPartition& where : pending_of({})) record_deletion(where.topic, where.partition, effects);
  topics_.clear();
  pending_.clear();
}

const CommittedOffset* GroupOffsets::find(std::string_view topic, PartitionId partition) const {
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return nullptr;
  const auto entry = found->second.find(partition);
  return entry == found->second.end() ? nullptr : &entry->second.offset;
}

std::optional<std::string> GroupOffsets::visit(
    std::string_view after, size_t count_max,
    const std::function<void(const std::string& topic, PartitionId partition, Offset committed)>& visit) const {
  size_t seen = 0;
  for (auto entry = topics_.upper_bound(after); entry != topics_.end(); ++entry) {
    for (const auto& [partition, committed] : entry->second) visit(entry->first, partition, committed.offset.offset);
    seen += entry->second.size();
    if (seen >= count_max && std::next(entry) != topics_.end()) return entry->first;
  }
  return std::nullopt;
}

std::vector<PartitionOffset> GroupOffsets::all() const {
  std::vector<PartitionOffset> all;
  for (const auto& [topic, partitions] : topics_)
    for (const auto& [partition, entry] : partitions) all.push_back({topic, partition, entry.offset});
  return all;
}

void GroupOffsets::record_deletion(const std::string& topic, PartitionId partition, Effects& effects) const {
  effects.records.push_back(OffsetRecord{group_, topic, partition, std::nullopt});
}

}  // namespace millrace::coord::internal
