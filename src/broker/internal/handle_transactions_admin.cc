#include <boost/regex.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "broker/internal/coordinator_log.h"
#include "broker/internal/drop_repeats.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "record/marker.h"

// What administrators ask of transactions and producers.
namespace millrace::broker {
namespace {

using std::chrono::milliseconds;
using wire::ErrorCode;

// Run `make` on the coordinator's executor and answer with what it makes, when all that it may rest on is durable. It
// is told whether there is a coordinator to ask; where too much waits for that it runs here, and is told that there is
// none.
template <typename Make>
void respond_from_coordinator(Core& core, Request request, Make make) {
  if (core.transactions.is_crowded()) return respond(request, make(false));
  core.transactions.post([&core, request = std::move(request), make = std::move(make)]() mutable {
    auto response = make(core.transactions.is_alive());
    Executor& home = request.reply.home();
    core.transactions.after_durable(
        home, [request = std::move(request), response = std::move(response)](const Status& durable) mutable {
          if (!durable) return request.reply.give_up("the log has failed, so transactions cannot be told");
          respond(request, response);
        });
  });
}

wire::DescribeTransactionsResponse::TransactionState describe(const Core& core, bool is_served, const std::string& id) {
  wire::DescribeTransactionsResponse::TransactionState state;
  state.transactional_id = id;
  if (id.empty()) {
    state.error_code = ErrorCode::kInvalidRequest;
    return state;
  }
  if (!is_served) {
    state.error_code = ErrorCode::kNotCoordinator;
    return state;
  }
  const auto found = core.transactions.coordinator().describe(id);
  if (!found) {
    state.error_code = ErrorCode::kTransactionalIdNotFound;
    return state;
  }
  const coord::TransactionRecordValue& value = found->value;
  state.transaction_state = coord::transaction_state_name(value.state);
  state.transaction_timeout_ms = static_cast<int32_t>(value.timeout_ms.count());
  state.transaction_start_time_ms = value.started_at ? to_unix_ms(*value.started_at) : -1;
  state.producer_id = value.producer.id.value();
  state.producer_epoch = value.producer.epoch.value();
  for (const auto& [topic, partition] : value.partitions) {
    if (state.topics.empty() || state.topics.back().topic != topic) state.topics.emplace_back().topic = topic;
    state.topics.back().partitions.push_back(partition.value());
  }
  return state;
}

// Also the two of Kafka's that nobody is in here.
bool is_state(const std::string& name) {
  if (name == "Dead" || name == "PrepareEpochFence") return true;
  for (int8_t state = 0; state <= static_cast<int8_t>(coord::TransactionState::kCompleteAbort); ++state)
    if (name == coord::transaction_state_name(static_cast<coord::TransactionState>(state))) return true;
  return false;
}

// Drop the ids that `pattern` does not match as a whole. False where it is no regular expression, or would take too
// long on an id: not std::regex, whose matcher recurses once per character and knows no end.
bool keep_matching(std::vector<coord::TransactionDescription>& transactions, const std::string& pattern) {
  constexpr size_t kPatternBytesMax = 1024;
  if (pattern.size() > kPatternBytesMax) return false;
  try {
    const boost::regex regex(pattern, boost::regex::ECMAScript);
    std::erase_if(transactions, [&](const auto& one) { return !boost::regex_match(one.transactional_id, regex); });
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

wire::ListTransactionsResponse list(const Core& core, bool is_served, wire::ListTransactionsRequest& message) {
  wire::ListTransactionsResponse response;
  if (!is_served) {
    response.error_code = ErrorCode::kCoordinatorNotAvailable;
    return response;
  }
  coord::TransactionFilter filter;
  drop_repeats(message.state_filters);
  for (const std::string& name : message.state_filters)
    (is_state(name) ? filter.states : response.unknown_state_filters).push_back(name);
  // Only states that nobody can be in: that is none, not all.
  if (filter.states.empty() && !message.state_filters.empty()) return response;
  for (const int64_t id : message.producer_id_filters) filter.producer_ids.emplace_back(id);
  if (message.duration_filter >= 0) filter.running_longer_than = milliseconds(message.duration_filter);
  std::vector<coord::TransactionDescription> found =
      core.transactions.coordinator().list(filter, core.clock.wall_now());
  if (message.transactional_id_pattern && !message.transactional_id_pattern->empty() &&
      !keep_matching(found, *message.transactional_id_pattern)) {
    response.error_code = ErrorCode::kInvalidRegularExpression;
    return response;
  }
  for (const auto& one : found) {
    response.transaction_states.push_back(
        {one.transactional_id, one.value.producer.id.value(), coord::transaction_state_name(one.value.state)});
  }
  return response;
}

wire::DescribeProducersResponse::PartitionResponse describe_producers(const TopicState* topic, int32_t index) {
  wire::DescribeProducersResponse::PartitionResponse response;
  response.partition_index = index;
  const auto* partition = topic == nullptr ? nullptr : topic->partition(index);
  if (partition == nullptr) {
    response.error_code = ErrorCode::kUnknownTopicOrPartition;
    response.error_message = "there is no such topic or partition";
    return response;
  }
  for (const log::ProducerInfo& producer : (*partition)->producers()) {
    auto& out = response.active_producers.emplace_back();
    out.producer_id = producer.id.value();
    out.producer_epoch = producer.epoch.value();
    out.last_sequence = producer.last_sequence;
    out.last_timestamp = producer.last_append_ms;
    out.coordinator_epoch = producer.coordinator_epoch;
    out.current_txn_start_offset = producer.transaction_start ? producer.transaction_start->value() : -1;
  }
  return response;
}

}  // namespace

void handle_describe_transactions(Core& core, Request request, wire::DescribeTransactionsRequest message) {
  request.frame.reset();
  drop_repeats(message.transactional_ids);
  respond_from_coordinator(core, std::move(request), [&core, message = std::move(message)](bool is_served) {
    wire::DescribeTransactionsResponse response;
    for (const std::string& id : message.transactional_ids)
      response.transaction_states.push_back(describe(core, is_served, id));
    return response;
  });
}

void handle_list_transactions(Core& core, Request request, wire::ListTransactionsRequest message) {
  request.frame.reset();
  respond_from_coordinator(core, std::move(request), [&core, message = std::move(message)](bool is_served) mutable {
    return list(core, is_served, message);
  });
}

void handle_describe_producers(Core& core, Request request, wire::DescribeProducersRequest message) {
  const auto topics = core.topics.snapshot();
  merge_repeats(message.topics);
  wire::DescribeProducersResponse response;
  for (const auto& topic : message.topics) {
    auto& answered = response.topics.emplace_back();
    answered.name = topic.name;
    const auto state = topics->find(topic.name);
    for (const int32_t index : topic.partition_indexes)
      answered.partitions.push_back(describe_producers(state.get(), index));
  }
  respond(request, response);
}

// Sent here by administrators who end a transaction that hangs in a partition (KIP-664); a transaction's own end is
// TransactionService's.
void handle_write_txn_markers(Core& core, Request request, wire::WriteTxnMarkersRequest message) {
  const auto topics = core.topics.snapshot();
  drop_repeats(message.markers,
               [](const auto& marker) { return std::pair(marker.producer_id, marker.producer_epoch); });
  wire::WriteTxnMarkersResponse response;
  log::WalPosition last{0};
  for (auto& marker : message.markers) {
    merge_repeats(marker.topics);
    auto& answered = response.markers.emplace_back();
    answered.producer_id = marker.producer_id;
    for (const auto& topic : marker.topics) {
      auto& of_topic = answered.topics.emplace_back();
      of_topic.name = topic.name;
      const auto state = topics->find(topic.name);
      for (const int32_t index : topic.partition_indexes) {
        auto& result = of_topic.partitions.emplace_back();
        result.partition_index = index;
        const auto* partition = state ? state->partition(index) : nullptr;
        // The groups' offsets are decided by their coordinator alone.
        if (partition == nullptr || state->internal) {
          result.error_code = ErrorCode::kUnknownTopicOrPartition;
          continue;
        }
        Bytes batch = record::marker_batch(
            {.producer_id = ProducerId{marker.producer_id},
             .producer_epoch = ProducerEpoch{marker.producer_epoch},
             .type = marker.transaction_result ? record::MarkerType::kCommit : record::MarkerType::kAbort,
             .coordinator_epoch = marker.coordinator_epoch,
             .timestamp_ms = to_unix_ms(core.clock.wall_now())});
        // Without the reserve, which is for those markers that a coordinator owes.
        const auto appended = (*partition)->append(batch, {.when_full = log::WhenFull::kRefuse});
        result.error_code = appended ? to_wire(appended->outcome) : to_wire(appended.error().code);
        if (appended) last = std::max(last, appended->position);
      }
    }
  }
  request.frame.reset();
  auto waiting =
      std::make_shared<std::pair<Request, wire::WriteTxnMarkersResponse>>(std::move(request), std::move(response));
  core.store.when_durable(last, [waiting](const Status& durable) {
    // Not on the log's thread, which others wait for.
    waiting->first.reply.home().post([waiting, is_done = durable.has_value()] {
      if (!is_done) return waiting->first.reply.give_up("the log has failed");
      respond(waiting->first, waiting->second);
    });
  });
}

}  // namespace millrace::broker
