#include <map>
#include <utility>
#include <vector>

#include "broker/internal/drop_repeats.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/offset_commits.h"
#include "broker/internal/partition_errors.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;

constexpr int16_t kGroupsFrom = 8;

// The response in the request's shape. Partitions that do not exist are refused here; the others take the coordinator's
// errors in their order.
class CommitAnswer {
 public:
  CommitAnswer(const TopicTable& topics, wire::OffsetCommitRequest message, coord::CommitRequest& commit) {
    take_offsets(message.topics, topics, commit, response_.topics);
  }

  void take(const std::vector<coord::GroupError>& errors) { take_errors(response_.topics, errors); }
  void refuse(ErrorCode with) { refuse_the_rest(response_.topics, with); }

  const wire::OffsetCommitResponse& response() const { return response_; }

 private:
  wire::OffsetCommitResponse response_;
};

}  // namespace

void handle_offset_commit(Core& core, Request request, wire::OffsetCommitRequest message) {
  coord::CommitRequest commit;
  commit.group = message.group_id;
  commit.member_id = message.member_id;
  commit.instance_id = message.group_instance_id;
  commit.generation = message.generation_id_or_member_epoch;
  CommitAnswer answer(*core.topics.snapshot(), std::move(message), commit);
  request.frame.reset();
  if (record_bytes(commit) > static_cast<size_t>(core.settings.message_bytes_max)) {
    answer.refuse(ErrorCode::kInvalidCommitOffsetSize);
    return respond(request, answer.response());
  }
  if (core.groups.is_crowded()) {
    answer.refuse(ErrorCode::kNotCoordinator);
    return respond(request, answer.response());
  }
  core.groups.post(
      [&core, commit = std::move(commit), answer = std::move(answer), request = std::move(request)]() mutable {
        if (core.groups.state() != GroupService::State::kServing || !core.groups.takes_records()) {
          answer.refuse(ErrorCode::kNotCoordinator);
          return respond(request, answer.response());
        }
        Executor& home = request.reply.home();
        core.groups.call<coord::CommitReply>(
            std::move(commit), home,
            [answer = std::move(answer), request = std::move(request)](const coord::CommitReply& reply) mutable {
              answer.take(reply.errors);
              respond(request, answer.response());
            });
      });
}

