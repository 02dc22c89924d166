#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/group_records.h"
#include "broker/internal/handlers.h"
#include "broker/internal/offset_commits.h"
#include "broker/internal/on_transactions.h"
#include "broker/internal/partition_errors.h"
#include "log/topic_name.h"

// The life of a transaction: wire messages to coordinator events, and replies back.
namespace millrace::broker {
namespace {

using coord::TransactionError;
using std::chrono::milliseconds;
using wire::ErrorCode;

coord::Producer producer_of(int64_t id, int16_t epoch) { return {ProducerId{id}, ProducerEpoch{epoch}}; }

// Older clients do not know PRODUCER_FENCED, which came with KIP-588.
ErrorCode to_wire(TransactionError error, int16_t version, int16_t fenced_from) {
  if (error == TransactionError::kProducerFenced && version < fenced_from) return ErrorCode::kInvalidProducerEpoch;
  return broker::to_wire(error);
}

// Ask, and answer with what `to_response` makes of the reply for the request's version.
template <typename Reply, typename Event, typename ToResponse>
void ask_and_respond(Core& core, Request request, Event event, ToResponse to_response) {
  request.frame.reset();
  Executor& home = request.reply.home();
  ask_transactions<Reply>(
      core, std::move(event),
      [request = std::move(request), to_response](Reply reply) mutable {
        respond(request, to_response(reply, request.header.api_version));
      },
      &home);
}

// Run `go` when there is a topic of the groups' offsets: a transaction may be the first to want it. Where it cannot be
// made, what follows finds none.
void with_offsets_topic(Core& core, Task go) {
  if (core.topics.snapshot()->find(kOffsetsTopic) != nullptr) return go();
  core.worker.post([&core, go = std::move(go)]() mutable {
    if (const auto made = core.topics.create_internal(kOffsetsTopic);
        !made && made.error().code != Errc::kAlreadyExists) {
      log_error("broker", "topic '{}' could not be made: {}", kOffsetsTopic, made.error().message);
    }
    go();
  });
}

coord::TopicPartition offsets_partition(const Core& core, const std::string& group) {
  const auto topic = core.topics.snapshot()->find(kOffsetsTopic);
  const int32_t partitions = topic ? topic->partitions() : static_cast<int32_t>(core.settings.offsets_topic_partitions);
  return {std::string(kOffsetsTopic), PartitionId{group_partition(group, partitions)}};
}

}  // namespace

void init_transactional_producer(Core& core, Request request, const wire::InitProducerIdRequest& message) {
  constexpr int16_t kFencedFrom = 4;
  coord::InitProducerRequest event;
  event.transactional_id = *message.transactional_id;
  event.timeout_ms = milliseconds(message.transaction_timeout_ms);
  if (message.producer_id != kNoProducerId.value())
    event.expected = producer_of(message.producer_id, message.producer_epoch);
  auto go = [&core, request = std::move(request), event = std::move(event)]() mutable {
    ask_and_respond<coord::InitProducerReply>(core, std::move(request), std::move(event),
                                              [](const coord::InitProducerReply& reply, int16_t version) {
                                                wire::InitProducerIdResponse response;
                                                response.error_code = to_wire(reply.error, version, kFencedFrom);
                                                response.producer_id = reply.producer.id.value();
                                                response.producer_epoch = reply.producer.epoch.value();
                                                return response;
                                              });
  };
  if (!core.producer_ids.is_empty()) return go();
  core.worker.post([&core, go = std::move(go)]() mutable {
    // Where none can be had the coordinator says so.
    static_cast<void>(core.producer_ids.refill_if_empty());
    go();
  });
}

namespace {

// One transaction of the request, and its part of the answer.
struct Adding {
  coord::AddPartitionsRequest event;
  std::vector<wire::AddPartitionsToTxnRequest::AddPartitionsToTxnTopic> topics;
};

using TopicResult = wire::AddPartitionsToTxnResponse::AddPartitionsToTxnTopicResult;

// What `error_of` has for each topic and partition.
template <typename ErrorOf>
std::vector<TopicResult> results_of(const Adding& adding, ErrorOf error_of) {
  std::vector<TopicResult> results;
  for (const auto& topic : adding.topics) {
    if (adding.event.verify_only && topic.partitions.empty()) continue;
    TopicResult& result = results.emplace_back();
    result.name = topic.name;
    for (const int32_t partition : topic.partitions)
      result.results_by_partition.push_back({partition, error_of(topic.name, partition)});
  }
  return results;
}

// All of a transaction's partitions are added, or none: those that are not at fault say that.
std::vector<TopicResult> refusals_of(const Adding& adding, const TopicTable& topics) {
  return results_of(adding, [&](const std::string& topic, int32_t partition) {
    const auto state = topics.find(topic);
    if (!state || state->partition(partition) == nullptr) return ErrorCode::kUnknownTopicOrPartition;
    const bool may_be = adding.event.verify_only || !state->internal;
    return may_be ? ErrorCode::kOperationNotAttempted : ErrorCode::kTopicAuthorizationFailed;
  });
}

// What the coordinator says of partitions that it was asked about; each has its own answer where it was only asked.
std::vector<TopicResult> results_of(const Adding& adding, const coord::AddPartitionsReply& reply, int16_t version) {
  constexpr int16_t kFencedFrom = 2;
  const bool each = adding.event.verify_only && reply.error == TransactionError::kInvalidTxnState;
  const std::set<coord::TopicPartition> absent(reply.absent.begin(), reply.absent.end());
  return results_of(adding, [&](const std::string& topic, int32_t partition) {
    if (!each) return to_wire(reply.error, version, kFencedFrom);
    const bool is_in = !absent.contains({topic, PartitionId{partition}});
    return is_in ? ErrorCode::kNone : ErrorCode::kTransactionAbortable;
  });
}

// Whether all partitions are there, and none is to be added that is of a topic that the broker alone writes to.
bool may_all_be_asked(const Adding& adding, const TopicTable& topics) {
  return std::ranges::all_of(adding.event.partitions, [&](const coord::TopicPartition& one) {
    const bool may_be = adding.event.verify_only || !is_internal_topic(one.topic);
    return may_be && topics.find_partition(one.topic, one.partition.value()) != nullptr;
  });
}

std::vector<Adding> addings_of(wire::AddPartitionsToTxnRequest& message, int16_t version) {
  constexpr int16_t kBatchedFrom = 4;
  std::vector<Adding> addings;
  const auto add = [&](std::string id, coord::Producer producer, bool verify_only, auto topics) {
    Adding& adding = addings.emplace_back();
    adding.event = {{}, std::move(id), producer, {}, verify_only};
    for (const auto& topic : topics) {
      // A name that no topic can have is looked up once, and copied for none of its partitions.
      const std::string name = topic.name.size() > log::kTopicNameBytesMax ? std::string() : topic.name;
      for (const int32_t partition : topic.partitions)
        adding.event.partitions.push_back({name, PartitionId{partition}});
    }
    adding.topics = std::move(topics);
  };
  if (version < kBatchedFrom) {
    add(std::move(message.v3_and_below_transactional_id),
        producer_of(message.v3_and_below_producer_id, message.v3_and_below_producer_epoch), false,
        std::move(message.v3_and_below_topics));
  } else {
    for (auto& one : message.transactions)
      add(std::move(one.transactional_id), producer_of(one.producer_id, one.producer_epoch), one.verify_only,
          std::move(one.topics));
  }
  return addings;
}

// The transactions of one request, one after another.
class AddPartitionsTask : public std::enable_shared_from_this<AddPartitionsTask> {
 public:
  AddPartitionsTask(Core& core, Request request, wire::AddPartitionsToTxnRequest message)
      : core_(core), request_(std::move(request)), addings_(addings_of(message, request_.header.api_version)) {
    request_.frame.reset();
  }

