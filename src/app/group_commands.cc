#include <fmt/core.h>
#include <simdjson.h>

#include <CLI/CLI.hpp>
#include <deque>
#include <map>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/connection.h"
#include "app/group_offset_commands.h"
#include "base/unix_time.h"
#include "client/partition_reader.h"
#include "columns/column.h"

namespace millrace::app {
namespace {

Status list_groups(const CommandLine& line, const std::string& state) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto groups, admin->list_groups(kAnswerLimit));
  Listing listing{
      {"group", "state", "members", "lag"}, {}, "no consumer groups yet; a client that subscribes makes one"};
  for (const auto& group : groups) {
    if (!state.empty() && group.state != state) continue;
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

// One row a member, with what it was assigned.
Status describe_members(const CommandLine& line, const std::string& name) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto group, admin->describe_group(name, kAnswerLimit));
  Listing listing{{"member", "instance", "client", "host", "partitions", "assignment"}, {}, "the group has no members"};
  for (const auto& member : group.members) {
    std::string assignment;
    for (const auto& source : member.assignment)
      assignment += fmt::format("{}{}[{}]", assignment.empty() ? "" : " ", source.topic, source.partition.value());
    listing.rows.push_back({member.member_id, member.instance_id.empty() ? Cell() : Cell(member.instance_id),
                            member.client_id, member.host, static_cast<int64_t>(member.assignment.size()), assignment});
  }
  line.show(listing);
  return {};
}

constexpr const char* kRebalancesTopic = "__millrace_rebalances";

// The values of the topic's last `count_max` records with that key, newest first.
Result<std::deque<std::string>> read_rebalances(const CommandLine& line, const std::string& group, size_t count_max) {
  constexpr client::Millis kWait{100};
  constexpr size_t kRecordsAtOnce = 1000;
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(connection(line)));
  const client::TopicPartition source{kRebalancesTopic, PartitionId{0}};
  MILLRACE_ASSIGN_OR_RETURN(const auto range, reader->watermarks(source, kAnswerLimit));
  MILLRACE_RETURN_IF_ERROR(
      reader->assign(std::vector{client::ReadRange{source, range.begin, range.end}}, kAnswerLimit));
  std::deque<std::string> newest;
  while (!reader->done()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto records, reader->poll(kRecordsAtOnce, kWait));
    for (const auto& partition : records.partitions())
      for (const auto& record : partition.records) {
        if (as_text(record.key()) != group) continue;
        newest.emplace_front(as_text(record.value()));
        if (newest.size() > count_max) newest.pop_back();
      }
  }
  return newest;
}

Cell text_of(simdjson::dom::element object, const char* key) {
  std::string_view text;
  if (object[key].get(text) != simdjson::SUCCESS) return {};
  return std::string(text);
}
Cell number_of(simdjson::dom::element object, const char* key) {
  int64_t number = 0;
  if (object[key].get(number) != simdjson::SUCCESS) return {};
  return number;
}

std::vector<Cell> rebalance_row(simdjson::dom::element rebalance) {
  int64_t began_ms = 0;
  const bool has_time = rebalance["began_ms"].get(began_ms) == simdjson::SUCCESS;
  simdjson::dom::element cause;
  const bool has_cause = rebalance["causes"].at(0).get(cause) == simdjson::SUCCESS;
  const auto of_cause = [&](const char* key) { return has_cause ? text_of(cause, key) : Cell(); };
  return {has_time ? Cell(columns::format_timestamp(us_from_ms(began_ms))) : Cell(),
          number_of(rebalance, "took_ms"),
          number_of(rebalance, "generation"),
          number_of(rebalance, "members"),
          number_of(rebalance, "joined_count"),
          number_of(rebalance, "left_count"),
          number_of(rebalance, "moved_count"),
          of_cause("member"),
          of_cause("host"),
          of_cause("reason")};
}

// One row a rebalance, newest first, with what began it.
Status list_rebalances(const CommandLine& line, const std::string& group, size_t count_max) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  Listing listing{{"began", "took_ms", "generation", "members", "joined", "left", "moved", "member", "host", "reason"},
                  {},
                  fmt::format("no rebalance of '{}' is on record", group)};
  const auto topic = find_topic(*admin, kRebalancesTopic);
  if (!topic && topic.error().code != Errc::kNotFound) return tl::unexpected(topic.error());
  if (topic) {
    MILLRACE_ASSIGN_OR_RETURN(const auto rebalances, read_rebalances(line, group, count_max));
    simdjson::dom::parser parser;
    for (const std::string& text : rebalances) {
      simdjson::dom::element rebalance;
      if (parser.parse(text).get(rebalance) == simdjson::SUCCESS) listing.rows.push_back(rebalance_row(rebalance));
    }
  }
  line.show(listing);
  return {};
}

}  // namespace

void add_group_commands(CLI::App& root, CommandLine& line) {
  auto* group =
      root.add_subcommand("group", "consumer groups: list, describe, lag, where they go on, why they rebalanced");
  group->require_subcommand(1);
  auto state = std::make_shared<std::string>();
  auto* list = group->add_subcommand("list", "every group, its state, members and lag");
  list->add_option("--state", *state,
                   "only in this state: Stable, Empty, PreparingRebalance, CompletingRebalance, Dead");
  list->callback([&line, state] { line.selected = [&line, state] { return list_groups(line, *state); }; });
  auto name = std::make_shared<std::string>();
  auto* describe =
      group->add_subcommand("describe", "a group's partitions: committed offset, lag, and the member that reads it");
  describe->add_option("group", *name, "the group's name")->required();
  auto members = std::make_shared<bool>(false);
  describe->add_flag("--members", *members, "its members instead, with what each was assigned");
  describe->callback([&line, name, members] {
    line.selected = [&line, name, members] {
      return *members ? describe_members(line, *name) : describe_group(line, *name);
    };
  });

  auto last = std::make_shared<size_t>(20);
  auto* rebalances = group->add_subcommand(
      "rebalances", "a group's rebalances, newest first: what began each, how long it took, how many partitions moved");
  rebalances->add_option("group", *name, "the group's name")->required();
  rebalances->add_option("-n,--last", *last, "how many [20]")->check(CLI::PositiveNumber);
  rebalances->callback(
      [&line, name, last] { line.selected = [&line, name, last] { return list_rebalances(line, *name, *last); }; });

  add_group_offset_commands(*group, line);
}

}  // namespace millrace::app
