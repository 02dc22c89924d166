#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/connection.h"
#include "app/copy_commands.h"
#include "app/record_commands.h"
#include "app/topic_change_commands.h"
#include "base/text.h"

namespace millrace::app {
namespace {

Result<std::vector<client::OffsetRange>> offset_ranges(client::Admin& admin, const client::TopicInfo& topic) {
  std::vector<client::TopicPartition> sources;
  for (const auto& partition : topic.partitions) sources.push_back({topic.name, partition.id});
  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin.offsets(sources, kAnswerLimit));
  std::vector<client::OffsetRange> ranges;
  for (const auto& partition : offsets) {
    MILLRACE_RETURN_IF_ERROR(partition.range);
    ranges.push_back(*partition.range);
  }
  return ranges;
}

Status list_topics(const CommandLine& line, bool with_internal, const std::string& pattern) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto topics, admin->list_topics(kAnswerLimit));
  Listing listing{{"topic", "partitions", "records"}, {}, "no topics yet; try: millrace topic create NAME"};
  for (const auto& topic : topics) {
    if (!pattern.empty() && !matches_glob(pattern, topic.name)) continue;
    if (!with_internal && (topic.internal || topic.name.starts_with("__"))) continue;
    MILLRACE_ASSIGN_OR_RETURN(const auto ranges, offset_ranges(*admin, topic));
    int64_t records = 0;
    for (const auto& range : ranges) records += range.end - range.begin;
    listing.rows.push_back({topic.name, static_cast<int64_t>(topic.partitions.size()), records});
  }
  line.show(listing);
  return {};
}

struct CreateFlags {
  std::string name;
  int32_t partitions = 1;
  std::vector<std::string> config;
};

Status create_topic(const CommandLine& line, const CreateFlags& flags) {
  client::TopicSpec spec{.name = flags.name, .partitions = flags.partitions};
  for (const auto& entry : flags.config) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos)
      return fail(Errc::kInvalidArgument, fmt::format("'{}' is not NAME=VALUE", entry),
                  "--config retention.ms=86400000");
    spec.config[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto outcomes, admin->create_topics({&spec, 1}, kAnswerLimit));
  if (const auto& made = outcomes.front().status; !made) {
    Error error = made.error();
    if (error.code == Errc::kAlreadyExists) error.hint = "millrace topic describe " + spec.name;
    return tl::unexpected(std::move(error));
  }
  line.notes << fmt::format("created {} with {} partition{}\n", spec.name, spec.partitions,
                            spec.partitions == 1 ? "" : "s");
  return {};
}

Status describe_topic(const CommandLine& line, const std::string& name, bool with_config) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  if (with_config) {
    MILLRACE_ASSIGN_OR_RETURN(const auto entries, admin->describe_topic_config(name, kAnswerLimit));
    Listing listing{{"setting", "value", "default"}, {}, ""};
    for (const auto& entry : entries)
      listing.rows.push_back({entry.name, entry.value ? Cell(*entry.value) : Cell(), entry.is_default});
    line.show(listing);
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, find_topic(*admin, name));
  MILLRACE_ASSIGN_OR_RETURN(const auto ranges, offset_ranges(*admin, topic));
  if (!topic.id.is_zero()) line.notes << fmt::format("{}: id {}\n", topic.name, topic.id.to_string());
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, admin->describe_topic_config(name, kAnswerLimit));
  for (const auto& entry : entries)
    if (!entry.is_default && entry.value) line.notes << fmt::format("{} = {}\n", entry.name, *entry.value);
  Listing listing{{"partition", "leader", "begin", "end", "records"}, {}, ""};
  for (size_t i = 0; i < ranges.size(); ++i)
    listing.rows.push_back({int64_t{topic.partitions[i].id.value()}, int64_t{topic.partitions[i].leader},
                            ranges[i].begin.value(), ranges[i].end.value(), ranges[i].end - ranges[i].begin});
  line.show(listing);
  return {};
}

