#include "app/topic_change_commands.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <ostream>

#include "app/config_changes.h"
#include "app/connection.h"
#include "app/partition_choice.h"
#include "app/transactions.h"
#include "base/text.h"
#include "format/time_format.h"
#include "wire/create_partitions.h"
#include "wire/delete_records.h"

namespace millrace::app {
namespace {

struct ChangeFlags {
  std::vector<std::string> topics;
  std::vector<std::string> config;
  std::vector<std::string> unset;
  int32_t count = 0;
  std::string at = "latest";
  std::string before;
  bool dry_run = false;
  bool execute = false;
};

constexpr auto kRequestTimeoutMs = static_cast<int32_t>(kAnswerLimit.count());

Status alter(const CommandLine& line, const ChangeFlags& flags) {
  std::vector<ConfigChange> changes;
  for (const auto& entry : flags.config) {
    MILLRACE_ASSIGN_OR_RETURN(changes.emplace_back(), parse_config_change(entry));
  }
  for (const auto& name : flags.unset) changes.push_back({name, std::nullopt});
  if (changes.empty())
    return fail(Errc::kInvalidArgument, "nothing to change was named",
                "--config retention.ms=86400000, or --unset retention.ms");
  const std::string& topic = flags.topics.front();
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_RETURN_IF_ERROR(change_configs(*link, topic_target(topic), changes, flags.dry_run));
  for (const auto& one : changes)
    line.notes << fmt::format("{}topic {}: {}{}\n", flags.dry_run ? "could be done: " : "", topic, one.name,
                              one.value ? " = " + *one.value : " unset");
  return {};
}

Status add_partitions(const CommandLine& line, const ChangeFlags& flags) {
  const std::string& topic = flags.topics.front();
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  wire::CreatePartitionsRequest request;
  request.timeout_ms = kRequestTimeoutMs;
  request.validate_only = flags.dry_run;
  auto& wanted = request.topics.emplace_back();
  wanted.name = topic;
  wanted.count = flags.count;
  wanted.assignments.reset();
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link->ask(link->controller(), request));
  for (const auto& result : answer.results) {
    if (result.error_code == wire::ErrorCode::kUnknownTopicOrPartition) return no_such_topic(topic);
    MILLRACE_RETURN_IF_ERROR(to_status(result.error_code,
                                       fmt::format("cannot give topic {} {} partitions", topic, flags.count),
                                       result.error_message));
  }
  line.notes << fmt::format("{}{} has {} partitions\n", flags.dry_run ? "could be done: " : "", topic, flags.count);
  return {};
}

// Where "earliest", "latest", "max-timestamp", an offset, or a time lies in each partition.
Result<std::vector<client::TopicOffset>> places_at(client::Admin& admin,
                                                   std::span<const client::TopicPartition> sources,
                                                   const std::string& at) {
  std::vector<client::TopicOffset> places;
  const auto offset = parse_int64(at);
  if (!offset && at != "earliest" && at != "latest") {
    const auto us = format::TimeFormat().read_text(at);
    if (!us)
      return fail(Errc::kInvalidArgument, fmt::format("'{}' is none of earliest, latest, an offset, or a time", at),
                  "2026-11-21T10:00:00Z");
    return admin.offsets_at(sources, *us / 1000, kAnswerLimit);
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto ranges, admin.offsets(sources, kAnswerLimit));
  for (const auto& one : ranges) {
    MILLRACE_RETURN_IF_ERROR(one.range);
    const Offset end = at == "earliest" ? one.range->begin : one.range->end;
    places.push_back({one.source, offset ? std::clamp(Offset(*offset), one.range->begin, one.range->end) : end});
  }
  return places;
}

Status show_offsets(const CommandLine& line, const ChangeFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto sources, choose_partitions(*admin, flags.topics));
  MILLRACE_ASSIGN_OR_RETURN(const auto places, places_at(*admin, sources, flags.at));
  Listing listing{{"topic", "partition", "offset"}, {}, ""};
  for (const auto& place : places)
    listing.rows.push_back({place.source.topic, int64_t{place.source.partition.value()}, place.offset.value()});
  line.show(listing);
  return {};
}

