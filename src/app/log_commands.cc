#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/connection.h"
#include "app/doctor.h"
#include "app/log_dump.h"
#include "wire/describe_log_dirs.h"

namespace millrace::app {
namespace {

// One row a partition and folder, as the brokers say.
Status show_dirs(const CommandLine& line, const std::vector<std::string>& topics) {
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  Listing listing{{"broker", "folder", "topic", "partition", "bytes"}, {}, "the brokers hold no partitions"};
  wire::DescribeLogDirsRequest request;
  request.topics.reset();
  for (const Node& node : link->brokers()) {
    MILLRACE_ASSIGN_OR_RETURN(auto answer, link->ask(node.id, request));
    MILLRACE_RETURN_IF_ERROR(
        to_status(answer.error_code, fmt::format("cannot ask broker {} for its folders", node.id)));
    for (auto& folder : answer.results) {
      MILLRACE_RETURN_IF_ERROR(to_status(folder.error_code, fmt::format("broker {}, {}", node.id, folder.log_dir)));
      if (folder.usable_bytes >= 0)
        line.notes << fmt::format("broker {}, {}: {:.1f} GB free\n", node.id, folder.log_dir,
                                  static_cast<double>(folder.usable_bytes) / 1e9);
      std::ranges::sort(folder.topics, {}, [](const auto& topic) { return topic.name; });
      for (auto& topic : folder.topics) {
        if (!topics.empty() && std::ranges::find(topics, topic.name) == topics.end()) continue;
        std::ranges::sort(topic.partitions, {}, [](const auto& partition) { return partition.partition_index; });
        for (const auto& partition : topic.partitions)
          listing.rows.push_back({int64_t{node.id}, folder.log_dir, topic.name, int64_t{partition.partition_index},
                                  partition.partition_size});
      }
    }
  }
  line.show(listing);
  return {};
}

// As the doctor does, but every record is decoded.
Status verify_logs(const CommandLine& line, const std::string& what) {
  log::InspectOptions options;
  options.all_records = true;
  if (!what.empty()) options.topic = what;
  MILLRACE_ASSIGN_OR_RETURN(auto diagnosis, examine_folder(line, options));
  if (const auto one = log::parse_partition_folder(what); diagnosis.overview.rows.empty() && one) {
    options.topic = one->first;
    options.partition = one->second;
    MILLRACE_ASSIGN_OR_RETURN(diagnosis, examine_folder(line, options));
  }
  if (diagnosis.overview.rows.empty() && !what.empty())
    return fail(Errc::kNotFound, fmt::format("{} has no topic or partition {}", line.data, what),
                "millrace doctor lists them");
  return show_diagnosis(line, std::move(diagnosis));
}

}  // namespace

void add_log_commands(CLI::App& root, CommandLine& line) {
  auto* log = root.add_subcommand("log", "what lies on disk: sizes, batches and records, whether they are whole");
  log->require_subcommand(1);
  auto topics = std::make_shared<std::vector<std::string>>();
  auto* dirs = log->add_subcommand("dirs", "how many bytes each partition has, as the brokers say, and the room left");
  dirs->add_option("topics", *topics, "only of these topics [all]");
  dirs->callback([&line, topics] { line.selected = [&line, topics] { return show_dirs(line, *topics); }; });

  auto dumped = std::make_shared<DumpFlags>();
  auto* dump = log->add_subcommand("dump", "the batches in files of the log, or their records; no server is asked");
  dump->add_option("what", dumped->what,
                   "a .log, .index, .timeindex or .txnindex file, TOPIC-PARTITION of the data folder, or wal")
      ->required();
  dump->add_flag("--records", dumped->records, "their records; those of internal topics in words");
  dump->add_option("--from", dumped->from, "only from this offset on");
  dump->add_option("--to", dumped->to, "only before this offset");
  dump->callback([&line, dumped] { line.selected = [&line, dumped] { return dump_logs(line, *dumped); }; });

  auto verified = std::make_shared<std::string>();
  auto* verify =
      log->add_subcommand("verify", "read every record of the data folder, or of one topic: 1 where one is damaged");
  verify->add_option("what", *verified, "TOPIC, or TOPIC-PARTITION [all]");
  verify->callback([&line, verified] { line.selected = [&line, verified] { return verify_logs(line, *verified); }; });
}

}  // namespace millrace::app
