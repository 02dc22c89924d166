#pragma once

#include <optional>
#include <string>

#include "coord/internal/classic_group.h"
#include "coord/internal/group_offsets.h"

namespace millrace::coord::internal {

// All that is known under one group id.
struct Group {
  Group(const std::string& group_id, const GroupSettings& settings, MembersMemory& memory)
      : id(group_id), membership(group_id, settings, memory), offsets(group_id) {}

  const std::string id;
  ClassicGroup membership;
  GroupOffsets offsets;
  std::optional<MonoTime> scheduled;  // its entry among the coordinator's deadlines

  // Nothing is in it and nothing is known of it in the log.
  bool is_disposable() const { return membership.is_vacant() && !membership.is_recorded() && offsets.empty(); }
};

}  // namespace millrace::coord::internal
