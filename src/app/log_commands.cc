#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/connection.h"
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
      if (folder.total_bytes >= 0)
        line.notes << fmt::format("broker {}, {}: {:.1f} of {:.1f} GB free\n", node.id, folder.log_dir,
                                  static_cast<double>(folder.usable_bytes) / 1e9,
                                  static_cast<double>(folder.total_bytes) / 1e9);
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

}  // namespace

void add_log_commands(CLI::App& root, CommandLine& line) {
  auto* log = root.add_subcommand("log", "what lies on disk: sizes");
  log->require_subcommand(1);
  auto topics = std::make_shared<std::vector<std::string>>();
  auto* dirs = log->add_subcommand("dirs", "how many bytes each partition has, as the brokers say, and the room left");
  dirs->add_option("topics", *topics, "only of these topics [all]");
  dirs->callback([&line, topics] { line.selected = [&line, topics] { return show_dirs(line, *topics); }; });
}

}  // namespace millrace::app
