#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>
#include <vector>

#include "client/internal/handle.h"
#include "client/records.h"

namespace millrace::client {

// Takes over the messages of one poll and groups them by partition.
class RecordsBuilder {
 public:
  // `messages` are without errors, in the order they arrived; they are destroyed with the Records.
  static Records build(std::shared_ptr<Handle> handle, std::vector<rd_kafka_message_t*> messages);
};

}  // namespace millrace::client
