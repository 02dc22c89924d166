#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "coord/types.h"

// What comes into a coordinator. Requests carry the token that their reply will be addressed to. Fields that a
// request's wire version lacks have the default here.
namespace millrace::coord {

struct JoinRequest {
  RequestToken token;
  std::string group;
  std::string member_id;                   // empty: a newcomer
  std::optional<std::string> instance_id;  // group.instance.id: a static member
  std::string client_id;
  std::string client_host;
  std::chrono::milliseconds session_timeout_ms{0};
  std::chrono::milliseconds rebalance_timeout_ms{0};  // version 0 has none: its session timeout
  std::string protocol_type;
  std::vector<Protocol> protocols;        // the preferred one first
  bool requires_known_member_id = false;  // version 4 and later: a newcomer is told its id first
  bool supports_skip_assignment = false;  // version 9 and later
  std::string reason;                     // KIP-800: why the client joins; kept for describe
  ConnectionId connection{0};
};

struct SyncRequest {
  RequestToken token;
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  std::optional<std::string> protocol_type;  // version 5 and later: must be the group's
  std::optional<std::string> protocol_name;
  std::vector<MemberAssignment> assignments;  // from the leader
  ConnectionId connection{0};
};

struct HeartbeatRequest {
  RequestToken token;
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  ConnectionId connection{0};
  bool may_wait = true;  // the member's work does not wait for the answer, which may be kept back
};

struct LeavingMember {
  std::string member_id;                   // may be empty where instance_id is given
  std::optional<std::string> instance_id;  // a static member may be removed by it alone
  std::string reason;                      // KIP-800
};

struct LeaveRequest {
  RequestToken token;
  std::string group;
  std::vector<LeavingMember> members;
};

struct OffsetToCommit {
  std::string topic;
  PartitionId partition;
  Offset offset;
  int32_t leader_epoch = -1;
  std::string metadata;
};

// The caller has checked that topics and partitions exist. Generation -1 with an empty member id: not a member, but a
// simple consumer or an administrator.
struct CommitRequest {
  RequestToken token;
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  std::vector<OffsetToCommit> offsets;
  // As part of this producer's open transaction (TxnOffsetCommit): the offsets count when it is committed. Whether the
  // producer is the current one and its transaction open, the caller has checked.
  std::optional<Producer> transaction = std::nullopt;
};

// Delete a group that has no members, with its offsets.
struct DeleteGroupRequest {
  RequestToken token;
  std::string group;
};

// A topic is gone: forget every group's offsets of it. Has no reply.
struct TopicDeleted {
  std::string topic;
};

// A connection is gone. Dynamic members that were heard from last over it are out unless they are heard from again
// within group.disconnect.grace.ms. Has no reply.
struct ConnectionClosed {
  ConnectionId connection;
};

// The client has sent another request over the connection, which waits for the one in work: a heartbeat's answer is not
// kept back any longer. Has no reply.
struct NextRequestWaits {
  ConnectionId connection;
};

// Delete offsets of a group, member by member: those of topics that members subscribe to stay, with the error.
struct DeleteOffsetsRequest {
  RequestToken token;
  std::string group;
  std::vector<TopicPartition> partitions;
  // What the members subscribe to, where they speak the consumer protocol; nothing: cannot be told, so nothing may be
  // deleted while there are members.
  std::optional<std::set<std::string>> subscribed;
};

// A transaction has ended: its marker is in the log. Has no reply.
struct TransactionEnded {
  ProducerId producer;
  bool committed = false;
  // Of which groups the marker speaks: those whose records are in its partition.
  std::function<bool(const std::string& group)> concerns;
};

using Event = std::variant<JoinRequest, SyncRequest, HeartbeatRequest, LeaveRequest, CommitRequest, DeleteGroupRequest,
                           DeleteOffsetsRequest, TopicDeleted, TransactionEnded, ConnectionClosed, NextRequestWaits>;

}  // namespace millrace::coord
