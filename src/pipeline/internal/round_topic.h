#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "client/options.h"
#include "client/partition_reader.h"
#include "client/producer.h"
#include "client/topic_follower.h"
#include "pipeline/internal/rounds.h"

namespace millrace::pipeline {

// Follows the topic of rounds for the models of one process, and decides those of them that this process leads. Who
// else leads for a moment, as partitions move, decides the same: rounds are functions of the topic's order.
// The follower's thread reads, merges and registers.
class RoundTopic {
 public:
  // Makes the topic where it does not exist, and returns when all that is in it now has been read. `rounds` and `clock`
  // must outlive it.
  static Result<std::unique_ptr<RoundTopic>> open(const client::Options& client, std::vector<Rounds*> rounds,
                                                  const Clock& clock);
  ~RoundTopic() = default;

 private:
  // Decides once everything is read that was in the topic when the round was first seen to be due: someone else may
  // have decided it.
  struct Deciding {
    int64_t boundary = 0;
    Offset end;
    bool written = false;
  };

  RoundTopic(const client::Options& client, const Clock& clock) : client_(client), clock_(clock) {}

  // Chunks of models led here are kept as they are followed, until they are used: to read one again takes a while. The
  // oldest go where there are too many.
  static constexpr size_t kRecentBytesMax = 16 << 20;

  void lead_all();
  void apply(const client::Records& records);
  Status lead(Rounds& rounds);
  Status decide(Rounds& rounds, const RoundState::Due& due);
  Result<ContributionPtr> fetch(const Rounds& rounds, const ContributionPtr& part);
  Status read_chunks(const std::vector<Offset>& offsets, std::map<Offset, Bytes>& chunks);
  Status write(std::span<const RoundRecord> records);
  void keep_recent(Offset offset, ByteView chunk);

  const client::Options client_;
  const Clock& clock_;
  std::map<std::string, Rounds*, std::less<>> rounds_;  // by series
  std::unique_ptr<client::PartitionReader> fetcher_;
  std::unique_ptr<client::Producer> producer_;  // once there is something to write
  std::map<const Rounds*, Deciding> deciding_;
  std::map<Offset, Bytes> recent_;
  size_t recent_bytes_ = 0;
  bool complained_ = false;  // that leading does not go on

  std::unique_ptr<client::TopicFollower> follower_;  // last: joined before anything it uses goes
};

}  // namespace millrace::pipeline
