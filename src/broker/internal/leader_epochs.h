#pragma once

#include "log/partition.h"
#include "wire/error_code.h"

namespace millrace::broker {

// What a client that believes in leader epoch `claimed` must be told (KIP-320); -1 alone: it does not say.
inline wire::ErrorCode check_leader_epoch(const log::Partition& partition, int32_t claimed) {
  if (claimed == -1) return wire::ErrorCode::kNone;
  const int32_t current = partition.leader_epoch().value();
  if (claimed < current) return wire::ErrorCode::kFencedLeaderEpoch;
  if (claimed > current) return wire::ErrorCode::kUnknownLeaderEpoch;
  return wire::ErrorCode::kNone;
}

}  // namespace millrace::broker
