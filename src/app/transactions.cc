#include "app/transactions.h"

#include <fmt/core.h>

#include <chrono>
#include <map>
#include <thread>

#include "wire/metadata.h"

namespace millrace::app {

namespace {

constexpr int kAttempts = 50;
constexpr std::chrono::milliseconds kLoadingPause{100};

}  // namespace

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<std::vector<ListedTransaction>> list_transactions(KafkaLink& link, const wire::ListTransactionsRequest& filter) {
  std::vector<ListedTransaction> found;
  for (const Node& node : link.brokers()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(node.id, filter));
    MILLRACE_RETURN_IF_ERROR(to_status(answer.error_code, "cannot list transactions"));
    if (!answer.unknown_state_filters.empty())
      return fail(Errc::kInvalidArgument,
                  fmt::format("'{}' is not a state of transactions", answer.unknown_state_filters.front()),
                  "Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort");
    for (const auto& one : answer.transaction_states)
      found.push_back({one.transactional_id, one.producer_id, one.transaction_state, node.id});
  }
  std::ranges::sort(found, {}, &ListedTransaction::transactional_id);
  return found;
}

Result<TransactionState> describe_transaction(KafkaLink& link, const std::string& id) {
  wire::DescribeTransactionsRequest request;
  request.transactional_ids = {id};
  wire::DescribeTransactionsResponse answer;
  // A coordinator that has just become one reads its state first.
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(kLoadingPause);
    MILLRACE_ASSIGN_OR_RETURN(const int32_t node, link.coordinator(CoordinatorKind::kTransaction, id));
    MILLRACE_ASSIGN_OR_RETURN(answer, link.ask(node, request));
    const bool is_loading =
        !answer.transaction_states.empty() && wire::is_retriable(answer.transaction_states.front().error_code);
    if (!is_loading) break;
  }
  if (answer.transaction_states.empty())
    return fail(Errc::kInternal, fmt::format("no answer for the transactional id {}", id));
  auto& state = answer.transaction_states.front();
  if (state.error_code == wire::ErrorCode::kTransactionalIdNotFound)
    return fail(Errc::kNotFound, fmt::format("there is no transactional id {}", id),
                "list those there are: millrace txn list");
  MILLRACE_RETURN_IF_ERROR(to_status(state.error_code, fmt::format("cannot describe the transactions of {}", id)));
  return std::move(state);
}

Result<std::vector<PartitionRef>> partitions_of(KafkaLink& link, std::span<const std::string> topics) {
  wire::MetadataRequest request;
  request.allow_auto_topic_creation = false;
  request.topics.reset();
  if (!topics.empty()) {
    request.topics.emplace();
    for (const auto& topic : topics) request.topics->emplace_back().name = topic;
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(request));
  std::vector<PartitionRef> found;
  for (const auto& topic : answer.topics) {
    const std::string name = topic.name.value_or("");
    if (topic.error_code == wire::ErrorCode::kUnknownTopicOrPartition)
      return fail(Errc::kNotFound, fmt::format("there is no topic {}", name),
                  "list those there are: millrace topic list");
    MILLRACE_RETURN_IF_ERROR(to_status(topic.error_code, fmt::format("cannot describe topic {}", name)));
    for (const auto& partition : topic.partitions)
      found.push_back({name, partition.partition_index, partition.leader_id});
  }
  std::ranges::sort(found, [](const auto& a, const auto& b) {
    return std::tie(a.topic, a.partition) < std::tie(b.topic, b.partition);
  });
  return found;
}

Result<std::vector<PartitionProducer>> describe_producers(KafkaLink& link, std::span<const PartitionRef> partitions) {
  std::map<int32_t, wire::DescribeProducersRequest> requests;  // by leader
  for (const auto& place : partitions) {
    auto& topics = requests[place.leader].topics;
    if (topics.empty() || topics.back().name != place.topic) topics.emplace_back().name = place.topic;
    topics.back().partition_indexes.push_back(place.partition);
  }
  std::vector<PartitionProducer> found;
  for (const auto& [leader, request] : requests) {
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(leader, request));
    for (const auto& topic : answer.topics)
      for (const auto& partition : topic.partitions) {
        // It moves, or is being made or deleted: nothing that it could hold back now.
        if (wire::is_retriable(partition.error_code)) continue;
        MILLRACE_RETURN_IF_ERROR(
            to_status(partition.error_code,
                      fmt::format("cannot describe the producers of {}[{}]", topic.name, partition.partition_index),
                      partition.error_message));
        for (const auto& producer : partition.active_producers)
          found.push_back({{topic.name, partition.partition_index, leader}, producer});
      }
  }
  return found;
}

Result<std::vector<PartitionProducer>> find_hanging(KafkaLink& link, std::span<const PartitionRef> partitions,
                                                    int64_t now_ms, int64_t open_longer_than_ms) {
  MILLRACE_ASSIGN_OR_RETURN(auto producers, describe_producers(link, partitions));
  std::erase_if(producers, [&](const PartitionProducer& one) {
    return one.producer.current_txn_start_offset < 0 || now_ms - one.producer.last_timestamp <= open_longer_than_ms;
  });
  if (producers.empty()) return producers;
  MILLRACE_ASSIGN_OR_RETURN(const auto listed, list_transactions(link, {}));
  std::vector<PartitionProducer> hanging;
  for (const auto& candidate : producers) {
    bool is_under_way = false;
    for (const auto& transaction : listed) {
      if (transaction.producer_id != candidate.producer.producer_id) continue;
      const auto state = describe_transaction(link, transaction.transactional_id);
      if (!state && state.error().code == Errc::kNotFound) continue;  // forgotten in between
      MILLRACE_RETURN_IF_ERROR(state);
      for (const auto& topic : state->topics)
        is_under_way |= topic.topic == candidate.place.topic &&
                        std::ranges::find(topic.partitions, candidate.place.partition) != topic.partitions.end();
    }
    if (!is_under_way) hanging.push_back(candidate);
  }
  return hanging;
}

}  // namespace millrace::app