  // A loop over those that need no asking: a request may name very many.
  void next() {
    for (; at_ < addings_.size(); ++at_) {
      const auto topics = core_.topics.snapshot();
      if (may_all_be_asked(addings_[at_], *topics)) return ask_for(addings_[at_]);
      take(refusals_of(addings_[at_], *topics));
    }
    respond(request_, response_);
  }

 private:
  void ask_for(const Adding& adding) {
    ask_transactions<coord::AddPartitionsReply>(
        core_, adding.event, [self = shared_from_this()](coord::AddPartitionsReply reply) {
          self->take(results_of(self->addings_[self->at_], reply, self->request_.header.api_version));
          ++self->at_;
          self->next();
        });
  }

  void take(std::vector<TopicResult> results) {
    constexpr int16_t kBatchedFrom = 4;
    if (request_.header.api_version < kBatchedFrom) {
      response_.results_by_topic_v3_and_below = std::move(results);
    } else {
      response_.results_by_transaction.push_back({addings_[at_].event.transactional_id, std::move(results)});
    }
  }

  Core& core_;
  Request request_;
  const std::vector<Adding> addings_;
  size_t at_ = 0;
  wire::AddPartitionsToTxnResponse response_;
};

}  // namespace

void handle_add_partitions_to_txn(Core& core, Request request, wire::AddPartitionsToTxnRequest message) {
  std::make_shared<AddPartitionsTask>(core, std::move(request), std::move(message))->next();
}

void handle_add_offsets_to_txn(Core& core, Request request, wire::AddOffsetsToTxnRequest message) {
  request.frame.reset();
  with_offsets_topic(core, [&core, request = std::move(request), message = std::move(message)]() mutable {
    constexpr int16_t kFencedFrom = 2;
    const coord::AddPartitionsRequest event{{},
                                            std::move(message.transactional_id),
                                            producer_of(message.producer_id, message.producer_epoch),
                                            {offsets_partition(core, message.group_id)},
                                            false};
    ask_and_respond<coord::AddPartitionsReply>(core, std::move(request), event,
                                               [](const coord::AddPartitionsReply& reply, int16_t version) {
                                                 wire::AddOffsetsToTxnResponse response;
                                                 response.error_code = to_wire(reply.error, version, kFencedFrom);
                                                 return response;
                                               });
  });
}

void handle_end_txn(Core& core, Request request, wire::EndTxnRequest message) {
  constexpr int16_t kFencedFrom = 2;
  constexpr int16_t kRaisesEpochFrom = 5;
  const coord::EndTransactionRequest event{{},
                                           std::move(message.transactional_id),
                                           producer_of(message.producer_id, message.producer_epoch),
                                           message.committed,
                                           request.header.api_version >= kRaisesEpochFrom};
  ask_and_respond<coord::EndTransactionReply>(core, std::move(request), event,
                                              [](const coord::EndTransactionReply& reply, int16_t version) {
                                                wire::EndTxnResponse response;
                                                response.error_code = to_wire(reply.error, version, kFencedFrom);
                                                response.producer_id = reply.producer.id.value();
                                                response.producer_epoch = reply.producer.epoch.value();
                                                return response;
                                              });
}

namespace {

// A TxnOffsetCommit: first the coordinator of transactions is asked whether the producer's transaction holds the
// group's offsets, or is made to (version 5), then the groups take them.
class TxnOffsetCommitTask : public std::enable_shared_from_this<TxnOffsetCommitTask> {
 public:
  TxnOffsetCommitTask(Core& core, Request request, wire::TxnOffsetCommitRequest message)
      : core_(core), request_(std::move(request)) {
    request_.frame.reset();
    commit_.group = std::move(message.group_id);
    commit_.member_id = std::move(message.member_id);
    commit_.instance_id = std::move(message.group_instance_id);
    commit_.generation = message.generation_id;
    commit_.transaction = producer_of(message.producer_id, message.producer_epoch);
    transactional_id_ = std::move(message.transactional_id);
    take_offsets(message.topics, *core.topics.snapshot(), commit_, response_.topics);
  }

