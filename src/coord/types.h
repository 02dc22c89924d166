#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_writer.h"
#include "base/clock.h"
#include "base/ids.h"

// The words of consumer groups, as Kafka's documentation uses them, without its wire types and error codes.
namespace millrace::coord {

// Names one waiting request, chosen by the caller: a coordinator only hands it back with the reply. Two requests that
// wait at the same time must not share a token.
using RequestToken = StrongId<struct RequestTokenTag, uint64_t>;

// Names one client connection, chosen by the caller and never used again; 0: unknown.
using ConnectionId = StrongId<struct ConnectionIdTag, uint64_t>;

// The moment at which the caller hands something in. `mono` measures sessions and rebalances and must never go back
// from one call to the next; `wall` stamps commits and measures the retention of offsets.
struct Instant {
  MonoTime mono;
  WallTime wall;
};

// What records keep of a time.
inline WallTime whole_ms(WallTime time) {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::floor<std::chrono::milliseconds>(time));
}

// What a group's request can end with. Each has the Kafka error of the same name.
enum class GroupError {
  kNone,
  kInvalidGroupId,             // the group id is empty
  kInvalidSessionTimeout,      // outside group.min/max.session.timeout.ms
  kInvalidRequest,             // fields that contradict each other
  kMemberIdRequired,           // join again with the member id in the reply
  kUnknownMemberId,            // expired, evicted, left, or never a member
  kFencedInstanceId,           // another process took over this group.instance.id
  kIllegalGeneration,          // of an earlier generation: join again
  kRebalanceInProgress,        // join again
  kInconsistentGroupProtocol,  // another protocol type, or no protocol that all members know
  kGroupMaxSizeReached,        // group.max.size, or more bytes of metadata than a group may have
  kAssignmentTooLarge,         // all assignments of a generation, together
  kOffsetMetadataTooLarge,     // offset.metadata.max.bytes
  kGroupIdNotFound,            // there is no such group
  kNonEmptyGroup,              // has members still
  kGroupSubscribedToTopic,     // a member reads the topic whose offsets were to be deleted
  kCoordinatorNotAvailable,    // no memory for what members tell, of all groups together: try again
  kNotCoordinator,             // this coordinator has resigned: find the group's coordinator again
};

// A classic group's life; a group that does not exist is Dead.
enum class GroupState { kEmpty, kPreparingRebalance, kCompletingRebalance, kStable };

// Kafka's name of it: "PreparingRebalance".
const char* group_state_name(GroupState state);

// One way to assign partitions that a member can follow, with what it wants to tell the leader (its subscription).
struct Protocol {
  std::string name;
  Bytes metadata;

  friend bool operator==(const Protocol&, const Protocol&) = default;
};

// A member as the leader of a generation sees it.
struct JoinedMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  Bytes metadata;  // of the protocol that was selected

  friend bool operator==(const JoinedMember&, const JoinedMember&) = default;
};

struct MemberAssignment {
  std::string member_id;
  Bytes assignment;
};

struct TopicPartition {
  std::string topic;
  PartitionId partition;

  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

// One incarnation of a producer: a greater epoch of the same id fences the smaller ones.
struct Producer {
  ProducerId id = kNoProducerId;
  ProducerEpoch epoch = kNoProducerEpoch;

  friend bool operator==(const Producer&, const Producer&) = default;
};

// A position that a consumer has committed: it would go on reading here.
struct CommittedOffset {
  Offset offset;
  int32_t leader_epoch = -1;  // of the record before the position; -1 where unknown
  std::string metadata;
  WallTime committed_at;  // in whole milliseconds

  friend bool operator==(const CommittedOffset&, const CommittedOffset&) = default;
};

struct PartitionOffset {
  std::string topic;
  PartitionId partition;
  CommittedOffset committed;

  friend bool operator==(const PartitionOffset&, const PartitionOffset&) = default;
};

}  // namespace millrace::coord
