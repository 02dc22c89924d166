#include "app/group_offset_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <ostream>

#include "app/connection.h"
#include "app/partition_choice.h"
#include "app/transactions.h"
#include "base/text.h"
#include "format/time_format.h"
#include "wire/delete_groups.h"
#include "wire/offset_commit.h"
#include "wire/offset_delete.h"

namespace millrace::app {
namespace {

struct ResetFlags {
  std::string group;
  std::vector<std::string> topics;  // TOPIC or TOPIC:0,1,2
  bool all_topics = false;
  bool to_earliest = false;
  bool to_latest = false;
  bool to_current = false;
  std::optional<int64_t> to_offset;
  std::string to_datetime;
  std::string by_duration;
  std::optional<int64_t> shift_by;
  std::string from_group;
  bool execute = false;
};

// A partition, what its group has committed there (or nothing), and what it shall have.
struct Move {
  client::TopicPartition source;
  std::optional<Offset> from;
  client::OffsetRange range;
  Offset to{0};
};

Result<std::vector<Move>> chosen(client::Admin& admin, const ResetFlags& flags) {
  std::map<client::TopicPartition, Offset> committed;
  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin.committed(flags.group, kAnswerLimit));
  for (const auto& place : offsets) committed[place.source] = place.offset;
  std::vector<client::TopicPartition> sources;
  if (flags.all_topics) {
    for (const auto& [source, offset] : committed) sources.push_back(source);
    if (sources.empty())
      return fail(Errc::kNotFound, fmt::format("group {} has no committed offsets", flags.group),
                  "name topics: --topic TOPIC");
  } else {
    MILLRACE_ASSIGN_OR_RETURN(sources, choose_partitions(admin, flags.topics));
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto ranges, admin.offsets(sources, kAnswerLimit));
  std::vector<Move> moves;
  for (const auto& partition : ranges) {
    MILLRACE_RETURN_IF_ERROR(partition.range);
    Move& move = moves.emplace_back();
    move.source = partition.source;
    move.range = *partition.range;
    if (const auto it = committed.find(partition.source); it != committed.end()) move.from = it->second;
  }
  return moves;
}

Status to_times(client::Admin& admin, std::vector<Move>& moves, int64_t timestamp_ms) {
  std::vector<client::TopicPartition> sources;
  for (const auto& move : moves) sources.push_back(move.source);
  MILLRACE_ASSIGN_OR_RETURN(const auto found, admin.offsets_at(sources, timestamp_ms, kAnswerLimit));
  for (size_t i = 0; i < moves.size(); ++i) moves[i].to = found[i].offset;
  return {};
}

Status to_group(client::Admin& admin, std::vector<Move>& moves, const std::string& other) {
  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin.committed(other, kAnswerLimit));
  for (auto& move : moves) {
    const auto it = std::ranges::find(offsets, move.source, &client::TopicOffset::source);
    if (it == offsets.end())
      return fail(Errc::kNotFound, fmt::format("group {} has no offset of {}[{}]", other, move.source.topic,
                                               move.source.partition.value()));
    move.to = it->offset;
  }
  return {};
}

Status decide(client::Admin& admin, const ResetFlags& flags, std::vector<Move>& moves) {
  if (!flags.to_datetime.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const int64_t us, format::TimeFormat().read_text(flags.to_datetime));
    MILLRACE_RETURN_IF_ERROR(to_times(admin, moves, us / 1000));
  } else if (!flags.by_duration.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto duration, parse_duration(flags.by_duration));
    MILLRACE_RETURN_IF_ERROR(
        to_times(admin, moves, now_ms() - std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()));
  } else if (!flags.from_group.empty()) {
    MILLRACE_RETURN_IF_ERROR(to_group(admin, moves, flags.from_group));
  }
  for (auto& move : moves) {
    const Offset current = move.from.value_or(move.range.end);
    if (flags.to_earliest) move.to = move.range.begin;
    if (flags.to_latest) move.to = move.range.end;
    if (flags.to_current) move.to = current;
    if (flags.to_offset) move.to = Offset(*flags.to_offset);
    if (flags.shift_by) move.to = current + *flags.shift_by;
    move.to = std::clamp(move.to, move.range.begin, move.range.end);
  }
  return {};
}

Status commit(KafkaLink& link, const std::string& group, const std::vector<Move>& moves) {
  wire::OffsetCommitRequest request;
  request.group_id = group;
  for (const auto& move : moves) {
    if (request.topics.empty() || request.topics.back().name != move.source.topic)
      request.topics.emplace_back().name = move.source.topic;
    auto& partition = request.topics.back().partitions.emplace_back();
    partition.partition_index = move.source.partition.value();
    partition.committed_offset = move.to.value();
    partition.committed_metadata = "";
  }
  MILLRACE_ASSIGN_OR_RETURN(const int32_t node, link.coordinator(CoordinatorKind::kGroup, group));
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(node, request));
  for (const auto& topic : answer.topics)
    for (const auto& partition : topic.partitions) {
      if (partition.error_code == wire::ErrorCode::kUnknownMemberId)
        return fail(Errc::kConflict,
                    fmt::format("cannot reset group {}: it has members, which go on from where they are", group),
                    "stop its consumers first");
      MILLRACE_RETURN_IF_ERROR(to_status(partition.error_code, fmt::format("cannot reset {} in {}[{}]", group,
                                                                           topic.name, partition.partition_index)));
    }
  return {};
}