Status delete_topics(const CommandLine& line, const std::vector<std::string>& names, bool execute) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  if (!execute) {
    Listing plan{{"topic", "partitions", "records"}, {}, ""};
    for (const auto& name : names) {
      MILLRACE_ASSIGN_OR_RETURN(const auto topic, find_topic(*admin, name));
      MILLRACE_ASSIGN_OR_RETURN(const auto ranges, offset_ranges(*admin, topic));
      int64_t records = 0;
      for (const auto& range : ranges) records += range.end - range.begin;
      plan.rows.push_back({name, static_cast<int64_t>(topic.partitions.size()), records});
    }
    line.show(plan);
    line.notes << "nothing deleted; --execute deletes these topics with all their records\n";
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto outcomes, admin->delete_topics(names, kAnswerLimit));
  for (const auto& outcome : outcomes) {
    if (!outcome.status && outcome.status.error().code == Errc::kNotFound) return no_such_topic(outcome.topic);
    if (!outcome.status && outcome.status.error().code == Errc::kInvalidArgument && outcome.topic.starts_with("__"))
      return fail(Errc::kInvalidArgument, outcome.status.error().message,
                  "nothing: a topic whose name begins with __ is the broker's own, and Millrace keeps it");
    MILLRACE_RETURN_IF_ERROR(outcome.status);
    line.notes << fmt::format("deleted {}\n", outcome.topic);
  }
  return {};
}

}  // namespace

void add_topic_commands(CLI::App& root, CommandLine& line) {
  auto* topic = root.add_subcommand(
      "topic", "topics and their records: list, create, describe, change, delete, produce, consume, copy");
  topic->require_subcommand(1);

  auto with_internal = std::make_shared<bool>(false);
  auto* list = topic->add_subcommand("list", "every topic, its partitions and records");
  list->add_flag("--internal", *with_internal, "those whose names begin with __, too");
  auto pattern = std::make_shared<std::string>();
  list->add_option("pattern", *pattern, "only those whose names match: * any characters, ? one");
  list->callback([&line, with_internal, pattern] {
    line.selected = [&line, with_internal, pattern] { return list_topics(line, *with_internal, *pattern); };
  });

  auto creation = std::make_shared<CreateFlags>();
  auto* create = topic->add_subcommand("create", "make a topic");
  create->add_option("topic", creation->name, "its name")->required();
  create->add_option("-p,--partitions", creation->partitions, "how many partitions [1]");
  create->add_option("-c,--config", creation->config, "a setting, by Kafka's name; may be repeated")
      ->type_name("NAME=VALUE");
  create->callback([&line, creation] { line.selected = [&line, creation] { return create_topic(line, *creation); }; });

  auto described = std::make_shared<std::string>();
  auto with_config = std::make_shared<bool>(false);
  auto* describe =
      topic->add_subcommand("describe", "a topic's partitions and their offsets, and what of its settings is its own");
  describe->add_option("topic", *described, "its name")->required();
  describe->add_flag("--config", *with_config, "its settings instead");
  describe->callback([&line, described, with_config] {
    line.selected = [&line, described, with_config] { return describe_topic(line, *described, *with_config); };
  });

  auto doomed = std::make_shared<std::vector<std::string>>();
  auto execute = std::make_shared<bool>(false);
  auto* remove = topic->add_subcommand("delete", "show what would be deleted; with --execute delete it");
  remove->add_option("topics", *doomed, "their names")->required();
  remove->add_flag("--execute,--yes", *execute, "really delete");
  remove->callback([&line, doomed, execute] {
    line.selected = [&line, doomed, execute] { return delete_topics(line, *doomed, *execute); };
  });

  add_topic_change_commands(*topic, line);
  add_record_commands(*topic, line);
  add_copy_command(*topic, line);
}

}  // namespace millrace::app
