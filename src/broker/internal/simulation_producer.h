#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/internal/simulation_stage.h"
#include "record/records.h"
#include "wire/add_offsets_to_txn.h"
#include "wire/add_partitions_to_txn.h"
#include "wire/end_txn.h"
#include "wire/init_producer_id.h"
#include "wire/produce.h"
#include "wire/txn_offset_commit.h"

namespace millrace::broker {

// A producer as clients are: idempotent, with up to five requests on their way, each sent again until it is answered;
// with a transactional id it writes in transactions, with its group's offsets in some of them. Of these some speak
// transaction version 1, some version 2 (KIP-890), and some what clients spoke between them: the epoch is raised with
// each transaction, but partitions are added by name.
class SimulatedProducer final : public SimulatedClient {
 public:
  // `transactional_id`: empty for one that is idempotent only.
  SimulatedProducer(SimulatedStage stage, std::string name, std::string transactional_id)
      : SimulatedClient(stage, std::move(name)),
        transactional_id_(std::move(transactional_id)),
        group_("offsets of " + transactional_id_),
        raises_epoch_(stage_.random.chance(0.7)),
        adds_implicitly_(raises_epoch_ && stage_.random.chance(0.7)),
        in_flight_max_(1 + stage_.random.below(kInFlightMax)),
        timeout_(stage_.random.chance(0.3) ? 2'000 : 20'000) {
    steps_.push_back(std::make_shared<Step>(Step{.kind = Step::kInit}));
  }

  void act() override {
    if (is_dead() || stage_.clock.mono_now() < asleep_until_) return;
    if (steps_.empty()) plan();
    for (size_t i = 0; i < steps_.size() && i < in_flight_max_; ++i) {
      // Batches go out one behind the other, all else alone.
      if (i > 0 && steps_[i]->kind != Step::kProduce) return;
      if (!steps_[i]->in_flight) return send(steps_[i]);
      if (steps_[i]->kind != Step::kProduce) return;
    }
  }
  void crash() override {
    SimulatedClient::crash();
    lose_connections();
  }
  void lose_connections() {
    if (data_ != nullptr) stage_.network.lose(data_);
    if (coordinator_ != nullptr) stage_.network.lose(coordinator_);
  }
  // Another process is started for the transactional id, or was and is late: being fenced is what this must expect.
  void supersede() { is_superseded_ = true; }
  const std::string& transactional_id() const { return transactional_id_; }
  // Whether something that it has begun is not at its end.
  bool is_busy() const { return !is_dead() && !steps_.empty(); }

 private:
  static constexpr size_t kInFlightMax = 5;  // as many as the broker can tell from new ones when they come again

  struct Batch {
    int32_t partition;
    std::vector<int> records;
    Bytes bytes;
    bool is_done = false;
  };
  struct Step {
    enum Kind { kInit, kAddPartitions, kProduce, kAddOffsets, kCommitOffsets, kEnd };
    Kind kind = kInit;
    std::vector<int32_t> partitions{};
    std::vector<std::shared_ptr<Batch>> batches{};  // of one request, each to a partition of its own
    bool commit = false;
    bool in_flight = false;
    bool is_sent = false;
  };
  using StepPtr = std::shared_ptr<Step>;

  // --- What to do next

  void plan() {
    if (is_calm_) return;
    if (transactional_id_.empty()) {
      for (uint64_t i = 0; i <= stage_.random.below(6); ++i) add_batches({0, 1, 2});
      return;
    }
    // The process is busy elsewhere now and then, longer than its transaction may take.
    if (stage_.random.chance(0.05)) stalls_ = true;
    transaction_ = stage_.referee.begin_transaction(transactional_id_, group_);
    began_.reset();
    offset_.reset();
    std::vector<int32_t> in_use;
    for (int32_t p = 0; p < kSimulatedPartitions; ++p)
      if (stage_.random.chance(0.6)) in_use.push_back(p);
    if (in_use.empty()) in_use.push_back(any_partition());
    if (!adds_implicitly_) add_step(Step::kAddPartitions, in_use);
    const bool aborts_early = stage_.random.chance(0.15);
    const bool has_offsets = !aborts_early && stage_.random.chance(0.5);
    const bool offsets_first = stage_.random.chance(0.2);
    if (has_offsets && offsets_first) plan_offsets();
    const uint64_t requests = 1 + stage_.random.below(6);
    for (uint64_t i = 0; i < requests; ++i) add_batches(in_use);
    if (has_offsets && !offsets_first) plan_offsets();
    add_step(Step::kEnd)->commit = !aborts_early && stage_.random.chance(0.75);
  }

