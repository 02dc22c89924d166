#include "app/partition_choice.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "app/connection.h"
#include "base/text.h"

namespace millrace::app {

namespace {

struct Choice {
  std::string topic;
  std::vector<std::string_view> partitions;  // empty: all
};

Choice parse(const std::string& text) {
  // Topics' names have no colon.
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return {text, {}};
  return {text.substr(0, colon), split(std::string_view(text).substr(colon + 1), ',')};
}

}  // namespace

Result<std::vector<client::TopicPartition>> choose_partitions(client::Admin& admin,
                                                              std::span<const std::string> texts) {
  std::set<client::TopicPartition> chosen;
  for (const auto& text : texts) {
    const Choice choice = parse(text);
    MILLRACE_ASSIGN_OR_RETURN(const auto topic, find_topic(admin, choice.topic));
    if (choice.partitions.empty())
      for (const auto& partition : topic.partitions) chosen.insert({topic.name, partition.id});
    for (const std::string_view number : choice.partitions) {
      const auto id = parse_int64(number);
      const bool exists = id && std::ranges::any_of(topic.partitions, [&](const client::PartitionInfo& partition) {
                            return partition.id.value() == *id;
                          });
      if (!exists)
        return fail(Errc::kNotFound, fmt::format("{} has no partition {}", topic.name, number),
                    fmt::format("millrace topic describe {}", topic.name));
      chosen.insert({topic.name, PartitionId(static_cast<int32_t>(*id))});
    }
  }
  return std::vector(chosen.begin(), chosen.end());
}

bool names_partition(const std::string& text, const client::TopicPartition& source) {
  const Choice choice = parse(text);
  return choice.topic == source.topic &&
         (choice.partitions.empty() ||
          std::ranges::find(choice.partitions, std::to_string(source.partition.value())) != choice.partitions.end());
}

}  // namespace millrace::app
