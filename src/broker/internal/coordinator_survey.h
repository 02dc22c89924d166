#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/internal/group_service.h"
#include "broker/internal/topics.h"
#include "broker/internal/transaction_service.h"

namespace millrace::broker {

// What the coordinators know, for operators: the groups with their lag, and the open transactions. Of groups and of
// partitions so many are named, in the order of the groups' ids; the others are only counted.
struct CoordinatorSurvey {
  struct Group {
    std::string name;
    size_t members = 0;
    int64_t lag_records = 0;  // all its partitions together, those that are not named below included
  };
  struct Lag {
    size_t group;  // index into `groups`
    std::shared_ptr<const TopicState> topic;
    PartitionId partition;
    int64_t records;
  };

  bool groups_served = false;
  std::array<size_t, 4> groups_by_state{};  // by coord::GroupState
  size_t member_bytes = 0;                  // what group.members.max.bytes bounds
  std::vector<Group> groups;
  std::vector<Lag> lags;
  size_t groups_left_out = 0;
  size_t lags_left_out = 0;

  bool transactions_served = false;
  size_t transactional_ids = 0;
  std::array<size_t, 6> transactions_by_state{};  // by coord::TransactionState, of those that are open
  std::optional<WallTime> oldest_transaction;     // when it began
};

struct SurveyLimits {
  size_t groups_max = 10'000;
  size_t lags_max = 10'000;
  // The coordinators' thread serves connections, too: so many offsets at a time, then others have their turn.
  size_t offsets_per_turn = 2'000;
};

// Ask the coordinators on their thread, and wait for them there: not on that thread. The lag is what a group has not
// committed of the records up to the high watermark; of topics that are gone there is none. Nothing where they do not
// answer within seconds, or have stopped.
std::optional<CoordinatorSurvey> survey_coordinators(GroupService& groups, TransactionService& transactions,
                                                     const Topics& topics, const SurveyLimits& limits = {});

}  // namespace millrace::broker