namespace {

using FetchedGroup = wire::OffsetFetchResponse::OffsetFetchResponseGroup;
using AskedGroup = wire::OffsetFetchRequest::OffsetFetchRequestGroup;

void add_offset(wire::OffsetFetchResponse::OffsetFetchResponseTopics& topic, int32_t partition,
                const coord::CommittedOffset* committed) {
  auto& out = topic.partitions.emplace_back();
  out.partition_index = partition;
  out.committed_offset = committed == nullptr ? -1 : committed->offset.value();
  out.committed_leader_epoch = committed == nullptr ? -1 : committed->leader_epoch;
  out.metadata = committed == nullptr ? std::string() : committed->metadata;
}

void mark_unstable(const GroupService& groups, const std::string& group, const std::string& topic,
                   wire::OffsetFetchResponse::OffsetFetchResponsePartitions& partition) {
  if (!groups.coordinator().has_pending_offset(group, topic, PartitionId{partition.partition_index})) return;
  partition.committed_offset = -1;
  partition.committed_leader_epoch = -1;
  partition.metadata = "";
  partition.error_code = ErrorCode::kUnstableOffsetCommit;
}

FetchedGroup fetch_group(const GroupService& groups, GroupService::State state, const AskedGroup& asked,
                         bool require_stable) {
  FetchedGroup fetched;
  fetched.group_id = asked.group_id;
  // A consumer that heard of no offset would begin anew: where they are not known, that must be said.
  if (asked.group_id.empty()) fetched.error_code = ErrorCode::kInvalidGroupId;
  if (state == GroupService::State::kFailed) fetched.error_code = ErrorCode::kNotCoordinator;
  if (fetched.error_code != ErrorCode::kNone) return fetched;
  const bool serving = state == GroupService::State::kServing;
  if (asked.topics) {
    for (const auto& topic : *asked.topics) {
      auto& out = fetched.topics.emplace_back();
      out.name = topic.name;
      for (const int32_t partition : topic.partition_indexes) {
        const PartitionId id{partition};
        add_offset(out, partition,
                   serving ? groups.coordinator().committed_offset(asked.group_id, topic.name, id) : nullptr);
        if (require_stable && serving) mark_unstable(groups, asked.group_id, topic.name, out.partitions.back());
      }
    }
    return fetched;
  }
  if (!serving) return fetched;
  for (const auto& committed : groups.coordinator().committed_offsets(asked.group_id)) {
    if (fetched.topics.empty() || fetched.topics.back().name != committed.topic)
      fetched.topics.emplace_back().name = committed.topic;
    add_offset(fetched.topics.back(), committed.partition.value(), &committed.committed);
    if (require_stable) mark_unstable(groups, asked.group_id, committed.topic, fetched.topics.back().partitions.back());
  }
  return fetched;
}

// Before version 8 one group lies in the request and the response themselves.
AskedGroup only_group(wire::OffsetFetchRequest& message) {
  AskedGroup group;
  group.group_id = std::move(message.group_id);
  group.topics.reset();
  if (message.topics) {
    group.topics.emplace();
    for (auto& topic : *message.topics)
      group.topics->push_back({std::move(topic.name), std::move(topic.partition_indexes)});
  }
  return group;
}

// Version 1 has no error of the whole: each partition carries it.
void put_only_group(wire::OffsetFetchResponse& response, FetchedGroup group, const AskedGroup& asked, int16_t version) {
  if (version >= 2) {
    response.error_code = group.error_code;
  } else if (group.error_code != ErrorCode::kNone && asked.topics) {
    for (const auto& topic : *asked.topics) {
      auto& out = group.topics.emplace_back();
      out.name = topic.name;
      for (const int32_t partition : topic.partition_indexes) {
        add_offset(out, partition, nullptr);
        out.partitions.back().error_code = group.error_code;
      }
    }
  }
  for (auto& topic : group.topics) {
    auto& out = response.topics.emplace_back();
    out.name = std::move(topic.name);
    for (auto& partition : topic.partitions)
      out.partitions.push_back({partition.partition_index, partition.committed_offset, partition.committed_leader_epoch,
                                std::move(partition.metadata), partition.error_code});
  }
}

// On the groups' executor; anywhere where their `state` is kFailed.
wire::OffsetFetchResponse fetch_all(const GroupService& groups, GroupService::State state,
                                    wire::OffsetFetchRequest& message, int16_t version) {
  wire::OffsetFetchResponse response;
  if (version < kGroupsFrom) {
    const AskedGroup asked = only_group(message);
    put_only_group(response, fetch_group(groups, state, asked, message.require_stable), asked, version);
  } else {
    for (const AskedGroup& asked : message.groups)
      response.groups.push_back(fetch_group(groups, state, asked, message.require_stable));
  }
  return response;
}

}  // namespace

namespace {

// The same offset is told once, with its metadata.
void drop_repeated_offsets(wire::OffsetFetchRequest& message) {
  if (message.topics) merge_repeats(*message.topics);
  drop_repeats(message.groups, [](const AskedGroup& group) { return group.group_id; });
  for (AskedGroup& group : message.groups)
    if (group.topics) merge_repeats(*group.topics);
}

}  // namespace

// With require_stable an offset that an open transaction holds is not told, for the consumer to ask again (KIP-447).
void handle_offset_fetch(Core& core, Request request, wire::OffsetFetchRequest message) {
  drop_repeated_offsets(message);
  const int16_t version = request.header.api_version;
  if (core.groups.is_crowded())
    return respond(request, fetch_all(core.groups, GroupService::State::kFailed, message, version));
  core.groups.post([&core, version, request = std::move(request), message = std::move(message)]() mutable {
    auto response = fetch_all(core.groups, core.groups.state(), message, version);
    Executor& home = request.reply.home();
    core.groups.after_durable(
        home, [request = std::move(request), response = std::move(response)](const Status& ok) mutable {
          if (!ok) return request.reply.give_up("the log has failed, so committed offsets cannot be told");
          respond(request, response);
        });
  });
}

}  // namespace millrace::broker
