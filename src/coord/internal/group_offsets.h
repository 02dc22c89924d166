#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coord/effects.h"
#include "coord/types.h"

namespace millrace::coord::internal {

// The committed positions of one group, of whatever kind the group is, and those that open transactions hold until they
// end.
class GroupOffsets {
 public:
  explicit GroupOffsets(std::string group) : group_(std::move(group)) {}

  // Take up what a record says; nothing: the position is gone.
  void restore(std::string topic, PartitionId partition, std::optional<CommittedOffset> value);
  void commit(std::string topic, PartitionId partition, CommittedOffset offset, Effects& effects);
  // The same as part of a producer's transaction.
  void restore_pending(Producer producer, std::string topic, PartitionId partition, CommittedOffset offset);
  void commit_pending(Producer producer, std::string topic, PartitionId partition, CommittedOffset offset,
                      Effects& effects);
  // The producer's transaction has ended: what it held counts, unless something was committed since, or is gone.
  void end_transaction(ProducerId producer, bool committed);
  bool has_pending(std::string_view topic, PartitionId partition) const;
  // Delete at most `records_max` of those last committed at or before `time`. False: there may be more.
  bool expire(WallTime time, size_t records_max, Effects& effects);
  void delete_topic(std::string_view topic, Effects& effects);
  // False: there is none.
  bool delete_one(const TopicPartition& partition, Effects& effects);
  void delete_all(Effects& effects);

  bool empty() const { return topics_.empty() && pending_.empty(); }
  const CommittedOffset* find(std::string_view topic, PartitionId partition) const;
  std::vector<PartitionOffset> all() const;
  // As GroupCoordinator::visit_offsets().
  std::optional<std::string> visit(
      std::string_view after, size_t count_max,
      const std::function<void(const std::string& topic, PartitionId partition, Offset committed)>& visit) const;

 private:
  // `order` grows with each commit: of two for a partition, the greater is the later.
  struct Entry {
    CommittedOffset offset;
    uint64_t order = 0;
  };
  using Partitions = std::map<PartitionId, Entry>;

  void forget_pending(const TopicPartition& where);
  // What open transactions hold of a topic, or of all where it is empty.
  std::set<TopicPartition> pending_of(std::string_view topic) const;
  void record_deletion(const std::string& topic, PartitionId partition, Effects& effects) const;

  const std::string group_;
  // No topic without a partition.
  std::map<std::string, Partitions, std::less<>> topics_;
  std::map<ProducerId, std::map<TopicPartition, Entry>> pending_;  // no producer without an offset
  uint64_t last_order_ = 0;
};

}  // namespace millrace::coord::internal