  void plan_offsets() {
    if (!raises_epoch_ || (!adds_implicitly_ && stage_.random.chance(0.5))) add_step(Step::kAddOffsets);
    add_step(Step::kCommitOffsets);
  }

  int32_t any_partition() { return static_cast<int32_t>(stage_.random.below(kSimulatedPartitions)); }

  StepPtr add_step(Step::Kind kind, std::vector<int32_t> partitions = {}) {
    steps_.push_back(std::make_shared<Step>(Step{.kind = kind, .partitions = std::move(partitions)}));
    return steps_.back();
  }

  // One request with batches for some of `partitions`.
  void add_batches(const std::vector<int32_t>& partitions) {
    const StepPtr step = add_step(Step::kProduce);
    for (const int32_t partition : partitions)
      if (stage_.random.chance(0.3)) step->batches.push_back(make_batch(partition));
    if (step->batches.empty()) step->batches.push_back(make_batch(partitions[stage_.random.below(partitions.size())]));
  }

  std::shared_ptr<Batch> make_batch(int32_t partition) {
    auto batch = std::make_shared<Batch>(Batch{.partition = partition, .records = {}, .bytes = {}});
    const bool transactional = !transactional_id_.empty();
    int32_t& sequence = sequences_[partition];
    record::BatchBuilder builder({.producer_id = producer_.id,
                                  .producer_epoch = producer_.epoch,
                                  .base_sequence = sequence,
                                  .transactional = transactional});
    for (uint64_t i = 0; i <= stage_.random.below(3); ++i) {
      const int record = stage_.referee.new_record(partition, producer_,
                                                   transactional ? transaction_ : SimulatedReferee::kNoTransaction);
      const std::string value = std::to_string(record);
      builder.add(1'767'225'600'000, std::nullopt, as_byte_view(value));
      batch->records.push_back(record);
      ++sequence;
    }
    batch->bytes = builder.finish().value();
    return batch;
  }

  // --- Requests

  void send(const StepPtr& step) {
    step->in_flight = true;
    const bool again = std::exchange(step->is_sent, true);
    // A raise of the epoch whose answer was lost is known as such until the broker starts again, as in Kafka, whose
    // records do not keep it: then the producer fences itself.
    if (step->kind == Step::kInit && again && producer_.id != kNoProducerId) supersede();
    switch (step->kind) {
      case Step::kInit:
        return send_init(step);
      case Step::kAddPartitions:
        return send_add_partitions(step);
      case Step::kProduce:
        return send_batches(step);
      case Step::kAddOffsets:
        return send_add_offsets(step);
      case Step::kCommitOffsets:
        return send_offsets(step);
      case Step::kEnd:
        return send_end(step);
    }
  }

  std::string who() const {
    return name() + " " + std::to_string(producer_.id.value()) + "/" + std::to_string(producer_.epoch.value());
  }

  void send_init(const StepPtr& step) {
    wire::InitProducerIdRequest request;
    request.transactional_id.reset();
    const bool goes_on = producer_.id != kNoProducerId;
    if (!transactional_id_.empty()) {
      request.transactional_id = transactional_id_;
      request.transaction_timeout_ms = static_cast<int32_t>(timeout_.count());
      if (goes_on) {
        request.producer_id = producer_.id.value();
        request.producer_epoch = producer_.epoch.value();
      } else {
        takeover_ = stage_.referee.takeover_asked(transactional_id_);
      }
    }
    stage_.network.send<wire::InitProducerIdRequest>(
        coordinator(), who() + ": InitProducerId", request, 4,
        [this, step](const wire::InitProducerIdResponse* answer) {
          if (!take(step, answer == nullptr ? std::nullopt : std::optional(answer->error_code), "InitProducerId"))
            return;
          producer_ = {ProducerId{answer->producer_id}, ProducerEpoch{answer->producer_epoch}};
          sequences_.clear();
        },
        [this, goes_on](const wire::InitProducerIdResponse& answer) {
          if (transactional_id_.empty()) return;
          if (!goes_on && stage_.referee.took_over(transactional_id_)) supersede();
          if (answer.error_code == wire::ErrorCode::kNone)
            stage_.referee.fenced_below({ProducerId{answer.producer_id}, ProducerEpoch{answer.producer_epoch}});
        });
  }

  void send_add_partitions(const StepPtr& step) {
    wire::AddPartitionsToTxnRequest request;
    request.v3_and_below_transactional_id = transactional_id_;
    request.v3_and_below_producer_id = producer_.id.value();
    request.v3_and_below_producer_epoch = producer_.epoch.value();
    request.v3_and_below_topics.push_back({kSimulatedTopic, step->partitions});
    note_begin();
    stage_.network.send<wire::AddPartitionsToTxnRequest>(
        coordinator(), who() + ": AddPartitionsToTxn", request, 3,
        [this, step](const wire::AddPartitionsToTxnResponse* answer) {
          std::optional<wire::ErrorCode> error;
          if (answer != nullptr)
            error = answer->results_by_topic_v3_and_below.at(0).results_by_partition.at(0).partition_error_code;
          take(step, error, "AddPartitionsToTxn");
        });
  }

