#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "app/kafka_link.h"
#include "base/result.h"
#include "wire/describe_producers.h"
#include "wire/describe_transactions.h"
#include "wire/list_transactions.h"

namespace millrace::app {

using TransactionState = wire::DescribeTransactionsResponse::TransactionState;

struct ListedTransaction {
  std::string transactional_id;
  int64_t producer_id = -1;
  std::string state;
  int32_t coordinator = -1;
};

// What every broker lists, by id.
Result<std::vector<ListedTransaction>> list_transactions(KafkaLink& link, const wire::ListTransactionsRequest& filter);

// kNotFound, saying where to look.
Result<TransactionState> describe_transaction(KafkaLink& link, const std::string& id);

struct PartitionRef {
  std::string topic;
  int32_t partition = 0;
  int32_t leader = -1;
};

// Every partition of `topics` (empty: of all topics), with its leader.
Result<std::vector<PartitionRef>> partitions_of(KafkaLink& link, std::span<const std::string> topics);

struct PartitionProducer {
  PartitionRef place;
  wire::DescribeProducersResponse::ProducerState producer;
};

// The producers that these partitions know.
Result<std::vector<PartitionProducer>> describe_producers(KafkaLink& link, std::span<const PartitionRef> partitions);

// Transactions that hold back a partition's readers although no coordinator will ever end them: open there for longer
// than `open_longer_than_ms`, and not among the partitions of a transaction that its coordinator knows as under way.
Result<std::vector<PartitionProducer>> find_hanging(KafkaLink& link, std::span<const PartitionRef> partitions,
                                                    int64_t now_ms, int64_t open_longer_than_ms);

// The wall clock, as Kafka counts time.
int64_t now_ms();

}  // namespace millrace::app
