#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/options.h"
#include "client/records.h"

namespace millrace::client {

struct ProducerOptions {
  bool idempotent = true;            // no duplicates and no reordering by retries
  std::string acks = "all";          // all | 1 | 0; idempotent needs all
  std::string compression = "none";  // none | gzip | snappy | lz4 | zstd
  Millis linger{5};                  // how long a batch waits for more records; flush() does not wait
  int32_t batch_bytes_max = 1 << 20;
  int32_t queue_records_max = 200'000;  // produce() blocks while so much is undelivered
  uint64_t queue_bytes_max = 32ull << 20;
  Millis delivery_timeout{120'000};  // then a record counts as failed
};

struct HeaderRef {
  std::string_view name;
  std::optional<ByteView> value;  // none: null
};

// What to produce. Views are read before produce() returns.
struct OutRecord {
  // Without a partition the key decides, as in Java's producer (partition_for_key); without both, any one.
  std::optional<PartitionId> partition;
  std::optional<ByteView> key;
  std::optional<ByteView> value;  // none: a tombstone
  std::span<const HeaderRef> headers;
  int64_t timestamp_ms = -1;  // CreateTime; -1: now
};

struct DeliveryError {
  std::string topic;
  PartitionId partition;
  Error error;
};

// Sends records. Make one per worker thread: one thread at a time may use it. Key, value and headers are copied once,
// into the message that is sent; nothing else is.
class Producer {
 public:
  // A topic as this producer knows it; valid as long as the producer.
  class Topic {
   private:
    friend class Producer;
    explicit Topic(void* handle) : handle_(handle) {}
    void* handle_;
  };

  static Result<std::unique_ptr<Producer>> create(const Options& options, const ProducerOptions& producer_options = {});
  // Ends without waiting: what was not flushed may be lost.
  ~Producer();

  // The handle of a topic; asks no broker, so that a topic which does not exist shows only at delivery. Ask once.
  Result<Topic> topic(const std::string& name);

  // Queue `record` for sending. While the queue is full this blocks, at most for delivery_timeout, then kTimedOut.
  // Whether it was delivered shows at flush(). kInvalidArgument: the record is too large or the partition does not
  // exist; kConflict: a fatal error, this producer is of no more use.
  Status produce(Topic topic, const OutRecord& record);

  // Wait until everything produced is acknowledged. Success: all records since the last flush() are with the broker
  // (for our broker with acks=all: on disk). On failure take_delivery_errors() says which kinds are not;
  // kTimedOut: some are still on their way, and flush() may be called again.
  Status flush(Millis timeout);

  // The failures since the last call, at most kDeliveryErrorsMax of them, and forgets them.
  std::vector<DeliveryError> take_delivery_errors();
  static constexpr size_t kDeliveryErrorsMax = 100;

  // Records queued or on their way.
  size_t in_flight() const;

 private:
  struct Impl;
  explicit Producer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::client
