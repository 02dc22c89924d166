#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/byte_writer.h"
#include "base/clock.h"
#include "base/result.h"
#include "broker/internal/topics.h"
#include "coord/types.h"
#include "log/store.h"
#include "record/batch.h"
#include "record/records.h"

namespace millrace::broker {

// The times of an internal topic's records.
inline WallTime from_unix_ms(int64_t ms) { return WallTime{std::chrono::milliseconds{ms}}; }

// A record of an internal topic, encoded: no value deletes the key.
struct EncodedRecord {
  Bytes key;
  std::optional<Bytes> value;
};

// Call `on_record` with every record of `partition`, oldest first, and the batch that holds it, and `on_control` with
// every control batch, in their places. Stops at the first error.
Status read_partition(const log::Partition& partition,
                      const std::function<Status(const record::BatchView&, const record::Record&)>& on_record,
                      const std::function<Status(const record::BatchView&)>& on_control);

// What one atomic write is to put into the log: records of coordinators' topics, and markers. A partition gets either
// records of one producer, or of none, or a marker.
class CoordinatorWrite {
 public:
  // Stamped `now_ms`.
  explicit CoordinatorWrite(int64_t now_ms) : now_ms_(now_ms) {}

  // `transaction`: the record is part of that producer's transaction.
  void add_record(const std::shared_ptr<log::Partition>& partition, const EncodedRecord& record,
                  const std::optional<coord::Producer>& transaction = std::nullopt);
  void add_marker(const std::shared_ptr<log::Partition>& partition, const coord::Producer& producer, bool commit);

  // Append everything, from the reserves where disk or buffer are full: the position to wait for. Never waits; nothing
  // where the buffer has no room for it: then when_room() gives some, to come again with. Partitions that have been
  // deleted lose what was for them; any other refusal is an error, and nothing is appended.
  Result<std::optional<log::WalPosition>> append(log::Store& store, log::Room& room);
  // As Store::when_room().
  void when_room(log::Store& store, log::Store::RoomCallback callback);
  // Of the batches, once append() was called.
  size_t batch_bytes() const;

 private:
  struct Part {
    std::shared_ptr<log::Partition> partition;
    std::optional<record::BatchBuilder> records;
    Bytes batch;
    bool is_marker = false;
  };

  Status finish();
  std::vector<log::Store::Item> items();

  const int64_t now_ms_;
  std::map<const log::Partition*, Part> parts_;
};

}  // namespace millrace::broker