Status refuse_active(client::Admin& admin, const std::string& group) {
  MILLRACE_ASSIGN_OR_RETURN(const auto groups, admin.list_groups(kAnswerLimit));
  const auto it = std::ranges::find(groups, group, &client::GroupInfo::name);
  if (it == groups.end() || it->state == "Empty" || it->state == "Dead") return {};
  return fail(Errc::kConflict,
              fmt::format("cannot change the offsets of group {}: it is {} and has members", group, it->state),
              "stop its consumers first");
}

Status reset(const CommandLine& line, const ResetFlags& flags) {
  const int places = int{flags.to_earliest} + int{flags.to_latest} + int{flags.to_current} +
                     int{flags.to_offset.has_value()} + int{!flags.to_datetime.empty()} +
                     int{!flags.by_duration.empty()} + int{flags.shift_by.has_value()} + int{!flags.from_group.empty()};
  if (places != 1)
    return fail(Errc::kInvalidArgument,
                "where to is not clear: exactly one of --to-earliest, --to-latest, --to-current, --to-offset, "
                "--to-datetime, --by-duration, --shift-by and --from-group is needed",
                "--to-earliest");
  if (flags.topics.empty() != flags.all_topics)
    return fail(Errc::kInvalidArgument, "of which topics is not clear: either --topic or --all-topics is needed",
                "--all-topics for those with a committed offset");
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(auto moves, chosen(*admin, flags));
  MILLRACE_RETURN_IF_ERROR(decide(*admin, flags, moves));
  if (flags.execute) {
    MILLRACE_RETURN_IF_ERROR(refuse_active(*admin, flags.group));
    MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
    MILLRACE_RETURN_IF_ERROR(commit(*link, flags.group, moves));
  }
  Listing listing{{"topic", "partition", "from", "to", "begin", "end", "lag"}, {}, ""};
  for (const auto& move : moves)
    listing.rows.push_back({move.source.topic, int64_t{move.source.partition.value()},
                            move.from ? Cell(move.from->value()) : Cell(), move.to.value(), move.range.begin.value(),
                            move.range.end.value(), move.range.end - move.to});
  line.show(listing);
  if (!flags.execute) line.notes << "nothing changed; --execute commits these offsets\n";
  return {};
}

struct GroupsFlags {
  std::vector<std::string> groups;
  std::vector<std::string> topics;
  bool execute = false;
};

Status delete_groups(const CommandLine& line, const GroupsFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  if (!flags.execute) {
    Listing plan{{"group", "state", "members", "partitions"}, {}, ""};
    for (const auto& name : flags.groups) {
      MILLRACE_ASSIGN_OR_RETURN(const auto group, admin->describe_group(name, kAnswerLimit));
      plan.rows.push_back({group.name, group.state, static_cast<int64_t>(group.members.size()),
                           static_cast<int64_t>(group.offsets.size())});
    }
    line.show(plan);
    line.notes << "nothing deleted; --execute deletes these groups with their offsets\n";
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  for (const auto& name : flags.groups) {
    MILLRACE_ASSIGN_OR_RETURN(const int32_t node, link->coordinator(CoordinatorKind::kGroup, name));
    wire::DeleteGroupsRequest request;
    request.groups_names = {name};
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link->ask(node, request));
    for (const auto& result : answer.results) {
      if (result.error_code == wire::ErrorCode::kNonEmptyGroup)
        return fail(Errc::kConflict, fmt::format("cannot delete group {}: it has members", name),
                    "stop its consumers first");
      if (result.error_code == wire::ErrorCode::kGroupIdNotFound)
        return fail(Errc::kNotFound, fmt::format("there is no group {}", name), "millrace group list");
      MILLRACE_RETURN_IF_ERROR(to_status(result.error_code, fmt::format("cannot delete group {}", name)));
    }
    line.notes << fmt::format("deleted {}\n", name);
  }
  return {};
}

