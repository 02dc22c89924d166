#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/copy_marks.h"
#include "app/kafka_link.h"
#include "base/result.h"
#include "client/admin.h"
#include "client/partition_reader.h"
#include "client/producer.h"

namespace millrace::app {

struct CopyOptions {
  std::vector<std::string> topics;
  client::Options from;
  client::Options to;
  std::string compression = "lz4";
  std::vector<std::string> left_out_configs;  // settings that the copy is to do without
};

// Copies topics from one cluster to another, partition by partition: key, value, headers and timestamp stay, offsets
// may not. Only committed records are copied. What is at the destination must have come from here: a topic that holds
// other records is refused. One thread.
//
// It can be ended at any moment and goes on where it was: a mark (copy_marks.h) says how far a partition is copied, and
// records that came after it are recognised by comparing them, so that none is copied twice.
class TopicCopy {
 public:
  struct Partition {
    client::TopicPartition source;
    CopyMark mark;
    Offset end{0};          // of the source, as copying goes by it
    int64_t copied = 0;     // by this run
    Offset run_begin{0};    // where in the destination this run began
    uint32_t checksum = 0;  // over what this run copied
    Offset sent{0};         // what the next record's offset will be at the destination
  };

  // Connects to both, makes topics that are missing with the same partitions and settings, and finds where to go on.
  // kConflict: the destination's topic holds something else.
  static Result<std::unique_ptr<TopicCopy>> start(const CopyOptions& options);

  // Copy up to the ends of the source as start() saw them, or, with `follow`, on. `stopped` is asked now and then.
  Status run(bool follow, const std::function<bool()>& stopped, const std::function<void(int64_t records)>& progress);

  // Read what this run wrote back from the destination. kCorruption names the partition that differs.
  Status verify();

  // Commit, in the destination, where these groups are in the source (empty: all that have committed something in the
  // topics); the offsets that were committed. kConflict: the group has members there.
  struct Translated {
    std::string group;
    client::TopicPartition source;
    Offset from;
    Offset to;
  };
  Result<std::vector<Translated>> copy_groups(const std::vector<std::string>& groups);

  const std::vector<Partition>& partitions() const { return partitions_; }

 private:
  explicit TopicCopy(CopyOptions options) : options_(std::move(options)) {}

  Status connect();
  Status make_topic(const std::string& topic);
  Status find_places();
  Status find_place(Partition& partition, const std::map<std::string, CopyMark>& marks);
  Status recognise(Partition& partition, Offset destination_end);
  Status copy_records(const client::Records& records);
  Status flush();
  Status write_marks();
  Result<Offset> translate(const Partition& partition, Offset offset);
  Result<int64_t> count_records(const client::TopicPartition& source, Offset from, Offset until);

  CopyOptions options_;
  std::unique_ptr<client::Admin> from_;
  std::unique_ptr<client::Admin> to_;
  std::unique_ptr<KafkaLink> from_link_;
  std::unique_ptr<KafkaLink> to_link_;
  std::unique_ptr<client::PartitionReader> reader_;
  std::unique_ptr<client::Producer> producer_;
  std::vector<Partition> partitions_;
  std::map<client::TopicPartition, size_t> index_;
  int32_t batch_bytes_max_ = 1 << 20;
  int64_t unflushed_ = 0;
  bool follows_ = false;
};

}  // namespace millrace::app
