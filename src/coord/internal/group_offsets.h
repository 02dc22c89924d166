#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coord/effects.h"
#include "coord/types.h"

namespace millrace::coord::internal {

// The committed positions of one group, of whatever kind the group is.
class GroupOffsets {
 public:
  explicit GroupOffsets(std::string group) : group_(std::move(group)) {}

  // Take up what a record says; nothing: the position is gone.
  void restore(std::string topic, PartitionId partition, std::optional<CommittedOffset> value);
  void commit(std::string topic, PartitionId partition, CommittedOffset offset, Effects& effects);
  // Delete at most `records_max` of those last committed at or before `time`. False: there may be more.
  bool expire(WallTime time, size_t records_max, Effects& effects);
  void delete_topic(std::string_view topic, Effects& effects);
  void delete_all(Effects& effects);

  bool empty() const { return topics_.empty(); }
  const CommittedOffset* find(std::string_view topic, PartitionId partition) const;
  std::vector<PartitionOffset> all() const;

 private:
  using Partitions = std::map<PartitionId, CommittedOffset>;

  void record_deletion(const std::string& topic, PartitionId partition, Effects& effects) const;

  const std::string group_;
  // No topic without a partition.
  std::map<std::string, Partitions, std::less<>> topics_;
};

}  // namespace millrace::coord::internal