  void start() {
    if (record_bytes(commit_) > static_cast<size_t>(core_.settings.message_bytes_max))
      return refuse(ErrorCode::kInvalidCommitOffsetSize);
    constexpr int16_t kAddsFrom = 5;
    const bool adds = request_.header.api_version >= kAddsFrom;
    ask_transactions<coord::AddPartitionsReply>(
        core_,
        coord::AddPartitionsRequest{
            {}, transactional_id_, *commit_.transaction, {offsets_partition(core_, commit_.group)}, !adds},
        [self = shared_from_this()](coord::AddPartitionsReply reply) {
          // Which transaction is fenced, a commit tells by the epoch alone.
          constexpr int16_t kNeverFenced = INT16_MAX;
          constexpr int16_t kAbortableFrom = 4;
          const int16_t version = self->request_.header.api_version;
          if (reply.error == TransactionError::kInvalidTxnState && version >= kAbortableFrom)
            return self->refuse(ErrorCode::kTransactionAbortable);
          if (reply.error != TransactionError::kNone) return self->refuse(to_wire(reply.error, version, kNeverFenced));
          self->commit();
        });
  }

 private:
  // On the coordinators' executor, which is one for both.
  void commit() {
    if (core_.groups.state() != GroupService::State::kServing || !core_.groups.takes_records())
      return refuse(ErrorCode::kNotCoordinator);
    // Since it was asked, a newer incarnation or the timeout may have ended the transaction.
    if (!is_admitted()) return refuse(ErrorCode::kInvalidProducerEpoch);
    core_.groups.call<coord::CommitReply>(std::move(commit_), request_.reply.home(),
                                          [self = shared_from_this()](coord::CommitReply reply) {
                                            take_errors(self->response_.topics, reply.errors);
                                            respond(self->request_, self->response_);
                                          });
  }

  bool is_admitted() const {
    const auto where = offsets_partition(core_, commit_.group);
    const auto partition = core_.topics.snapshot()->find_partition(where.topic, where.partition.value());
    return partition != nullptr && partition->is_admitted(commit_.transaction->id, commit_.transaction->epoch);
  }

  void refuse(ErrorCode with) {
    refuse_the_rest(response_.topics, with);
    respond(request_, response_);
  }

  Core& core_;
  Request request_;
  std::string transactional_id_;
  coord::CommitRequest commit_;
  wire::TxnOffsetCommitResponse response_;
};

}  // namespace

void handle_txn_offset_commit(Core& core, Request request, wire::TxnOffsetCommitRequest message) {
  auto task = std::make_shared<TxnOffsetCommitTask>(core, std::move(request), std::move(message));
  with_offsets_topic(core, [task = std::move(task)] { task->start(); });
}

}  // namespace millrace::broker
