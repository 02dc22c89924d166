#include <fmt/core.h>

#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/on_transactions.h"
#include "broker/internal/record_checks.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;
using PartitionResponse = wire::ProduceResponse::PartitionProduceResponse;

PartitionResponse refuse(int32_t index, ErrorCode error, std::string message) {
  PartitionResponse response;
  response.index = index;
  response.error_code = error;
  response.base_offset = -1;
  response.error_message = std::move(message);
  return response;
}

PartitionResponse refuse(int32_t index, RecordDefect defect) {
  PartitionResponse response = refuse(index, defect.error, std::move(defect.message));
  for (RefusedRecord& record : defect.records)
    response.record_errors.push_back({record.index, std::move(record.message)});
  return response;
}

template <typename Change>
void for_each_partition(wire::ProduceResponse& response, Change change) {
  for (auto& topic : response.responses)
    for (auto& partition : topic.partition_responses) change(partition);
}

void refuse_all(wire::ProduceResponse& response, const wire::ProduceRequest& message, ErrorCode error,
                const std::string& text) {
  for (const auto& topic : message.topic_data) {
    auto& answer = response.responses.emplace_back();
    answer.name = topic.name;
    for (const auto& part : topic.partition_data) answer.partition_responses.push_back(refuse(part.index, error, text));
  }
}

// Fields that the version lacks must be at their defaults.
void fit_to_version(wire::ProduceResponse& response, int16_t version) {
  if (version >= 8) return;
  for_each_partition(response, [](PartitionResponse& partition) {
    partition.error_message.reset();
    partition.record_errors.clear();
  });
}

// Without acknowledgements there is no answer that could say what went wrong: the connection is closed instead.
void finish_unacknowledged(Request& request, const wire::ProduceResponse& response) {
  for (const auto& topic : response.responses)
    for (const auto& partition : topic.partition_responses)
      if (partition.error_code != ErrorCode::kNone)
        return request.reply.give_up(fmt::format("produce without acks to {}-{}: {}", topic.name, partition.index,
                                                 wire::error_name(partition.error_code)));
  request.reply.send_nothing();
}

// From this version on a producer knows TRANSACTION_ABORTABLE.
constexpr int16_t kAbortableFrom = 11;
// From this version on a batch adds its partition to its producer's transaction (KIP-890).
constexpr int16_t kAddsFrom = 12;

// What a producer is told when the coordinator does not add its partitions, in Kafka's words for it.
ErrorCode adding_error(coord::TransactionError error) {
  switch (error) {
    case coord::TransactionError::kProducerFenced:
      return ErrorCode::kInvalidProducerEpoch;
    // To be sent again, without asking who leads: the answer would be the same.
    case coord::TransactionError::kNotCoordinator:
    case coord::TransactionError::kCoordinatorNotAvailable:
      return ErrorCode::kNotEnoughReplicas;
    case coord::TransactionError::kNone:
    case coord::TransactionError::kInvalidRequest:
    case coord::TransactionError::kInvalidTransactionTimeout:
    case coord::TransactionError::kInvalidProducerIdMapping:
    case coord::TransactionError::kInvalidTxnState:
    case coord::TransactionError::kTransactionalIdNotFound:
      return to_wire(error);
  }
}

// Whether a batch is of a transaction, as far as can be seen before it is checked.
bool has_transactional_batch(const wire::ProduceRequest& message) {
  for (const auto& topic : message.topic_data)
    for (const auto& data : topic.partition_data)
      if (const auto batch = record::BatchView::first_of(data.records.value_or(ByteView{}));
          batch && batch->is_transactional())
        return true;
  return false;
}

// One produce, from its first batch to its answer. Where there is no room for a batch, or its partition must be added
// to a transaction first, it stops, holding up what its connection sends after it, and goes on when it can. On the
// connection's thread.
class ProduceTask : public std::enable_shared_from_this<ProduceTask> {
 public:
  ProduceTask(Core& core, Request request, wire::ProduceRequest message)
      : core_(core),
        request_(std::move(request)),
        message_(std::move(message)),
        acks_(message_.acks),
        topics_(core.topics.snapshot()) {
    response_.responses.reserve(message_.topic_data.size());
  }

  // Append what has not been appended yet.
  void run() {
    for (; topic_at_ < message_.topic_data.size(); ++topic_at_) {
      const auto& topic = message_.topic_data[topic_at_];
      if (response_.responses.size() == topic_at_) begin_topic(topic);
      auto& answers = response_.responses.back().partition_responses;
      while (answers.size() < topic.partition_data.size()) {
        auto answer = append(topic.partition_data[answers.size()]);
        if (!answer) return;
        answers.push_back(std::move(*answer));
        checked_.reset();
      }
    }
    finish();
  }

 private:
  using PartitionData = wire::ProduceRequest::PartitionProduceData;