  void send_batches(const StepPtr& step) {
    wire::ProduceRequest request;
    if (!transactional_id_.empty()) request.transactional_id = transactional_id_;
    request.acks = -1;
    request.timeout_ms = 10'000;
    auto& topic = request.topic_data.emplace_back();
    topic.name = kSimulatedTopic;
    std::vector<std::shared_ptr<Batch>> sent;
    std::string what = who() + ": Produce";
    for (const auto& batch : step->batches) {
      if (batch->is_done) continue;
      sent.push_back(batch);
      topic.partition_data.push_back({batch->partition, ByteView(batch->bytes)});
      what += " " + std::to_string(batch->records.front()) + ".." + std::to_string(batch->records.back()) + " to " +
              std::to_string(batch->partition);
    }
    if (adds_implicitly_) note_begin();
    stage_.network.send<wire::ProduceRequest>(
        open(data_), what, request, adds_implicitly_ ? 12 : 11,
        [this, step, sent](const wire::ProduceResponse* answer) {
          if (answer == nullptr) return static_cast<void>(take(step, std::nullopt, "Produce"));
          wire::ErrorCode error = wire::ErrorCode::kNone;
          for (size_t i = 0; i < sent.size(); ++i) {
            const auto one = outcome(*answer, i).error_code;
            if (one == wire::ErrorCode::kKafkaStorageError) stage_.referee.refused();
            if (one == wire::ErrorCode::kNone) {
              sent[i]->is_done = true;
            } else if (!must_wait(step, *sent[i], one) &&
                       (error == wire::ErrorCode::kNone || wire::is_retriable(error))) {
              error = one;
            }
          }
          if (error != wire::ErrorCode::kNone || std::ranges::all_of(sent, &Batch::is_done, &deref)) {
            take(step, error, "Produce");
          } else {
            step->in_flight = false;
          }
        },
        [&referee = stage_.referee, sent](const wire::ProduceResponse& answer) {
          for (size_t i = 0; i < sent.size(); ++i) {
            if (outcome(answer, i).error_code == wire::ErrorCode::kNone)
              referee.produced(sent[i]->records, Offset{outcome(answer, i).base_offset});
          }
        });
  }

  static const wire::ProduceResponse::PartitionProduceResponse& outcome(const wire::ProduceResponse& answer, size_t i) {
    return answer.responses.at(0).partition_responses.at(i);
  }
  static const Batch& deref(const std::shared_ptr<Batch>& batch) { return *batch; }

  // Whether the batch was refused because one before it was.
  bool must_wait(const StepPtr& step, const Batch& batch, wire::ErrorCode error) const {
    if (error != wire::ErrorCode::kOutOfOrderSequenceNumber) return false;
    for (const StepPtr& earlier : steps_) {
      if (earlier == step) return false;
      for (const auto& one : earlier->batches)
        if (one->partition == batch.partition && !one->is_done) return true;
    }
    return true;  // the step is of no interest any more
  }

  void send_add_offsets(const StepPtr& step) {
    wire::AddOffsetsToTxnRequest request;
    request.transactional_id = transactional_id_;
    request.producer_id = producer_.id.value();
    request.producer_epoch = producer_.epoch.value();
    request.group_id = group_;
    stage_.network.send<wire::AddOffsetsToTxnRequest>(
        coordinator(), who() + ": AddOffsetsToTxn", request, 3,
        [this, step](const wire::AddOffsetsToTxnResponse* answer) {
          take(step, answer == nullptr ? std::nullopt : std::optional(answer->error_code), "AddOffsetsToTxn");
        });
  }

  void send_offsets(const StepPtr& step) {
    wire::TxnOffsetCommitRequest request;
    request.transactional_id = transactional_id_;
    request.group_id = group_;
    request.producer_id = producer_.id.value();
    request.producer_epoch = producer_.epoch.value();
    auto& topic = request.topics.emplace_back();
    topic.name = kSimulatedTopic;
    // A transaction's number as its position: later transactions go further.
    const Offset offset{transaction_};
    if (adds_implicitly_) note_begin();
    topic.partitions.push_back({.partition_index = 0, .committed_offset = offset.value()});
    stage_.network.send<wire::TxnOffsetCommitRequest>(
        coordinator(), who() + ": TxnOffsetCommit", request, raises_epoch_ ? 5 : 3,
        [this, step, offset](const wire::TxnOffsetCommitResponse* answer) {
          std::optional<wire::ErrorCode> error;
          if (answer != nullptr) error = answer->topics.at(0).partitions.at(0).error_code;
          if (take(step, error, "TxnOffsetCommit")) offset_ = offset;
        });
  }

