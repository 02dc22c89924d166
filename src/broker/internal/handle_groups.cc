#include <fmt/core.h>

#include <chrono>
#include <type_traits>
#include <utility>

#include "broker/internal/authorized_operations.h"
#include "broker/internal/drop_repeats.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/on_groups.h"
#include "broker/internal/shortened.h"

// The life of a group's members: wire messages to coordinator events, and replies back.
namespace millrace::broker {
namespace {

using std::chrono::milliseconds;
using wire::ErrorCode;

// Hand `event`, which has copies of all it needs, to the coordinator, and answer with what `to_response` makes of its
// reply for the request's version.
template <typename Reply, typename Event, typename ToResponse>
void ask_coordinator(Core& core, Request request, Event event, ToResponse to_response) {
  using Response = std::invoke_result_t<ToResponse, const Reply&, int16_t>;
  request.frame.reset();
  on_groups(
      core, std::move(request),
      [&core, event = std::move(event), to_response](Request asked) mutable {
        Executor& home = asked.reply.home();
        core.groups.call<Reply>(std::move(event), home,
                                [asked = std::move(asked), to_response](const Reply& reply) mutable {
                                  respond(asked, to_response(reply, asked.header.api_version));
                                });
      },
      RefuseWith<Response>{});
}

wire::JoinGroupResponse join_response(const coord::JoinReply& reply, int16_t version) {
  wire::JoinGroupResponse response;
  response.error_code = to_wire(reply.error);
  response.generation_id = reply.generation;
  if (version >= 7) {
    response.protocol_type = reply.protocol_type;
    response.protocol_name = reply.protocol_name;
  } else {
    response.protocol_name = reply.protocol_name.value_or("");
  }
  response.leader = reply.leader;
  if (version >= 9) response.skip_assignment = reply.skip_assignment;
  response.member_id = reply.member_id;
  for (const auto& member : reply.members) {
    auto& out = response.members.emplace_back();
    out.member_id = member.member_id;
    if (version >= 5) out.group_instance_id = member.instance_id;
    out.metadata = member.metadata;
  }
  return response;
}

coord::JoinRequest join_event(const Request& request, wire::JoinGroupRequest message) {
  const int16_t version = request.header.api_version;
  coord::JoinRequest join;
  join.group = std::move(message.group_id);
  join.member_id = std::move(message.member_id);
  join.instance_id = std::move(message.group_instance_id);
  join.client_id = request.header.client_id.value_or("");
  join.client_host = request.client_host;
  join.session_timeout_ms = milliseconds(message.session_timeout_ms);
  join.rebalance_timeout_ms = milliseconds(version >= 1 ? message.rebalance_timeout_ms : message.session_timeout_ms);
  join.protocol_type = std::move(message.protocol_type);
  for (auto& protocol : message.protocols)
    join.protocols.push_back({.name = std::move(protocol.name), .metadata = to_bytes(protocol.metadata)});
  join.requires_known_member_id = version >= 4;
  join.supports_skip_assignment = version >= 9;
  join.reason = message.reason.value_or("");
  join.connection = coord::ConnectionId{request.connection};
  return join;
}

wire::SyncGroupResponse sync_response(const coord::SyncReply& reply, int16_t) {
  wire::SyncGroupResponse response;
  response.error_code = to_wire(reply.error);
  response.protocol_type = reply.protocol_type;
  response.protocol_name = reply.protocol_name;
  response.assignment = reply.assignment;
  return response;
}

wire::HeartbeatResponse heartbeat_response(const coord::HeartbeatReply& reply, int16_t) {
  wire::HeartbeatResponse response;
  response.error_code = to_wire(reply.error);
  return response;
}

// From this version on LeaveGroup names several members, each with an outcome of its own.
constexpr int16_t kSeveralLeaveFrom = 3;

wire::LeaveGroupResponse leave_response(const coord::LeaveReply& reply, int16_t version) {
  wire::LeaveGroupResponse response;
  response.error_code = to_wire(reply.error);
  if (version < kSeveralLeaveFrom) {
    if (reply.error == coord::GroupError::kNone && !reply.members.empty())
      response.error_code = to_wire(reply.members.front().error);
    return response;
  }
  for (const auto& member : reply.members)
    response.members.push_back({member.member_id, member.instance_id, to_wire(member.error)});
  return response;
}

}  // namespace

void handle_join_group(Core& core, Request request, wire::JoinGroupRequest message) {
  auto join = join_event(request, std::move(message));
  ask_coordinator<coord::JoinReply>(core, std::move(request), std::move(join), join_response);
}

void handle_sync_group(Core& core, Request request, wire::SyncGroupRequest message) {
  constexpr int16_t kProtocolFrom = 5;
  if (request.header.api_version >= kProtocolFrom && !(message.protocol_type && message.protocol_name)) {
    wire::SyncGroupResponse response;
    response.error_code = ErrorCode::kInconsistentGroupProtocol;
    return respond(request, response);
  }
  coord::SyncRequest sync;
  sync.group = std::move(message.group_id);
  sync.member_id = std::move(message.member_id);
  sync.instance_id = std::move(message.group_instance_id);
  sync.generation = message.generation_id;
  sync.protocol_type = std::move(message.protocol_type);
  sync.protocol_name = std::move(message.protocol_name);
  for (auto& assigned : message.assignments)
    sync.assignments.push_back(
        {.member_id = std::move(assigned.member_id), .assignment = to_bytes(assigned.assignment)});
  sync.connection = coord::ConnectionId{request.connection};
  ask_coordinator<coord::SyncReply>(core, std::move(request), std::move(sync), sync_response);
}

void handle_heartbeat(Core& core, Request request, wire::HeartbeatRequest message) {
  coord::HeartbeatRequest beat;
  beat.group = std::move(message.group_id);
  beat.member_id = std::move(message.member_id);
  beat.instance_id = std::move(message.group_instance_id);
  beat.generation = message.generation_id;
  beat.connection = coord::ConnectionId{request.connection};
  beat.may_wait = request.client->works_on;
  ask_coordinator<coord::HeartbeatReply>(core, std::move(request), std::move(beat), heartbeat_response);
}

void handle_leave_group(Core& core, Request request, wire::LeaveGroupRequest message) {
  coord::LeaveRequest leave;
  leave.group = std::move(message.group_id);
  if (request.header.api_version < kSeveralLeaveFrom) {
    leave.members.push_back({.member_id = std::move(message.member_id), .instance_id = {}, .reason = {}});
  } else {
    for (auto& member : message.members)
      leave.members.push_back({.member_id = std::move(member.member_id),
                               .instance_id = std::move(member.group_instance_id),
                               .reason = member.reason.value_or("")});
  }
  ask_coordinator<coord::LeaveReply>(core, std::move(request), std::move(leave), leave_response);
}

// Queries: what they find is shown when all that it rests upon is durable.

void handle_list_groups(Core& core, Request request, wire::ListGroupsRequest message) {
  on_groups(
      core, std::move(request),
      [&core, message = std::move(message)](Request asked) mutable {
        wire::ListGroupsResponse response;
        for (auto& group : core.groups.coordinator().list({message.states_filter, message.types_filter})) {
          auto& listed = response.groups.emplace_back();
          listed.group_id = std::move(group.group);
          listed.protocol_type = std::move(group.protocol_type);
          listed.group_state = coord::group_state_name(group.state);
          listed.group_type = std::move(group.type);
        }
        Executor& home = asked.reply.home();
        core.groups.after_durable(
            home, [asked = std::move(asked), response = std::move(response)](const Status& durable) mutable {
              if (!durable) return RefuseWith<wire::ListGroupsResponse>{}(asked, GroupService::State::kFailed);
              respond(asked, response);
            });
      },
      [](Request& asked, GroupService::State state) {
        if (state == GroupService::State::kNoGroupsYet) return respond(asked, wire::ListGroupsResponse{});
        RefuseWith<wire::ListGroupsResponse>{}(asked, state);
      });
}

namespace {

using Described = std::optional<coord::GroupDescription>;

wire::DescribeGroupsResponse::DescribedGroup describe(const std::string& id, const Described& found, int16_t version) {
  constexpr int16_t kNotFoundFrom = 6;
  wire::DescribeGroupsResponse::DescribedGroup group;
  group.group_id = id;
  if (!found) {
    group.group_state = "Dead";
    if (version >= kNotFoundFrom) {
      group.error_code = ErrorCode::kGroupIdNotFound;
      group.error_message = fmt::format("there is no group '{}'", shortened(id));
    }
    return group;
  }
  group.group_state = coord::group_state_name(found->state);
  group.protocol_type = found->protocol_type;
  group.protocol_data = found->protocol_name;
  for (const auto& member : found->members) {
    auto& out = group.members.emplace_back();
    out.member_id = member.member_id;
    if (version >= 4) out.group_instance_id = member.instance_id;
    out.client_id = member.client_id;
    out.client_host = member.client_host;
    out.member_metadata = member.metadata;
    out.member_assignment = member.assignment;
  }
  return group;
}

void describe_all(Request& request, const std::vector<std::string>& ids, bool with_operations,
                  const std::vector<Described>& found) {
  wire::DescribeGroupsResponse response;
  for (size_t i = 0; i < ids.size(); ++i) {
    response.groups.push_back(describe(ids[i], found[i], request.header.api_version));
    auto& group = response.groups.back();
    if (with_operations && group.error_code == ErrorCode::kNone) group.authorized_operations = kGroupOperations;
  }
  respond(request, response);
}

void refuse_to_describe(Request& request, const std::vector<std::string>& ids) {
  wire::DescribeGroupsResponse response;
  for (const std::string& id : ids) {
    auto& group = response.groups.emplace_back();
    group.group_id = id;
    group.error_code = ErrorCode::kNotCoordinator;
  }
  respond(request, response);
}

}  // namespace

void handle_describe_groups(Core& core, Request request, wire::DescribeGroupsRequest message) {
  drop_repeats(message.groups);
  const auto ids = message.groups;
  const bool with_operations = message.include_authorized_operations;
  on_groups(
      core, std::move(request),
      [&core, ids, with_operations](Request asked) mutable {
        std::vector<Described> found;
        for (const std::string& id : ids) found.push_back(core.groups.coordinator().describe(id));
        Executor& home = asked.reply.home();
        core.groups.after_durable(
            home, [asked = std::move(asked), ids, with_operations, found = std::move(found)](const Status& ok) mutable {
              if (!ok) return refuse_to_describe(asked, ids);
              describe_all(asked, ids, with_operations, found);
            });
      },
      [ids, with_operations](Request& asked, GroupService::State state) {
        if (state != GroupService::State::kNoGroupsYet) return refuse_to_describe(asked, ids);
        describe_all(asked, ids, with_operations, std::vector<Described>(ids.size()));
      });
}

}  // namespace millrace::broker