  void begin_topic(const wire::ProduceRequest::TopicProduceData& topic) {
    topic_ = topics_->find(topic.name);
    auto& answer = response_.responses.emplace_back();
    answer.name = topic.name;
    answer.partition_responses.reserve(topic.partition_data.size());
  }

  // Nothing: the task goes on later with the same batch.
  std::optional<PartitionResponse> append(const PartitionData& data) {
    const int32_t index = data.index;
    const auto* partition = topic_ == nullptr ? nullptr : topic_->partition(index);
    if (partition == nullptr)
      return refuse(index, ErrorCode::kUnknownTopicOrPartition, "there is no such topic or partition");
    if (topic_->internal)
      return refuse(index, ErrorCode::kInvalidTopicException, "clients may not produce to internal topics");
    if (!checked_) {
      auto checked = check_batch(writable(data.records.value_or(ByteView{})), topic_->config,
                                 request_.header.api_version, to_unix_ms(core_.clock.wall_now()));
      if (!checked) return refuse(index, std::move(checked).error());
      checked_ = std::move(*checked);
    }
    log::AppendOptions options{.when_full = log::WhenFull::kRefuse, .room = &room_};
    if (topic_->config.log_append_time) options.timestamp_type = record::TimestampType::kLogAppendTime;
    const auto appended = (*partition)->append(checked_->stored, options);
    room_ = {};
    if (!appended) {
      if (appended.error().code != Errc::kNotFound && core_.notes.pass())
        log_warning("broker", "produce to {}-{} failed: {}", topic_->name(), index, appended.error().message);
      return refuse(index, to_wire(appended.error().code), appended.error().message);
    }
    if (appended->outcome == log::AppendOutcome::kNoRoom) {
      wait_for_room();
      return std::nullopt;
    }
    if (appended->outcome == log::AppendOutcome::kInvalidTxnState) return outside_transaction(index);
    return answer_of(index, *appended);
  }

  PartitionResponse answer_of(int32_t index, const log::Appended& appended) {
    if (const auto error = to_wire(appended.outcome); error != ErrorCode::kNone)
      return refuse(index, error, "the producer's sequence or epoch does not follow its last batch");
    last_ = std::max(last_, appended.position);
    appended_any_ = true;
    if (appended.outcome == log::AppendOutcome::kAppended) {
      for (TopicTraffic* traffic : {topic_->traffic.get(), &core_.topics.traffic()}) {
        traffic->records_in.add(static_cast<uint64_t>(checked_->records));
        traffic->bytes_in.add(checked_->stored.size());
      }
    }
    PartitionResponse response;
    response.index = index;
    response.base_offset = appended.base_offset.value();
    response.log_append_time_ms = appended.log_append_time_ms;
    response.log_start_offset = appended.log_start_offset.value();
    return response;
  }

  // The log knows who may write, so it is asked first: only the first batch of a transaction in a partition comes here.
  // handle_produce() has seen that the request names a transactional id.
  std::optional<PartitionResponse> outside_transaction(int32_t index) {
    const auto batch = record::BatchView::first_of(checked_->stored);
    if (!batch->is_transactional())
      return refuse(index, ErrorCode::kInvalidTxnState,
                    "the producer has a transaction here, which this is no part of");
    const bool adds_itself = request_.header.api_version >= kAddsFrom;
    // Each transaction has an epoch, and so sequences, of its own: the batches before this one are missing.
    const bool comes_too_early = adds_itself && batch->base_sequence() != 0;
    const bool adds = adds_itself && !comes_too_early;
    if (!std::exchange(adds ? asked_to_add_ : asked_whether_added_, true)) {
      std::vector<coord::TopicPartition> partitions{{topic_->name(), PartitionId{index}}};
      if (adds) partitions = partitions_left();
      ask_coordinator({{},
                       *message_.transactional_id,
                       {batch->producer_id(), batch->producer_epoch()},
                       std::move(partitions),
                       !adds});
      return std::nullopt;
    }
    if (adding_error_)
      return refuse(index, *adding_error_, "the partition is not in an open transaction of the producer");
    if (comes_too_early)
      return refuse(
          index, ErrorCode::kOutOfOrderSequenceNumber,
          fmt::format("sequence {} cannot be the first of a transaction in its partition", batch->base_sequence()));
    const ErrorCode unadded =
        request_.header.api_version >= kAbortableFrom ? ErrorCode::kTransactionAbortable : ErrorCode::kInvalidTxnState;
    return refuse(index, unadded, "the partition is not in an open transaction of the producer");
  }

