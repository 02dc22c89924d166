#pragma once

#include <cstddef>

#include "coord/requests.h"

namespace millrace::broker {

// What the records of a commit take, roughly: each has the group and the topic in it, which the request has only once.
// As in Kafka, a commit whose records are more than message.max.bytes is refused with INVALID_COMMIT_OFFSET_SIZE.
inline size_t record_bytes(const coord::CommitRequest& commit) {
  constexpr size_t kNumbersBytes = 50;
  size_t bytes = 0;
  for (const coord::OffsetToCommit& offset : commit.offsets)
    bytes += kNumbersBytes + commit.group.size() + offset.topic.size() + offset.metadata.size();
  return bytes;
}

}  // namespace millrace::broker
