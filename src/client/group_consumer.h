#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/admin.h"
#include "client/options.h"
#include "client/records.h"

namespace millrace::client {

enum class Assignor {
  kCooperativeSticky,  // partitions move one by one; what a member keeps it goes on reading
  kRange,              // co-partitioned topics: partition n of every topic goes to the same member
};

// Where to start in a partition for which the group has no committed offset.
enum class OffsetReset { kEarliest, kLatest, kError };

struct GroupOptions {
  std::string group;
  Assignor assignor = Assignor::kCooperativeSticky;
  OffsetReset reset = OffsetReset::kEarliest;
  Millis session_timeout{10'000};
  Millis heartbeat_interval{1'000};
  Millis poll_interval_max{300'000};  // a member that polls more rarely loses its partitions
  bool read_committed = true;
  uint64_t queue_bytes_max = 8ull << 20;  // fetched ahead, all partitions together
};

// What the group tells this member. Until it is acknowledged nothing changes: partitions assigned are not read yet,
// partitions revoked are still ours, and the group waits. Other partitions go on being read meanwhile.
struct GroupEvent {
  enum class Kind {
    kAssigned,  // read these, too: restore their state, then acknowledge with where to start
    kRevoked,   // commit what is done, then acknowledge: they go to another member
    kLost,      // they are another member's already: drop their state, commit nothing, acknowledge
  };
  Kind kind = Kind::kAssigned;
  std::vector<TopicPartition> partitions;  // ascending; may be empty
};

// What identifies this member to the broker; generation -1 and an empty id where it is in no group at the moment.
struct GroupMetadata {
  int32_t generation = -1;
  std::string member_id;
};

struct Polled {
  Records records;                  // came before `event`
  std::optional<GroupEvent> event;  // acknowledge it before the group can go on
  // Something that the client library is dealing with by itself: no broker answers, a topic does not exist yet. For
  // people to see; polling goes on.
  std::optional<Error> trouble;
};

// A worker in a consumer group. Offsets are committed only by commit(). One thread uses it (the one that polls), but
// for metadata(), which any thread may call. poll() must come more often than poll_interval_max, also while everything
// is paused. Works alike against our broker and Apache Kafka.
class GroupConsumer {
 public:
  static Result<std::unique_ptr<GroupConsumer>> create(const Options& options, const GroupOptions& group_options);
  // Leaves the group as close() does, waiting at most a second.
  ~GroupConsumer();

  // Join the group for these topics; replaces an earlier subscription. Partitions arrive as an event of poll().
  Status subscribe(std::span<const std::string> topics);

  // At most `records_max` records: waits up to `wait` for the first, and from then up to `gather` for more. Returns
  // early, perhaps without records, when an event comes or the end of a partition is reached. After an event every
  // further poll() returns records of the partitions held before, and no new event, until acknowledge().
  // An Error ends the membership for good (kConflict: fenced; kInvalidArgument: no offset and reset is kError;
  // kPermissionDenied: not allowed): close and make a new consumer.
  Result<Polled> poll(size_t records_max, Millis wait, Millis gather = Millis(0));

  // Tell the group that the pending event was dealt with. For kAssigned: `starts` says where to begin, for partitions
  // among the event's; the others begin at the group's committed offset. With `paused` they deliver nothing until
  // resume(). Precondition: an event is pending.
  Status acknowledge(std::span<const TopicOffset> starts = {}, bool paused = false);
  bool event_pending() const;

  std::vector<TopicPartition> assignment() const;
  // Stop and go on delivering, for partitions of the assignment. Paused ones deliver nothing from this call on, and
  // go on where they stopped, or where seek() put them.
  Status pause(std::span<const TopicPartition> partitions);
  Status resume(std::span<const TopicPartition> partitions);
  // Read on from there. Only for partitions of the assignment.
  Status seek(const TopicOffset& place, Millis timeout);

  // Commit these offsets (each the next to process) and wait for the broker's answer. kConflict: this member is no
  // longer in the generation: its partitions are, or will be, another's.
  Status commit(std::span<const TopicOffset> offsets, Millis timeout);
  // The group's committed offsets; partitions without one are left out.
  Result<std::vector<TopicOffset>> committed(std::span<const TopicPartition> partitions, Millis timeout);
  // How far poll() has come: behind the last record that it returned, or at the end of the partition as it was when
  // nothing was left to read, also where the last offsets hold no records. None before either.
  std::optional<Offset> position(const TopicPartition& source) const;
  // Where the partition begins and ends, asked from the broker.
  Result<OffsetRange> watermarks(const TopicPartition& source, Millis timeout);
  // The end of the partition as the last fetch saw it, without asking; none before that.
  std::optional<Offset> known_end(const TopicPartition& source) const;

  GroupMetadata metadata() const;

  // Leave the group, also as a static member: only one that is killed keeps its place. Commit first: what revocation
  // this brings is acknowledged inside. Afterwards only destruction.
  Status close(Millis timeout);

 private:
  struct Impl;
  explicit GroupConsumer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::client
