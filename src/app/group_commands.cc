#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/connection.h"

namespace millrace::app {
namespace {

Status list_groups(const CommandLine& line) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto groups, admin->list_groups(kAnswerLimit));
  Listing listing{
      {"group", "state", "members", "lag"}, {}, "no consumer groups yet; a client that subscribes makes one"};
  for (const auto& group : groups) {
    const auto described = admin->describe_group(group.name, kAnswerLimit);
    int64_t lag = 0;
    if (described)
      for (const auto& partition : described->offsets) lag += partition.lag();
    listing.rows.push_back({group.name, group.state,
                            described ? Cell(static_cast<int64_t>(described->members.size())) : Cell(),
                            described ? Cell(lag) : Cell()});
  }
  line.show(listing);
  return {};
}

// One row a partition: those with a committed offset, those only assigned, and who owns them.
Status describe_group(const CommandLine& line, const std::string& name) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto group, admin->describe_group(name, kAnswerLimit));
  struct Row {
    const client::GroupLag* lag = nullptr;
    const client::GroupMember* owner = nullptr;
  };
  std::map<client::TopicPartition, Row> rows;
  for (const auto& lag : group.offsets) rows[lag.source].lag = &lag;
  for (const auto& member : group.members)
    for (const auto& source : member.assignment) rows[source].owner = &member;

  line.notes << fmt::format("{}: {}, {} members{}\n", group.name, group.state, group.members.size(),
                            group.assignor.empty() ? "" : ", assignor " + group.assignor);
  Listing listing{
      {"topic", "partition", "committed", "end", "lag", "member", "client", "host"}, {}, "the group has no partitions"};
  for (const auto& [source, row] : rows) {
    const auto text = [&](auto field) { return row.owner ? Cell(row.owner->*field) : Cell(); };
    listing.rows.push_back({source.topic, int64_t{source.partition.value()},
                            row.lag ? Cell(row.lag->committed.value()) : Cell(),
                            row.lag ? Cell(row.lag->end.value()) : Cell(), row.lag ? Cell(row.lag->lag()) : Cell(),
                            text(&client::GroupMember::member_id), text(&client::GroupMember::client_id),
                            text(&client::GroupMember::host)});
  }
  line.show(listing);
  return {};
}

}  // namespace

void add_group_commands(CLI::App& root, CommandLine& line) {
  auto* group = root.add_subcommand("group", "consumer groups: list, describe");
  group->require_subcommand(1);
  group->add_subcommand("list", "every group, its state, members and lag")->callback([&line] {
    line.selected = [&line] { return list_groups(line); };
  });
  auto name = std::make_shared<std::string>();
  auto* describe =
      group->add_subcommand("describe", "a group's partitions: committed offset, lag, and the member that reads it");
  describe->add_option("group", *name, "the group's name")->required();
  describe->callback([&line, name] { line.selected = [&line, name] { return describe_group(line, *name); }; });
}

}  // namespace millrace::app