  void send_end(const StepPtr& step) {
    wire::EndTxnRequest request;
    request.transactional_id = transactional_id_;
    request.producer_id = producer_.id.value();
    request.producer_epoch = producer_.epoch.value();
    request.committed = step->commit;
    if (step->commit) stage_.referee.commit_asked(transaction_, offset_);
    stage_.network.send<wire::EndTxnRequest>(
        coordinator(), who() + (step->commit ? ": commit " : ": abort ") + std::to_string(transaction_), request,
        raises_epoch_ ? 5 : 3,
        [this, step](const wire::EndTxnResponse* answer) {
          if (!take(step, answer == nullptr ? std::nullopt : std::optional(answer->error_code), "EndTxn")) return;
          began_.reset();
          if (raises_epoch_) {
            producer_ = {ProducerId{answer->producer_id}, ProducerEpoch{answer->producer_epoch}};
            sequences_.clear();
          } else if (!step->commit && steps_.empty() && stage_.random.chance(0.2)) {
            add_step(Step::kInit);  // KIP-360: begin anew with another epoch
          }
        },
        [&referee = stage_.referee, transaction = transaction_, commit = step->commit,
         raises = raises_epoch_](const wire::EndTxnResponse& answer) {
          if (answer.error_code != wire::ErrorCode::kNone) return;
          if (raises) referee.fenced_below({ProducerId{answer.producer_id}, ProducerEpoch{answer.producer_epoch}});
          referee.ended(transaction, commit);
        });
  }

  // --- Answers

  // Whether the step is done. `error`: nothing where the answer was lost.
  bool take(const StepPtr& step, std::optional<wire::ErrorCode> error, const char* what) {
    if (is_dead() || std::ranges::find(steps_, step) == steps_.end()) return false;
    step->in_flight = false;
    if (!error && step->kind == Step::kProduce && !transactional_id_.empty() && stage_.random.chance(0.2)) give_up();
    if (!error || wire::is_retriable(*error)) return false;
    // The last but one is told where its transaction has ended between two looks at it, the last where it was aborted
    // before its commit.
    if (is_fenced(*error) || *error == wire::ErrorCode::kTransactionAbortable ||
        (step->kind == Step::kEnd && *error == wire::ErrorCode::kInvalidTxnState)) {
      if (!may_be_fenced()) undeserved(what, *error);
      die();
      return false;
    }
    if (*error != wire::ErrorCode::kNone) {
      undeserved(what, *error);
      die();
      return false;
    }
    std::erase(steps_, step);
    if (std::exchange(stalls_, false)) asleep_until_ = stage_.clock.mono_now() + 2 * timeout_;
    return true;
  }

  // Before KIP-890 a request of a transaction that has ended, coming late, would count for the next one: a weakness of
  // the protocol, and none of the broker's.
  Link& coordinator() { return open(coordinator_, raises_epoch_); }

  // End the transaction without knowing what became of its last batches: they may come late. A new epoch keeps their
  // sequence numbers from those that follow.
  void give_up() {
    steps_.clear();
    add_step(Step::kEnd);
    if (!raises_epoch_) add_step(Step::kInit);
  }

  void note_begin() {
    if (!began_) began_ = stage_.clock.mono_now();
  }
  bool may_be_fenced() const {
    if (is_superseded_ || stage_.referee.takeovers_asked(transactional_id_) > takeover_) return true;
    return began_ && stage_.clock.mono_now() - *began_ >= timeout_;
  }

  const std::string transactional_id_;
  const std::string group_;
  const bool raises_epoch_;     // EndTxn as of KIP-890
  const bool adds_implicitly_;  // Produce and TxnOffsetCommit, too
  const size_t in_flight_max_;
  const std::chrono::milliseconds timeout_;
  LinkPtr data_;
  LinkPtr coordinator_;
  coord::Producer producer_;
  std::map<int32_t, int32_t> sequences_;  // the next, by partition
  std::deque<StepPtr> steps_;             // what is still to be done, in order
  int transaction_ = SimulatedReferee::kNoTransaction;
  std::optional<Offset> offset_;   // that the transaction holds
  std::optional<MonoTime> began_;  // the transaction, at the earliest
  MonoTime asleep_until_;
  bool stalls_ = false;
  bool is_superseded_ = false;
  int takeover_ = 0;  // which of those of the transactional id
};

}  // namespace millrace::broker
