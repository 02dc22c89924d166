#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace millrace::coord {

// Kafka's broker settings for groups, under Kafka's names, with Kafka's defaults where the comment says nothing else.
struct GroupSettings {
  using Millis = std::chrono::milliseconds;

  Millis group_min_session_timeout_ms{6'000};
  Millis group_max_session_timeout_ms{1'800'000};
  int32_t group_max_size = std::numeric_limits<int32_t>::max();

  // Ours: memory for what the members of all groups have told about themselves and were assigned. Beyond it what would
  // take more is refused, to be tried again.
  size_t group_members_max_bytes = std::numeric_limits<size_t>::max();

  // How long the first member of an empty group waits for others. Kafka waits 3 s, the broker 60 ms (ADR 7); those that
  // come after it are gathered by the debounce.
  Millis group_initial_rebalance_delay_ms{0};
  // Ours: a rebalance that has everyone ends only after this long without another newcomer, so that members that start
  // together share one rebalance.
  Millis group_rebalance_debounce_ms{50};
  // Ours: how long a dynamic member whose connection has closed may take to be heard from again before it is out. Much
  // shorter than a session: a dead process is noticed by its connection. 0: never, as in Kafka.
  Millis group_disconnect_grace_ms{1'000};
  // Ours: how long the answer to a Stable group's heartbeat may be kept back, so that a rebalance that begins meanwhile
  // is told at once; never longer than a third of the member's session timeout. 0, or no grace: not at all, as in
  // Kafka.
  Millis group_heartbeat_hold_max_ms{2'500};
  // How long a newcomer whose JoinGroup waits is kept without a sign of life. Kafka's constant.
  Millis new_member_join_timeout_ms{300'000};

  std::chrono::minutes offsets_retention_minutes{7 * 24 * 60};
  Millis offsets_retention_check_interval_ms{600'000};
  int32_t offset_metadata_max_bytes = 4096;
};

}  // namespace millrace::coord
