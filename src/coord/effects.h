#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "coord/types.h"

// What comes out of a coordinator: records to keep, replies to send, and what happened, for operators.
namespace millrace::coord {

// --- Replies

struct JoinReply {
  GroupError error = GroupError::kNone;
  std::string member_id;  // with kMemberIdRequired: the id to join with
  int32_t generation = -1;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  std::string leader;                 // a member id
  bool skip_assignment = false;       // the leader shall keep the assignment as it is (KIP-814)
  std::vector<JoinedMember> members;  // all of them, for the leader; empty for the others
};

struct SyncReply {
  GroupError error = GroupError::kNone;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  Bytes assignment;
};

struct HeartbeatReply {
  GroupError error = GroupError::kNone;
};

struct LeaveOutcome {
  std::string member_id;
  std::optional<std::string> instance_id;
  GroupError error = GroupError::kNone;
};

struct LeaveReply {
  GroupError error = GroupError::kNone;  // of the whole request; then `members` is empty
  std::vector<LeaveOutcome> members;     // one for each in the request, in its order
};

struct CommitReply {
  std::vector<GroupError> errors;  // one for each offset in the request, in its order
};

struct DeleteGroupReply {
  GroupError error = GroupError::kNone;
};

struct DeleteOffsetsReply {
  GroupError error = GroupError::kNone;  // of the whole request; then `errors` is empty
  std::vector<GroupError> errors;        // one for each partition in the request, in its order
};

struct Reply {
  RequestToken to;
  std::variant<JoinReply, SyncReply, HeartbeatReply, LeaveReply, CommitReply, DeleteGroupReply, DeleteOffsetsReply>
      body;
};

// --- Records: the durable form of a group. For each key the last record counts; one without a value deletes the key.

struct GroupRecordMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::chrono::milliseconds session_timeout_ms{0};
  std::chrono::milliseconds rebalance_timeout_ms{0};
  Bytes subscription;  // the member's metadata for the selected protocol
  Bytes assignment;

  friend bool operator==(const GroupRecordMember&, const GroupRecordMember&) = default;
};

// A group between rebalances: Stable where it has members, else Empty.
struct GroupRecordValue {
  std::string protocol_type;
  int32_t generation = 0;
  std::optional<std::string> protocol_name;
  std::optional<std::string> leader;
  WallTime state_since;  // in whole milliseconds
  std::vector<GroupRecordMember> members;

  friend bool operator==(const GroupRecordValue&, const GroupRecordValue&) = default;
};

struct GroupRecord {  // key: group
  std::string group;
  std::optional<GroupRecordValue> value;

  friend bool operator==(const GroupRecord&, const GroupRecord&) = default;
};

struct OffsetRecord {  // key: group, topic, partition
  std::string group;
  std::string topic;
  PartitionId partition;
  std::optional<CommittedOffset> value;
  // Written in this producer's transaction: counts from its commit marker on.
  std::optional<Producer> transaction = std::nullopt;

  friend bool operator==(const OffsetRecord&, const OffsetRecord&) = default;
};

using Record = std::variant<GroupRecord, OffsetRecord>;

// The group whose log the record belongs to.
inline const std::string& group_of(const Record& record) {
  return std::visit([](const auto& any) -> const std::string& { return any.group; }, record);
}

// --- History: rebalances that have ended, for operators. Nothing depends on it.

struct RebalanceCause {
  std::string reason;     // for people
  std::string member_id;  // whose doing it was; empty: nobody's
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
};

struct RebalanceMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  Bytes assignment;
};

// From the moment when a group was Stable (or Empty) no more to the moment when it is again.
struct Rebalance {
  std::string group;
  std::string protocol_type;
  int32_t generation = 0;  // that it has led to
  WallTime began;
  std::chrono::milliseconds took{0};
  // What began it, then what began it anew before it could end; the first kCausesMax of them.
  static constexpr size_t kCausesMax = 8;
  std::vector<RebalanceCause> causes;
  std::vector<RebalanceMember> before;  // who held what; empty where the group was Empty
  std::vector<RebalanceMember> after;   // empty: nobody is left
};

// What one call does to the world outside. The coordinator's own state has already moved on, so the caller must:
//  1. append all of `records`, in their order and behind those of earlier Effects of the same coordinator, in one
//     atomic write, or, where that would be too large, in several of whole records;
//  2. send each of `replies` only when these records, and those of all earlier Effects, are durable. A reply may rest
//  on
//     what an earlier call decided, so this holds for Effects without records and for what queries returned, too.
// The log position after the coordinator's last append is all that a caller needs to remember for rule 2. If an append
// fails, the coordinator is ahead of its log: resign() it, and build a new one from the log.
struct Effects {
  std::vector<Record> records;
  std::vector<Reply> replies;
  std::vector<Rebalance> rebalances;
};

}  // namespace millrace::coord
