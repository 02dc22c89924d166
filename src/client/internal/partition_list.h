#pragma once

#include <span>
#include <vector>

#include "client/internal/handle.h"
#include "client/records.h"

namespace millrace::client {

// Ours and librdkafka's lists of partitions, with or without offsets.
PartitionListPtr to_list(std::span<const TopicPartition> partitions);
PartitionListPtr to_list(std::span<const TopicOffset> offsets);
PartitionListPtr to_list(const TopicPartition& source, int64_t offset);

std::vector<TopicPartition> partitions_of(const rd_kafka_topic_partition_list_t& list);  // ascending
TopicPartition partition_of(const rd_kafka_topic_partition_t& element);

// The first element's error in `list`, as a Status.
Status first_error(const rd_kafka_topic_partition_list_t& list, std::string_view what, std::string_view bootstrap);

}  // namespace millrace::client