  // Adding is for this batch's partition and those of the batches after it, in one question. A batch whose transaction
  // ends before it is appended is refused by the log, however the question was answered.
  void ask_coordinator(coord::AddPartitionsRequest question) {
    hold();
    const bool only_asks = question.verify_only;
    ask_transactions<coord::AddPartitionsReply>(
        core_, std::move(question), [self = shared_from_this(), only_asks](const coord::AddPartitionsReply& reply) {
          self->request_.reply.home().post([self, only_asks, error = reply.error] {
            const bool is_unadded = only_asks && error == coord::TransactionError::kInvalidTxnState;
            if (error != coord::TransactionError::kNone && !is_unadded) self->adding_error_ = adding_error(error);
            self->run();
          });
        });
  }

  // Whether a batch may be the first of a transaction in its partition.
  static bool may_begin(const PartitionData& data) {
    const auto batch = record::BatchView::first_of(data.records.value_or(ByteView{}));
    return batch && batch->base_sequence() == 0;
  }

  // Each once, however often the request names it.
  std::vector<coord::TopicPartition> partitions_left() const {
    std::set<coord::TopicPartition> left;
    size_t first = response_.responses.back().partition_responses.size();
    for (size_t i = topic_at_; i < message_.topic_data.size(); ++i, first = 0) {
      const auto& topic = message_.topic_data[i];
      const auto state = topics_->find(topic.name);
      if (state == nullptr || state->internal) continue;
      for (size_t p = first; p < topic.partition_data.size(); ++p)
        if (const auto& data = topic.partition_data[p]; state->partition(data.index) != nullptr && may_begin(data))
          left.insert({topic.name, PartitionId{data.index}});
    }
    return {left.begin(), left.end()};
  }

  void wait_for_room() {
    hold();
    core_.store.when_room(checked_->stored.size(), [self = shared_from_this()](log::Room room) {
      self->request_.reply.home().post([self, room = std::move(room)]() mutable {
        self->room_ = std::move(room);
        self->run();
      });
    });
  }

  void hold() {
    if (!std::exchange(held_, true)) request_.reply.hold_next();
  }

  void finish() {
    response_.throttle_time_ms = charge(core_, request_, QuotaKind::kProduce, request_.frame->size());
    // Their memory goes back at once.
    message_ = {};
    request_.body = ByteReader({});
    request_.frame.reset();
    topics_.reset();
    topic_.reset();
    if (held_) request_.reply.release_next();
    if (acks_ == 0) return finish_unacknowledged(request_, response_);
    if (!appended_any_) return answer({});
    // The log's thread only hands over: what it spends here, the next sync waits for.
    core_.store.when_durable(last_, [self = shared_from_this()](const Status& durable) {
      Executor& home = self->request_.reply.home();
      if (home.is_current()) return self->answer(durable);
      home.post([self, durable] { self->answer(durable); });
    });
  }

  void answer(const Status& durable) {
    if (!durable) {
      for_each_partition(response_, [&](PartitionResponse& partition) {
        if (partition.error_code == ErrorCode::kNone)
          partition = refuse(partition.index, to_wire(durable.error().code), durable.error().message);
      });
    }
    fit_to_version(response_, request_.header.api_version);
    respond(request_, response_);
  }

  // The frame is ours, so offsets are set in it rather than in a copy.
  std::span<std::byte> writable(ByteView records) const {
    if (records.empty()) return {};
    Frame& frame = *request_.frame;
    return {frame.data() + (records.data() - frame.view().data()), records.size()};
  }

  Core& core_;
  Request request_;
  wire::ProduceRequest message_;
  const int16_t acks_;
  std::shared_ptr<const TopicTable> topics_;

  // Where it stands: the answers say how far. The batch that is next, where it was looked at already.
  size_t topic_at_ = 0;
  std::shared_ptr<const TopicState> topic_;
  std::optional<CheckedBatch> checked_;
  log::Room room_;
  bool held_ = false;
  bool asked_to_add_ = false;
  bool asked_whether_added_ = false;
  std::optional<ErrorCode> adding_error_;

  wire::ProduceResponse response_;
  bool appended_any_ = false;
  log::WalPosition last_{0};
};

}  // namespace

void handle_produce(Core& core, Request request, wire::ProduceRequest message) {
  const bool is_nobodys = !message.transactional_id && has_transactional_batch(message);
  if (!is_nobodys && message.acks >= -1 && message.acks <= 1)
    return std::make_shared<ProduceTask>(core, std::move(request), std::move(message))->run();
  wire::ProduceResponse refused;
  if (is_nobodys) {
    refuse_all(refused, message, ErrorCode::kTransactionalIdAuthorizationFailed,
               "a transactional batch in a request that names no transactional id");
  } else {
    refuse_all(refused, message, ErrorCode::kInvalidRequiredAcks, fmt::format("acks={}", message.acks));
  }
  if (message.acks == 0) return finish_unacknowledged(request, refused);
  fit_to_version(refused, request.header.api_version);
  respond(request, refused);
}

}  // namespace millrace::broker