Status delete_before(KafkaLink& link, std::span<const client::TopicOffset> places) {
  std::map<std::pair<std::string, int32_t>, int32_t> leaders;
  MILLRACE_ASSIGN_OR_RETURN(const auto partitions, partitions_of(link, {}));
  for (const auto& one : partitions) leaders[{one.topic, one.partition}] = one.leader;
  std::map<int32_t, wire::DeleteRecordsRequest> requests;  // by leader
  for (const auto& place : places) {
    auto& request = requests[leaders[{place.source.topic, place.source.partition.value()}]];
    request.timeout_ms = kRequestTimeoutMs;
    if (request.topics.empty() || request.topics.back().name != place.source.topic)
      request.topics.emplace_back().name = place.source.topic;
    request.topics.back().partitions.push_back({place.source.partition.value(), place.offset.value()});
  }
  for (const auto& [leader, request] : requests) {
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(leader, request));
    for (const auto& topic : answer.topics)
      for (const auto& partition : topic.partitions)
        MILLRACE_RETURN_IF_ERROR(to_status(partition.error_code, fmt::format("cannot delete records of {}[{}]",
                                                                             topic.name, partition.partition_index)));
  }
  return {};
}

Status delete_records(const CommandLine& line, const ChangeFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto sources, choose_partitions(*admin, flags.topics));
  MILLRACE_ASSIGN_OR_RETURN(const auto places, places_at(*admin, sources, flags.before));
  MILLRACE_ASSIGN_OR_RETURN(const auto ranges, admin->offsets(sources, kAnswerLimit));
  Listing listing{{"topic", "partition", "begin", "new_begin", "end", "deleted"}, {}, ""};
  for (size_t i = 0; i < places.size(); ++i) {
    MILLRACE_RETURN_IF_ERROR(ranges[i].range);
    const auto [begin, end] = *ranges[i].range;
    listing.rows.push_back({places[i].source.topic, int64_t{places[i].source.partition.value()}, begin.value(),
                            places[i].offset.value(), end.value(), places[i].offset - begin});
  }
  if (flags.execute) {
    MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
    MILLRACE_RETURN_IF_ERROR(delete_before(*link, places));
  }
  line.show(listing);
  if (!flags.execute) line.notes << "nothing deleted; --execute deletes these records\n";
  return {};
}

}  // namespace

void add_topic_change_commands(CLI::App& topic, CommandLine& line) {
  const auto add = [&](const char* name, const char* description, auto run) {
    auto flags = std::make_shared<ChangeFlags>();
    auto* command = topic.add_subcommand(name, description);
    command->callback([&line, flags, run] { line.selected = [&line, flags, run] { return run(line, *flags); }; });
    return std::pair(command, flags);
  };
  const auto [altering, altered] = add("alter", "change a topic's settings, at once and for good", alter);
  altered->topics.resize(1);
  altering->add_option("topic", altered->topics.front(), "its name")->required();
  altering->add_option("-c,--config", altered->config, "a setting, by Kafka's name; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  altering->add_option("--unset", altered->unset, "a setting that falls back to the broker's; may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false);
  altering->add_flag("--dry-run", altered->dry_run, "only ask the broker whether it would do it");

  const auto [growing, grown] =
      add("add-partitions", "give a topic more partitions; where keys go changes", add_partitions);
  grown->topics.resize(1);
  growing->add_option("topic", grown->topics.front(), "its name")->required();
  growing->add_option("-p,--partitions", grown->count, "how many it is to have in all")->required();
  growing->add_flag("--dry-run", grown->dry_run, "only ask the broker whether it would do it");

  const auto [asking, asked] =
      add("offsets", "where partitions begin or end, or where a time lies in them", show_offsets);
  asking->add_option("topics", asked->topics, "TOPIC or TOPIC:0,1,…")->required();
  asking->add_option("--at", asked->at, "earliest, latest, or a time (UTC without a zone) [latest]")
      ->type_name("WHERE");

  const auto [clearing, cleared] =
      add("delete-records", "show which records would be deleted; with --execute delete them", delete_records);
  clearing->add_option("topics", cleared->topics, "TOPIC or TOPIC:0,1,…")->required();
  clearing->add_option("--before", cleared->before, "delete what is before: an offset, a time, or latest for all")
      ->required()
      ->type_name("WHERE");
  clearing->add_flag("--execute,--yes", cleared->execute, "really delete");
}

}  // namespace millrace::app
