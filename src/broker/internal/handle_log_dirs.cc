#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"

// The data folder, as the one log directory of this broker.
namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Topic = wire::DescribeLogDirsResponse::DescribeLogDirsTopic;

std::string normal(const std::string& path) {
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(path, failed);
  std::string text = (failed ? std::filesystem::path(path) : absolute).lexically_normal().string();
  if (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

void add_partition(Topic& topic, const TopicState& state, int32_t index) {
  const auto* partition = state.partition(index);
  if (partition == nullptr) return;
  auto& described = topic.partitions.emplace_back();
  described.partition_index = index;
  described.partition_size = static_cast<int64_t>((*partition)->size_bytes());
}

void describe(Core& core, Request& request, const wire::DescribeLogDirsRequest& message) {
  const auto topics = core.topics.snapshot();
  wire::DescribeLogDirsResponse response;
  auto& directory = response.results.emplace_back();
  directory.log_dir = normal(core.store.dir());
  if (const auto usable = core.store.free_bytes(); usable) directory.usable_bytes = static_cast<int64_t>(*usable);
  if (!message.topics) {
    for (const auto& [name, state] : topics->all()) {
      Topic& topic = directory.topics.emplace_back();
      topic.name = name;
      for (int32_t index = 0; index < state->partitions(); ++index) add_partition(topic, *state, index);
    }
    return respond(request, response);
  }
  std::map<std::string, std::set<int32_t>> partitions;  // however often a topic is named
  for (const auto& asked : *message.topics)
    if (topics->find(asked.topic)) partitions[asked.topic].insert(asked.partitions.begin(), asked.partitions.end());
  for (const auto& [name, indexes] : partitions) {
    const auto state = topics->find(name);
    Topic topic;
    topic.name = name;
    for (const int32_t index : indexes) add_partition(topic, *state, index);
    if (!topic.partitions.empty()) directory.topics.push_back(std::move(topic));
  }
  respond(request, response);
}

}  // namespace

void handle_describe_log_dirs(Core& core, Request request, wire::DescribeLogDirsRequest message) {
  core.worker.post([&core, request = std::move(request), message = std::move(message)]() mutable {
    describe(core, request, message);
  });
}

// There is one directory, and everything is in it.
void handle_alter_replica_log_dirs(Core& core, Request request, wire::AlterReplicaLogDirsRequest message) {
  const auto topics = core.topics.snapshot();
  const std::string own = normal(core.store.dir());
  wire::AlterReplicaLogDirsResponse response;
  for (const auto& directory : message.dirs) {
    const bool here = directory.path == own;
    for (const auto& topic : directory.topics) {
      auto& answered = response.results.emplace_back();
      answered.topic_name = topic.name;
      const auto state = topics->find(topic.name);
      for (const int32_t index : topic.partitions) {
        auto& result = answered.partitions.emplace_back();
        result.partition_index = index;
        if (!here)
          result.error_code = ErrorCode::kLogDirNotFound;
        else if (!state || state->partition(index) == nullptr)
          result.error_code = ErrorCode::kUnknownTopicOrPartition;
      }
    }
  }
  respond(request, response);
}

}  // namespace millrace::broker
