#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "coord/effects.h"
#include "coord/requests.h"
#include "coord/settings.h"
#include "coord/types.h"

namespace millrace::coord {

namespace internal {
struct Group;
struct MembersMemory;
}  // namespace internal

struct GroupFilter {
  std::vector<std::string> states;  // Kafka's names, in any case; empty: all
  std::vector<std::string> types;   // "classic"; empty: all
};

struct GroupListing {
  std::string group;
  std::string protocol_type;  // empty for a group that only commits offsets
  GroupState state = GroupState::kEmpty;
  std::string type;  // "classic"
};

struct GroupSummary {
  const std::string& group;
  GroupState state = GroupState::kEmpty;
  size_t members = 0;
};

struct MemberDescription {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  Bytes metadata;    // for the selected protocol; empty unless the group is Stable
  Bytes assignment;  // empty unless the group is Stable
};

struct GroupDescription {
  GroupState state = GroupState::kEmpty;
  std::string protocol_type;
  std::string protocol_name;  // empty unless the group is Stable
  int32_t generation = 0;
  std::string
      last_rebalance_reason;  // why the last rebalance began, for people; empty before the first and after a start
  std::vector<MemberDescription> members;
};

// The coordinator of classic consumer groups (Kafka's JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, with
// KIP-345 static members, KIP-394 known member ids, KIP-800 reasons, KIP-814 skipped assignments) and of their
// committed offsets: a pure state machine. It does no I/O, reads no clock and starts no thread; it is told what happens
// and when, and says what to persist and what to answer.
//
//   start:    apply() every record of the log, oldest first, then start() once
//   running:  handle() for each event; on_time() when next_deadline() is reached; queries at any time
//   end:      resign(); or just drop it: everything that was acknowledged is in the records
//
// Every request gets exactly one reply, in the Effects of its own call or of a later one: joins and syncs wait for
// other members, and a heartbeat's answer is kept back for a while (GroupSettings). See Effects for when replies may be
// sent.
//
// A joining member is told its id (client id, "-", a random UUID) from `random`. Malformed requests get errors, never a
// crash. One thread at a time; groups do not touch one another, so several coordinators may share them out by group id.
class GroupCoordinator {
 public:
  GroupCoordinator(GroupSettings settings, Random random);
  ~GroupCoordinator();
  GroupCoordinator(const GroupCoordinator&) = delete;
  GroupCoordinator& operator=(const GroupCoordinator&) = delete;

  // Before start(): take up a record of the log. The last one of a key wins, so the log may be compacted or not.
  void apply(Record record);
  // Before start(): take up a transaction's marker, where it stands among the records of its partition.
  void apply(const TransactionEnded& marker);
  // After the last apply(): members get a full session timeout to be heard from again.
  Effects start(Instant now);

  // After start().
  Effects handle(Event event, Instant now);
  // Do what is due at `now`: sessions, rebalances, retention. Early and spurious calls do no harm.
  Effects on_time(Instant now);
  // When on_time() is next of use; nothing where nothing is pending. May change with each call above.
  std::optional<MonoTime> next_deadline() const;

  // Answer everything that waits with kNotCoordinator. Nothing but the destructor may be called afterwards.
  Effects resign();

  // --- Queries. What they return may be shown only as rule 2 of Effects says.

  // How many groups list() shows without a filter.
  size_t group_count() const { return groups_.size(); }
  // What GroupSettings::group_members_max_bytes bounds.
  size_t member_bytes() const;
  // Sorted by group id.
  std::vector<GroupListing> list(const GroupFilter& filter) const;
  // Nothing: there is no such group.
  std::optional<GroupDescription> describe(std::string_view group) const;
  // Null: none. Valid until the next call that is not a query.
  const CommittedOffset* committed_offset(std::string_view group, std::string_view topic, PartitionId partition) const;
  // Whether an open transaction holds a position that is not decided (KIP-447).
  bool has_pending_offset(std::string_view group, std::string_view topic, PartitionId partition) const;
  // All of a group, sorted by topic and partition.
  std::vector<PartitionOffset> committed_offsets(std::string_view group) const;
  // Look at the groups in order of their ids, from the first behind `after` on, as long as `visit` says so.
  void visit_groups(std::string_view after, const std::function<bool(const GroupSummary&)>& visit) const;
  // Look at what the group has committed, topic by topic, from the first behind `after` on, until a topic ends with at
  // least `count_max` partitions seen. Where to go on after that; nothing: that was all.
  using OffsetVisitor = std::function<void(const std::string& topic, PartitionId partition, Offset committed)>;
  std::optional<std::string> visit_offsets(std::string_view group, std::string_view after, size_t count_max,
                                           const OffsetVisitor& visit) const;

 private:
  using Groups = std::map<std::string, std::unique_ptr<internal::Group>, std::less<>>;

  internal::Group* find(std::string_view id);
  internal::Group& find_or_create(const std::string& id);
  void reschedule(internal::Group& group);
  // Something has become due at `time` that was not before.
  void schedule_by(internal::Group& group, MonoTime time);
  void reschedule_or_dispose(internal::Group& group);
  void remove(internal::Group& group, Effects& effects);
  void check_retention(Instant now, Effects& effects);
  // The groups that are concerned.
  std::vector<std::string> end_transaction(const TransactionEnded& marker);

  void on(JoinRequest request, Instant now, Effects& effects);
  void on(SyncRequest request, Instant now, Effects& effects);
  void on(HeartbeatRequest request, Instant now, Effects& effects);
  void on(LeaveRequest request, Instant now, Effects& effects);
  void on(CommitRequest request, Instant now, Effects& effects);
  void on(DeleteGroupRequest request, Instant now, Effects& effects);
  void on(DeleteOffsetsRequest request, Instant now, Effects& effects);
  void on(TopicDeleted event, Instant now, Effects& effects);
  void on(TransactionEnded event, Instant now, Effects& effects);
  void on(ConnectionClosed event, Instant now, Effects& effects);
  void on(NextRequestWaits event, Instant now, Effects& effects);
  void note_connection(ConnectionId connection, std::string_view member_id, const internal::Group& group);

  const GroupSettings settings_;
  Random random_;
  const std::unique_ptr<internal::MembersMemory> members_memory_;  // before groups_, which count in it
  Groups groups_;
  // Which groups hold positions of a producer's open transaction.
  std::map<ProducerId, std::set<std::string>> transaction_groups_;
  // Which groups were spoken to over a connection that is open.
  std::map<ConnectionId, std::set<std::string>> connection_groups_;
  // When each group next wants on_time(), earliest first; the ids are those of groups_.
  std::set<std::pair<MonoTime, std::string_view>> deadlines_;
  std::optional<MonoTime> next_retention_check_;
};

}  // namespace millrace::coord
