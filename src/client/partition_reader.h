#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "client/admin.h"
#include "client/options.h"
#include "client/records.h"

namespace millrace::client {

struct ReaderOptions {
  bool read_committed = true;
  uint64_t queue_bytes_max = 8ull << 20;  // fetched ahead, all partitions together
};

// From where to where one partition is read.
struct ReadRange {
  TopicPartition source;
  Offset from{0};               // below the partition's beginning: begins there
  std::optional<Offset> until;  // exclusive; none: never ends
};

// Reads partitions from offset to offset, without a group: changelogs, the registry, the warehouse, `topic consume`.
// One thread uses it.
class PartitionReader {
 public:
  static Result<std::unique_ptr<PartitionReader>> create(const Options& options,
                                                         const ReaderOptions& reader_options = {});
  ~PartitionReader();

  // Where the partition begins and ends now: the `until` of a reader that is to stop at the end noted at its start.
  Result<OffsetRange> watermarks(const TopicPartition& source, Millis timeout);

  // Replace what is read. kInvalidArgument where `from` lies behind the partition's end.
  Status assign(std::span<const ReadRange> ranges, Millis timeout);
  // Read one more partition, or stop reading one; the others go on.
  Status add(const ReadRange& range, Millis timeout);
  Status remove(const TopicPartition& source);

  // At most `records_max` records of offsets below each range's end; waits up to `wait` for the first. kNotFound: a
  // topic or partition does not exist (any more); kUnavailable: no broker answers, going on may help.
  Result<Records> poll(size_t records_max, Millis wait);

  // Every range that ends has been returned up to its end (also where its last offsets hold no records). A reader with
  // a range that never ends is never done.
  bool done() const;
  // The next offset to be read from a partition that was assigned.
  std::optional<Offset> position(const TopicPartition& source) const;

 private:
  struct Impl;
  explicit PartitionReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::client