Status delete_offsets(const CommandLine& line, const GroupsFlags& flags) {
  const std::string& group = flags.groups.front();
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto committed, admin->committed(group, kAnswerLimit));
  wire::OffsetDeleteRequest request;
  request.group_id = group;
  Listing listing{{"topic", "partition", "committed"}, {}, "the group has no committed offsets there"};
  for (const auto& place : committed) {
    if (std::ranges::none_of(flags.topics, [&](const auto& text) { return names_partition(text, place.source); }))
      continue;
    if (request.topics.empty() || request.topics.back().name != place.source.topic)
      request.topics.emplace_back().name = place.source.topic;
    request.topics.back().partitions.push_back({place.source.partition.value()});
    listing.rows.push_back({place.source.topic, int64_t{place.source.partition.value()}, place.offset.value()});
  }
  if (flags.execute && !listing.rows.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
    MILLRACE_ASSIGN_OR_RETURN(const int32_t node, link->coordinator(CoordinatorKind::kGroup, group));
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link->ask(node, request));
    MILLRACE_RETURN_IF_ERROR(to_status(answer.error_code, fmt::format("cannot delete offsets of group {}", group)));
    for (const auto& topic : answer.topics)
      for (const auto& partition : topic.partitions)
        MILLRACE_RETURN_IF_ERROR(
            to_status(partition.error_code, fmt::format("cannot delete the offset of group {} in {}[{}]", group,
                                                        topic.name, partition.partition_index)));
  }
  line.show(listing);
  if (!flags.execute) line.notes << "nothing deleted; --execute deletes these offsets\n";
  return {};
}

Status show_lag(const CommandLine& line, const GroupsFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  std::vector<std::string> names = flags.groups;
  if (names.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto groups, admin->list_groups(kAnswerLimit));
    for (const auto& group : groups) names.push_back(group.name);
  }
  Listing listing{{"group", "state", "topic", "partition", "committed", "end", "lag", "member"},
                  {},
                  "no group has committed an offset"};
  for (const auto& name : names) {
    const auto group = admin->describe_group(name, kAnswerLimit);
    if (!group && group.error().code == Errc::kNotFound && flags.groups.empty()) continue;  // gone in between
    MILLRACE_RETURN_IF_ERROR(group);
    for (const auto& partition : group->offsets) {
      const auto owner = std::ranges::find_if(group->members, [&](const client::GroupMember& member) {
        return std::ranges::find(member.assignment, partition.source) != member.assignment.end();
      });
      listing.rows.push_back({group->name, group->state, partition.source.topic,
                              int64_t{partition.source.partition.value()}, partition.committed.value(),
                              partition.end.value(), partition.lag(),
                              owner == group->members.end() ? Cell() : Cell(owner->member_id)});
    }
  }
  line.show(listing);
  return {};
}

}  // namespace

void add_group_offset_commands(CLI::App& group, CommandLine& line) {
  auto lagging = std::make_shared<GroupsFlags>();
  auto* lag = group.add_subcommand("lag", "the lag of each partition, of some groups or of all");
  lag->add_option("groups", lagging->groups, "their names [all]");
  lag->callback([&line, lagging] { line.selected = [&line, lagging] { return show_lag(line, *lagging); }; });

  auto flags = std::make_shared<ResetFlags>();
  auto* command = group.add_subcommand("reset-offsets",
                                       "show where a group without members would go on; with --execute commit that");
  command->add_option("group", flags->group, "the group's name; one that does not exist is made")->required();
  command->add_option("-t,--topic", flags->topics, "TOPIC or TOPIC:0,1,…; may be repeated")->allow_extra_args(false);
  command->add_flag("--all-topics", flags->all_topics, "those where it has committed offsets");
  command->add_flag("--to-earliest", flags->to_earliest, "to the first record kept");
  command->add_flag("--to-latest", flags->to_latest, "to the end");
  command->add_flag("--to-current", flags->to_current, "to what is committed; where nothing is, to the end");
  command->add_option("--to-offset", flags->to_offset, "to this offset");
  command
      ->add_option("--to-datetime", flags->to_datetime,
                   "to the first record of this time or later, in UTC without a zone")
      ->type_name("TIME");
  command->add_option("--by-duration", flags->by_duration, "to the first record of so long ago, or later")
      ->type_name("DURATION");
  command->add_option("--shift-by", flags->shift_by, "so many offsets on; back, where negative");
  command->add_option("--from-group", flags->from_group, "to where this other group is");
  command->add_flag("--execute,--yes", flags->execute, "really commit");
  command->callback([&line, flags] { line.selected = [&line, flags] { return reset(line, *flags); }; });

  auto forgotten = std::make_shared<GroupsFlags>();
  auto* forget = group.add_subcommand("delete-offsets",
                                      "show which committed offsets would be deleted; with --execute delete them");
  forgotten->groups.resize(1);
  forget->add_option("group", forgotten->groups.front(), "the group's name")->required();
  forget->add_option("-t,--topic", forgotten->topics, "TOPIC or TOPIC:0,1,…; may be repeated")
      ->required()
      ->allow_extra_args(false);
  forget->add_flag("--execute,--yes", forgotten->execute, "really delete");
  forget->callback(
      [&line, forgotten] { line.selected = [&line, forgotten] { return delete_offsets(line, *forgotten); }; });

  auto doomed = std::make_shared<GroupsFlags>();
  auto* remove = group.add_subcommand("delete", "show what would be deleted; with --execute delete it");
  remove->add_option("groups", doomed->groups, "their names")->required();
  remove->add_flag("--execute,--yes", doomed->execute, "really delete");
  remove->callback([&line, doomed] { line.selected = [&line, doomed] { return delete_groups(line, *doomed); }; });
}

}  // namespace millrace::app
