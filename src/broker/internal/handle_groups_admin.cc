#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "broker/internal/drop_repeats.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/on_groups.h"
#include "broker/internal/partition_errors.h"
#include "wire/consumer_protocol.h"
#include "wire/versioned.h"

// What administrators take away from groups.
namespace millrace::broker {
namespace {

using wire::ErrorCode;

// A DeleteGroups on its way: each group is an event of its own, and the last reply makes the answer. On the groups'
// thread.
class GroupsDeletion {
 public:
  GroupsDeletion(Request request, const std::vector<std::string>& names)
      : request_(std::move(request)), left_(names.size()) {
    for (const std::string& name : names) response_.results.emplace_back().group_id = name;
  }

  void done(size_t index, ErrorCode error) {
    response_.results[index].error_code = error;
    if (--left_ == 0) respond(request_, response_);
  }

 private:
  Request request_;
  wire::DeleteGroupsResponse response_;
  size_t left_;
};

void delete_groups(Core& core, Request request, const std::vector<std::string>& names) {
  if (names.empty()) return respond(request, wire::DeleteGroupsResponse{});
  const auto deletion = std::make_shared<GroupsDeletion>(std::move(request), names);
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) {
      deletion->done(i, ErrorCode::kInvalidGroupId);
    } else if (!core.groups.takes_records()) {  // the one before could not be written, or nothing can
      deletion->done(i, ErrorCode::kNotCoordinator);
    } else {
      coord::DeleteGroupRequest event;
      event.group = names[i];
      core.groups.call<coord::DeleteGroupReply>(std::move(event), [deletion, i](const coord::DeleteGroupReply& reply) {
        deletion->done(i, to_wire(reply.error));
      });
    }
  }
}

// What an error of the whole group is where there are no groups, or cannot be served.
ErrorCode without_groups(const std::string& group, GroupService::State state) {
  if (group.empty()) return ErrorCode::kInvalidGroupId;
  return state == GroupService::State::kNoGroupsYet ? ErrorCode::kGroupIdNotFound : ErrorCode::kNotCoordinator;
}

// What a group's members read, as far as it matters to `asked`; nothing where they do not speak the consumer protocol.
std::optional<std::set<std::string>> subscribed_topics(const std::optional<coord::GroupDescription>& group,
                                                       const std::vector<coord::TopicPartition>& asked) {
  std::set<std::string> topics;
  if (!group || group->state == coord::GroupState::kEmpty) return topics;
  if (group->protocol_type != "consumer") return std::nullopt;
  bool known = group->state == coord::GroupState::kStable;
  for (const auto& member : group->members) {
    const auto subscription = wire::decode_versioned<wire::ConsumerProtocolSubscription>(member.metadata);
    known = known && subscription;
    if (known) topics.insert(subscription->topics.begin(), subscription->topics.end());
  }
  // Between generations, or with a member that nobody understands: as in Kafka, it might be any.
  if (!known) {
    for (const auto& partition : asked) topics.insert(partition.topic);
  }
  return topics;
}

// The answer in the request's shape. Partitions that do not exist are refused here; the others are in `event`.
class OffsetsDeletion {
 public:
  OffsetsDeletion(const TopicTable& topics, const wire::OffsetDeleteRequest& message,
                  coord::DeleteOffsetsRequest& event) {
    for (const auto& topic : message.topics) {
      auto& answered = response_.topics.emplace_back();
      answered.name = topic.name;
      const auto state = topics.find(topic.name);
      for (const auto& asked : topic.partitions) {
        auto& partition = answered.partitions.emplace_back();
        partition.partition_index = asked.partition_index;
        if (!state || state->partition(asked.partition_index) == nullptr) {
          partition.error_code = ErrorCode::kUnknownTopicOrPartition;
        } else {
          event.partitions.push_back({topic.name, PartitionId{asked.partition_index}});
        }
      }
    }
  }

  const wire::OffsetDeleteResponse& take(const coord::DeleteOffsetsReply& reply) {
    response_.error_code = to_wire(reply.error);
    if (response_.error_code != ErrorCode::kNone) response_.topics.clear();
    take_errors(response_.topics, reply.errors);
    return response_;
  }

 private:
  wire::OffsetDeleteResponse response_;
};

}  // namespace

void handle_delete_groups(Core& core, Request request, wire::DeleteGroupsRequest message) {
  drop_repeats(message.groups_names);
  const auto names = std::move(message.groups_names);
  on_groups(
      core, std::move(request), [&core, names](Request asked) mutable { delete_groups(core, std::move(asked), names); },
      [names](Request& asked, GroupService::State state) {
        wire::DeleteGroupsResponse response;
        for (const std::string& name : names) response.results.push_back({name, without_groups(name, state)});
        respond(asked, response);
      });
}

void handle_offset_delete(Core& core, Request request, wire::OffsetDeleteRequest message) {
  coord::DeleteOffsetsRequest event;
  event.group = message.group_id;
  OffsetsDeletion deletion(*core.topics.snapshot(), message, event);
  on_groups(
      core, std::move(request),
      [&core, event = std::move(event), deletion = std::move(deletion)](Request asked) mutable {
        event.subscribed = subscribed_topics(core.groups.coordinator().describe(event.group), event.partitions);
        Executor& home = asked.reply.home();
        core.groups.call<coord::DeleteOffsetsReply>(
            std::move(event), home,
            [asked = std::move(asked), deletion = std::move(deletion)](const coord::DeleteOffsetsReply& reply) mutable {
              respond(asked, deletion.take(reply));
            });
      },
      [group = message.group_id](Request& asked, GroupService::State state) {
        wire::OffsetDeleteResponse response;
        response.error_code = without_groups(group, state);
        respond(asked, response);
      });
}

}  // namespace millrace::broker
