#include "client/internal/partition_list.h"

#include <fmt/core.h>

#include <algorithm>

namespace millrace::client {

namespace {

PartitionListPtr empty_list(size_t capacity) {
  return PartitionListPtr(rd_kafka_topic_partition_list_new(static_cast<int>(capacity)));
}

std::span<const rd_kafka_topic_partition_t> elements_of(const rd_kafka_topic_partition_list_t& list) {
  return {list.elems, static_cast<size_t>(list.cnt)};
}

}  // namespace

PartitionListPtr to_list(std::span<const TopicPartition> partitions) {
  PartitionListPtr list = empty_list(partitions.size());
  for (const TopicPartition& source : partitions)
    rd_kafka_topic_partition_list_add(list.get(), source.topic.c_str(), source.partition.value());
  return list;
}

PartitionListPtr to_list(std::span<const TopicOffset> offsets) {
  PartitionListPtr list = empty_list(offsets.size());
  for (const TopicOffset& place : offsets)
    rd_kafka_topic_partition_list_add(list.get(), place.source.topic.c_str(), place.source.partition.value())->offset =
        place.offset.value();
  return list;
}

PartitionListPtr to_list(const TopicPartition& source, int64_t offset) {
  PartitionListPtr list = empty_list(1);
  rd_kafka_topic_partition_list_add(list.get(), source.topic.c_str(), source.partition.value())->offset = offset;
  return list;
}

TopicPartition partition_of(const rd_kafka_topic_partition_t& element) {
  return {element.topic, PartitionId(element.partition)};
}

std::vector<TopicPartition> partitions_of(const rd_kafka_topic_partition_list_t& list) {
  std::vector<TopicPartition> partitions;
  for (const auto& element : elements_of(list)) partitions.push_back(partition_of(element));
  std::sort(partitions.begin(), partitions.end());
  return partitions;
}

Status first_error(const rd_kafka_topic_partition_list_t& list, std::string_view what, std::string_view bootstrap) {
  for (const auto& element : elements_of(list))
    if (element.err != RD_KAFKA_RESP_ERR_NO_ERROR)
      return tl::unexpected<Error>(
          to_error(element.err, fmt::format("{}, {}[{}]", what, element.topic, element.partition), bootstrap));
  return {};
}

}  // namespace millrace::client
