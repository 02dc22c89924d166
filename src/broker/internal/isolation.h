#pragma once

#include <cstdint>

#include "log/partition.h"

namespace millrace::broker {

// A request's isolation_level: 1 is read_committed; as in Kafka, everything else is read_uncommitted.
inline log::Isolation isolation_of(int8_t level) {
  return level == 1 ? log::Isolation::kReadCommitted : log::Isolation::kReadUncommitted;
}

}  // namespace millrace::broker
