#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "client/internal/handle.h"

namespace millrace::client {

// What all consumers have in common. librdkafka waits a second before it fetches on after its queue was full: with a
// small queue that would be most of the time.
inline Settings consumer_settings(bool read_committed, uint64_t queue_bytes_max) {
  constexpr uint64_t kFetchBytesMax = 1 << 20;
  const uint64_t fetch_bytes = std::min(kFetchBytesMax, queue_bytes_max);
  return {
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      {"isolation.level", read_committed ? "read_committed" : "read_uncommitted"},
      {"queued.max.messages.kbytes", std::to_string(std::max<uint64_t>(queue_bytes_max >> 10, 1))},
      {"fetch.message.max.bytes", std::to_string(fetch_bytes)},
      {"fetch.queue.backoff.ms", "2"},
      {"fetch.error.backoff.ms", "50"},
      {"fetch.wait.max.ms", "500"},
      {"allow.auto.create.topics", "false"},
  };
}

// Messages (and errors, which are messages too) from `queue`: up to `wait` for the first, then up to `gather` for more.
// Callbacks that yield end it.
inline std::vector<rd_kafka_message_t*> consume(rd_kafka_queue_t* queue, size_t records_max, Millis wait,
                                                Millis gather) {
  std::vector<rd_kafka_message_t*> messages;
  rd_kafka_message_t* first = rd_kafka_consume_queue(queue, to_ms(wait));
  if (first == nullptr) return messages;
  messages.resize(std::max<size_t>(records_max, 1));
  messages[0] = first;
  ssize_t more = 0;
  if (messages.size() > 1)
    more = rd_kafka_consume_batch_queue(queue, to_ms(gather), messages.data() + 1, messages.size() - 1);
  messages.resize(1 + static_cast<size_t>(std::max<ssize_t>(more, 0)));
  return messages;
}

}  // namespace millrace::client
