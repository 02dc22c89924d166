#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/uuid.h"
#include "client/options.h"
#include "client/records.h"

namespace millrace::client {

struct TopicSpec {
  std::string name;
  int32_t partitions = 1;
  std::map<std::string, std::string> config;  // retention.ms, cleanup.policy, ...
};

struct TopicOutcome {
  std::string topic;
  Status status;  // creating: kAlreadyExists where the topic is there; deleting: kNotFound where it is not
};

struct PartitionInfo {
  PartitionId id;
  int32_t leader = -1;  // a broker's id; -1: none at the moment
};

struct TopicInfo {
  std::string name;
  Uuid id;  // zero where the broker does not tell
  bool internal = false;
  std::vector<PartitionInfo> partitions;  // ascending
};

struct BrokerInfo {
  int32_t id = -1;
  std::string host;
  int32_t port = 0;
};

struct ClusterInfo {
  std::string cluster_id;
  int32_t controller = -1;
  std::vector<BrokerInfo> brokers;
};

// The first offset kept and the one that the next record gets: end - begin records at most.
struct OffsetRange {
  Offset begin;
  Offset end;
};

struct PartitionOffsets {
  TopicPartition source;
  Result<OffsetRange> range;
};

struct GroupInfo {
  std::string name;
  std::string state;    // Kafka's names: Stable, Empty, PreparingRebalance, CompletingRebalance, Dead
  bool simple = false;  // only commits offsets, has no members
};

struct GroupMember {
  std::string member_id;
  std::string client_id;
  std::string host;
  std::string instance_id;  // of a static member, else empty
  std::vector<TopicPartition> assignment;
};

struct GroupLag {
  TopicPartition source;
  Offset committed;
  Offset end;  // of the partition
  int64_t lag() const { return end - committed; }
};

struct GroupDescription {
  std::string name;
  std::string state;
  std::string assignor;
  std::vector<GroupMember> members;
  std::vector<GroupLag> offsets;  // every partition the group has committed, ascending
};

struct ConfigEntry {
  std::string name;
  std::optional<std::string> value;  // none: secret
  bool is_default = true;
  bool read_only = false;
};

// Asks and changes what a cluster has: topics, groups, settings. Every call answers within its `timeout`; a broker that
// cannot be reached is kUnavailable, with its address. Calls may come from any thread; each blocks its caller.
class Admin {
 public:
  static Result<std::unique_ptr<Admin>> create(const Options& options);
  ~Admin();

  // One outcome a topic, in the order given. The outer error is for calls that reached no broker.
  Result<std::vector<TopicOutcome>> create_topics(std::span<const TopicSpec> topics, Millis timeout);
  Result<std::vector<TopicOutcome>> delete_topics(std::span<const std::string> topics, Millis timeout);
  // Make the topic unless it exists. One that exists with another number of partitions is kConflict.
  Status ensure_topic(const TopicSpec& topic, Millis timeout);

  // Every topic, ascending by name, internal ones too; ids are left out.
  Result<std::vector<TopicInfo>> list_topics(Millis timeout);
  // With its id. kNotFound where there is no such topic.
  Result<TopicInfo> describe_topic(const std::string& topic, Millis timeout);
  Result<std::vector<ConfigEntry>> describe_topic_config(const std::string& topic, Millis timeout);
  Result<ClusterInfo> describe_cluster(Millis timeout);

  // Where each partition begins and ends now, in the order given.
  Result<std::vector<PartitionOffsets>> offsets(std::span<const TopicPartition> partitions, Millis timeout);
  // The first offset whose record is not older than `timestamp_ms`; the partition's end where all are older.
  Result<std::vector<TopicOffset>> offsets_at(std::span<const TopicPartition> partitions, int64_t timestamp_ms,
                                              Millis timeout);

  Result<std::vector<GroupInfo>> list_groups(Millis timeout);
  // With members, what each was assigned, and the lag of each committed partition. kNotFound where there is no such
  // group.
  Result<GroupDescription> describe_group(const std::string& group, Millis timeout);
  Result<std::vector<TopicOffset>> committed(const std::string& group, Millis timeout);

 private:
  struct Impl;
  explicit Admin(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::client
