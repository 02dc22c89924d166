#include "app/copy_commands.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/connection.h"
#include "app/shutdown.h"
#include "app/topic_copy.h"

namespace millrace::app {
namespace {

struct CopyFlags {
  CopyOptions options;
  std::string from;
  std::string to;
  std::vector<std::string> groups;
  bool all_groups = false;
  bool follow = false;
  bool unverified = false;
};

client::Options options_of(const std::string& bootstrap) {
  client::Options options;
  options.client_id = "millrace-copy";
  options.bootstrap = bootstrap;
  return options;
}

Status show_groups(const CommandLine& line, const std::vector<TopicCopy::Translated>& groups) {
  Listing listing{{"group", "topic", "partition", "source_offset", "offset"},
                  {},
                  "no group has committed anything in these topics"};
  for (const auto& one : groups)
    listing.rows.push_back(
        {one.group, one.source.topic, int64_t{one.source.partition.value()}, one.from.value(), one.to.value()});
  if (line.output == OutputFormat::kTable) line.out << '\n';
  line.show(listing);
  return {};
}

Status copy(const CommandLine& line, const CopyFlags& flags) {
  const ShutdownSignal shutdown;
  CopyOptions options = flags.options;
  options.to = options_of(flags.to);
  options.from = flags.from.empty() ? connection(line) : options_of(flags.from);
  MILLRACE_ASSIGN_OR_RETURN(const auto copying, TopicCopy::start(options));

  const bool is_terminal = ::isatty(STDERR_FILENO) != 0;
  const auto began = std::chrono::steady_clock::now();
  auto shown_at = began;
  const auto progress = [&](int64_t records) {
    const auto now = std::chrono::steady_clock::now();
    if (!is_terminal || now - shown_at < client::Millis(200)) return;
    shown_at = now;
    const double seconds = std::chrono::duration<double>(now - began).count();
    line.notes << fmt::format("\r{} records, {:.0f} a second", records, static_cast<double>(records) / seconds)
               << std::flush;
  };
  bool was_stopped = false;
  const auto stopped = [&] { return was_stopped = was_stopped || shutdown.wait_for(client::Millis(0)) != 0; };
  MILLRACE_RETURN_IF_ERROR(copying->run(flags.follow, stopped, progress));
  if (is_terminal) line.notes << '\n';
  if (was_stopped && !flags.follow)
    return fail(Errc::kCancelled, "stopped before the end: what was copied is kept", "the same command again goes on");
  if (!flags.unverified) MILLRACE_RETURN_IF_ERROR(copying->verify());

  Listing listing{{"topic", "partition", "copied", "source_end", "end", "verified"}, {}, ""};
  for (const auto& one : copying->partitions())
    listing.rows.push_back({one.source.topic, int64_t{one.source.partition.value()}, one.copied,
                            one.mark.source().value(), one.mark.destination().value(), !flags.unverified});
  std::vector<TopicCopy::Translated> translated;
  if (flags.all_groups || !flags.groups.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(translated, copying->copy_groups(flags.groups));
  }
  line.show(listing);
  if (flags.all_groups || !flags.groups.empty()) return show_groups(line, translated);
  return {};
}

}  // namespace

void add_copy_command(CLI::App& topic, CommandLine& line) {
  auto flags = std::make_shared<CopyFlags>();
  auto* command = topic.add_subcommand(
      "copy", "copy topics to another cluster, with their records and groups; again, it goes on where it was");
  command->add_option("topics", flags->options.topics, "their names")->required();
  command->add_option("--from", flags->from, "a broker of the source [--bootstrap]")->type_name("HOST:PORT");
  command->add_option("--to", flags->to, "a broker of the destination")->required()->type_name("HOST:PORT");
  auto* groups = command->add_option("-g,--groups", flags->groups,
                                     "commit where these groups are, in the destination's offsets: A,B");
  groups->delimiter(',')->allow_extra_args(false);
  command->add_flag("--all-groups", flags->all_groups, "the same for every group that has read these topics")
      ->excludes(groups);
  command->add_flag("--follow", flags->follow, "go on copying what comes until Ctrl-C; groups are done then");
  command->add_option("--compression", flags->options.compression, "none, gzip, snappy, lz4 or zstd [lz4]")
      ->check(CLI::IsMember({"none", "gzip", "snappy", "lz4", "zstd"}));
  command
      ->add_option("--without-config", flags->options.left_out_configs,
                   "a setting that the topics made there do not get; may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command->add_flag("--no-verify", flags->unverified, "do not read back and compare what was copied");
  command->callback([&line, flags] { line.selected = [&line, flags] { return copy(line, *flags); }; });
}

}  // namespace millrace::app
