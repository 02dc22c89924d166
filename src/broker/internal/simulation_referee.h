#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "broker/internal/simulation_broker.h"
#include "coord/types.h"
#include "record/marker.h"
#include "record/records.h"

namespace millrace::broker {

// What the simulation's producers have sent and been told, held against what is durable in the log: read anew after
// each step, and wholly after each start of the broker.
//
// A record's value is its number in the order of sending, so each must be found at most once, in its partition, from
// its producer, in its transaction.
class SimulatedReferee {
 public:
  static constexpr int kNoTransaction = -1;

  // --- What clients do

  int begin_transaction(const std::string& id, const std::string& group) {
    transactions_.push_back({.group = group});
    ids_[group] = id;
    return static_cast<int>(transactions_.size()) - 1;
  }
  int new_record(int32_t partition, const coord::Producer& producer, int transaction) {
    records_.push_back({partition, producer, transaction});
    return static_cast<int>(records_.size()) - 1;
  }
  // InitProducerId of a new process is sent for `id`: whichever arrives last takes it over. How many there were so far.
  int takeover_asked(const std::string& id) {
    ++takeovers_[id].open;
    return ++takeovers_[id].asked;
  }
  int takeovers_asked(const std::string& id) { return takeovers_[id].asked; }

  // From now on the transaction may be committed, with `offset` as its group's position where it has one.
  void commit_asked(int transaction, std::optional<Offset> offset) {
    transactions_[index(transaction)].commit_asked = true;
    transactions_[index(transaction)].offset = offset;
  }

  // --- What the broker lets out

  void produced(const std::vector<int>& records, Offset base_offset) {
    look();
    const int32_t partition = records_[index(records.front())].partition;
    const auto& history = partitions_[index(partition)].history;
    for (size_t i = 0; i < records.size(); ++i) {
      const size_t at = static_cast<size_t>(base_offset.value()) + i;
      ASSERT_LT(at, history.size()) << "record " << records[i] << " is acknowledged, but not durable";
      EXPECT_EQ(history[at].record, records[i]) << "acknowledged at " << partition << "@" << at;
    }
    acknowledged_ += records.size();
  }
  // InitProducerId of a new process was answered. Whether another is on its way still.
  bool took_over(const std::string& id) { return --takeovers_[id].open > 0; }
  // EndTxn succeeded.
  void ended(int transaction, bool commit) {
    look();
    Transaction& ended = transactions_[index(transaction)];
    (commit ? ended.commit_told : ended.abort_told) = true;
    check_told(transaction);
    if (commit) ++commits_;
  }
  // Nothing of the producer's with a smaller epoch may be appended any more.
  void fenced_below(const coord::Producer& producer) {
    look();
    Floor& floor = floors_[producer.id];
    EXPECT_GE(producer.epoch, floor.epoch) << "an epoch of producer " << producer.id.value() << " goes back";
    floor.epoch = std::max(floor.epoch, producer.epoch);
    for (size_t p = 0; p < partitions_.size(); ++p)
      floor.from[p] = broker_->partition(static_cast<int32_t>(p))->log_end_offset();
    for (size_t p = 0; p < partitions_.size(); ++p) {
      const auto open = partitions_[p].open.find(producer.id);
      if (open == partitions_[p].open.end()) continue;
      EXPECT_GE(records_[index(partitions_[p].history[index(open->second.value())].record)].producer.epoch, floor.epoch)
          << "producer " << producer.id.value() << " has got an epoch, and its last transaction is open";
    }
  }
  // The position of a transactional producer's group, as OffsetFetch told it; `at_least` is what it was known to be
  // when the request came.
  void offset_told(const std::string& group, Offset told, Offset at_least) {
    look();
    EXPECT_GE(told, at_least) << "the position of " << group << " goes back";
    EXPECT_LE(told, committed_offset(group)) << "the position of " << group << " is not committed";
    const bool known = told.value() < 0 || std::ranges::any_of(
                                               transactions_,
                                               [&](const Transaction& one) {
                                                 return one.group == group && one.outcome == true && one.offset == told;
                                               });
    EXPECT_TRUE(known) << group << " is at " << told.value() << ", which no transaction committed";
  }

  // --- What consumers see

  // A fetch from `from` made them go on at `next`, having seen `values`.
  void consumed(int32_t partition, Offset from, Offset next, const std::vector<int>& values, bool committed_only) {
    look();
    const Partition& known = partitions_[index(partition)];
    ASSERT_LE(static_cast<size_t>(next.value()), known.history.size()) << "a consumer saw what is not durable";
    if (committed_only) EXPECT_LE(next, last_stable(known)) << "read_committed goes beyond the last stable offset";
    std::vector<int> expected;
    for (Offset at = from; at < next; at = at + 1) {
      const Entry& entry = known.history[index(at.value())];
      if (entry.record >= 0 && (!committed_only || is_visible(entry.record))) expected.push_back(entry.record);
    }
    EXPECT_EQ(values, expected) << partition << ": " << from.value() << ".." << next.value()
                                << (committed_only ? " read_committed" : " read_uncommitted");
    consumed_ += values.size();
  }

  // --- After each step

  // A broker has started.
  void started(SimulatedBroker& broker) {
    broker_ = &broker;
    const auto before = std::exchange(partitions_, {});
    for (Transaction& transaction : transactions_) transaction.outcome.reset();
    for (auto& [id, takeovers] : takeovers_) takeovers.open = 0;  // what was on its way is gone
    for (auto& [id, floor] : floors_)
      for (size_t p = 0; p < partitions_.size(); ++p)
        floor.from[p] = Offset{static_cast<int64_t>(before[p].history.size())};
    look();
    for (size_t p = 0; p < before.size(); ++p) {
      const auto& was = before[p].history;
      const auto& is = partitions_[p].history;
      ASSERT_GE(is.size(), was.size()) << "partition " << p << " has lost what was durable";
      EXPECT_TRUE(std::equal(was.begin(), was.end(), is.begin())) << "partition " << p << " has changed";
    }
    for (size_t t = 0; t < transactions_.size(); ++t) check_told(static_cast<int>(t));
  }
  // The coordinator of groups has been built from the log.
  void built() {
    look();
    for (const auto& [group, id] : groups()) {
      const auto* offset = broker_->groups().coordinator().committed_offset(group, kSimulatedTopic, PartitionId{0});
      EXPECT_EQ(offset == nullptr ? Offset{-1} : offset->offset, committed_offset(group)) << group << " after a start";
    }
  }

  // Take up what has become durable.
  void look() {
    bool decided = false;
    for (size_t p = 0; p < partitions_.size(); ++p) decided |= look_at(static_cast<int32_t>(p));
    if (decided) check_atomic();
  }

  void check() {
    look();
    for (size_t p = 0; p < partitions_.size(); ++p) {
      const auto& partition = broker_->partition(static_cast<int32_t>(p));
      EXPECT_EQ(partition->last_stable_offset(), last_stable(partitions_[p])) << "last stable offset of " << p;
    }
    check_pending();
  }

  // Nothing is going on any more.
  void check_quiet() {
    check();
    for (size_t p = 0; p < partitions_.size(); ++p)
      EXPECT_TRUE(partitions_[p].open.empty()) << "partition " << p << " has an open transaction";
    EXPECT_EQ(broker_->transactions().coordinator().ongoing(), 0u);
    for (const auto& [group, id] : groups())
      EXPECT_FALSE(broker_->groups().coordinator().has_pending_offset(group, kSimulatedTopic, PartitionId{0}))
          << group << " has a position that is not decided";
  }

  // The position that the transactions with an end in the log have given the group.
  Offset committed_offset(const std::string& group) const {
    Offset offset{-1};
    for (const Transaction& one : transactions_) {
      if (one.group == group && one.outcome == true && one.offset) offset = std::max(offset, *one.offset);
    }
    return offset;
  }
  Offset durable_end(int32_t partition) const {
    return Offset{static_cast<int64_t>(partitions_[index(partition)].history.size())};
  }
  // Groups of transactional producers, and their transactional ids.
  const std::map<std::string, std::string>& groups() const { return ids_; }

  // A batch was refused for want of room.
  void refused() { ++refused_; }
  size_t refusals() const { return refused_; }
  size_t acknowledged() const { return acknowledged_; }
  size_t commits() const { return commits_; }
  size_t aborts() const {
    return static_cast<size_t>(
        std::ranges::count_if(transactions_, [](const Transaction& one) { return one.outcome == false; }));
  }
  size_t consumed() const { return consumed_; }

 private:
  struct Record {
    int32_t partition;
    coord::Producer producer;
    int transaction;
  };
  struct Transaction {
    std::string group;
    bool commit_asked = false;
    std::optional<Offset> offset = std::nullopt;
    bool commit_told = false;
    bool abort_told = false;
    std::optional<bool> outcome = std::nullopt;  // by the first marker that was found: committed or not
  };
  // What lies at an offset: a record by its number, or a marker.
  struct Entry {
    int record = -1;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct ProducerState {
    ProducerEpoch epoch = kNoProducerEpoch;
    int32_t next_sequence = 0;
  };
  struct Partition {
    std::vector<Entry> history;
    std::map<ProducerId, ProducerState> producers;
    std::map<ProducerId, Offset> open;  // where each open transaction begins
    std::set<int> records;              // that were found
    std::map<int, bool> decided;        // transactions whose marker was found: committed or not
    std::set<int> undecided;            // those with records only
  };
  struct Takeovers {
    int asked = 0;
    int open = 0;  // without an answer
  };
  struct Floor {
    ProducerEpoch epoch = kNoProducerEpoch;
    std::array<Offset, kSimulatedPartitions> from{};
  };

  template <typename Number>
  static size_t index(Number number) {
    return static_cast<size_t>(number);
  }

  static Offset last_stable(const Partition& partition) {
    Offset stable{static_cast<int64_t>(partition.history.size())};
    for (const auto& [producer, first] : partition.open) stable = std::min(stable, first);
    return stable;
  }

  bool is_visible(int record) const {
    const int transaction = records_[index(record)].transaction;
    return transaction == kNoTransaction || transactions_[index(transaction)].outcome == true;
  }

  // Whether transactions were decided.
  bool look_at(int32_t number) {
    Partition& known = partitions_[index(number)];
    const auto& log = broker_->partition(number);
    bool decided = false;
    while (durable_end(number) < log->high_watermark()) {
      Bytes bytes;
      const auto read = log->read(durable_end(number), 1 << 20, true, bytes);
      if (!read || bytes.empty()) {
        ADD_FAILURE() << "partition " << number << " cannot be read at " << known.history.size() << ": "
                      << (read ? "nothing there" : read.error().message);
        return decided;
      }
      record::BatchReader reader(bytes);
      while (true) {
        const auto batch = reader.next();
        if (!batch || !*batch) break;
        EXPECT_EQ((*batch)->base_offset(), durable_end(number));
        decided |= (*batch)->is_control();
        (*batch)->is_control() ? take_marker(number, **batch) : take_records(number, **batch);
      }
    }
    return decided;
  }

  void take_records(int32_t number, const record::BatchView& batch) {
    Partition& known = partitions_[index(number)];
    const coord::Producer producer{batch.producer_id(), batch.producer_epoch()};
    check_sequence(number, batch);
    auto records = record::RecordReader::open(batch, 1 << 20);
    record::Record record;
    while (records->next(record).value_or(false)) {
      const auto value = static_cast<int>(parse_int64(as_text(record.value.value())).value_or(-1));
      ASSERT_TRUE(value >= 0 && index(value) < records_.size()) << "nobody sent this";
      const Record& sent = records_[index(value)];
      EXPECT_TRUE(known.records.insert(value).second) << "record " << value << " is there twice";
      EXPECT_EQ(sent.partition, number);
      EXPECT_EQ(sent.producer, producer);
      EXPECT_EQ(batch.is_transactional(), sent.transaction != kNoTransaction);
      if (sent.transaction != kNoTransaction) {
        EXPECT_FALSE(known.decided.contains(sent.transaction)) << "record " << value << " comes after its marker";
        const auto [open, is_first] = known.open.try_emplace(producer.id, durable_end(number));
        if (!is_first) {
          EXPECT_EQ(records_[index(known.history[index(open->second.value())].record)].transaction, sent.transaction)
              << "two transactions of producer " << producer.id.value() << " without a marker between them";
        }
        known.undecided.insert(sent.transaction);
      }
      known.history.push_back({value});
    }
  }

  void check_sequence(int32_t number, const record::BatchView& batch) {
    Partition& known = partitions_[index(number)];
    ProducerState& state = known.producers[batch.producer_id()];
    EXPECT_GE(batch.producer_epoch(), state.epoch) << "a fenced producer has written to " << number;
    if (batch.producer_epoch() != state.epoch) state = {batch.producer_epoch(), 0};
    EXPECT_EQ(batch.base_sequence(), state.next_sequence) << "producer " << batch.producer_id().value();
    state.next_sequence = batch.last_sequence() + 1;
    const auto floor = floors_.find(batch.producer_id());
    if (floor != floors_.end() && batch.base_offset() >= floor->second.from[index(number)])
      EXPECT_GE(batch.producer_epoch(), floor->second.epoch) << "a zombie has written to " << number;
  }

  void take_marker(int32_t number, const record::BatchView& batch) {
    Partition& known = partitions_[index(number)];
    const bool commit = record::marker_type(batch).value() == record::MarkerType::kCommit;
    ProducerState& state = known.producers[batch.producer_id()];
    EXPECT_GE(batch.producer_epoch(), state.epoch) << "a marker of an old epoch in " << number;
    if (batch.producer_epoch() != state.epoch) state = {batch.producer_epoch(), 0};
    const auto open = known.open.extract(batch.producer_id());
    known.history.push_back({});
    if (open.empty()) return;
    const int ended = records_[index(known.history[index(open.mapped().value())].record)].transaction;
    known.decided.emplace(ended, commit);
    known.undecided.erase(ended);
    Transaction& transaction = transactions_[index(ended)];
    if (commit) EXPECT_TRUE(transaction.commit_asked) << "transaction " << ended << " is committed, unasked";
    EXPECT_EQ(transaction.outcome.value_or(commit), commit) << "transaction " << ended << " is torn";
    transaction.outcome = commit;
  }

  // Only an open transaction holds positions.
  void check_pending() const {
    if (!broker_->groups().is_alive() || !broker_->transactions().is_alive() || broker_->decision_waits()) return;
    for (const auto& [group, id] : ids_) {
      if (!broker_->groups().coordinator().has_pending_offset(group, kSimulatedTopic, PartitionId{0})) continue;
      const auto transaction = broker_->transactions().coordinator().describe(id);
      EXPECT_TRUE(transaction && transaction->value.state == coord::TransactionState::kOngoing)
          << group << " has a position that waits for a transaction which is over";
    }
  }

  // What is decided in one partition is decided in all.
  void check_atomic() const {
    for (size_t p = 0; p < partitions_.size(); ++p) {
      for (const int transaction : partitions_[p].undecided)
        EXPECT_FALSE(transactions_[index(transaction)].outcome.has_value())
            << "transaction " << transaction << " is decided, but not in partition " << p;
    }
  }

  // What a client was told of its transaction's end stands in the log.
  void check_told(int number) const {
    const Transaction& transaction = transactions_[index(number)];
    if (transaction.commit_told) EXPECT_EQ(transaction.outcome, true) << "transaction " << number << " was committed";
    if (transaction.abort_told) EXPECT_NE(transaction.outcome, true) << "transaction " << number << " was aborted";
    const bool is_over = transaction.commit_told || transaction.abort_told;
    if (!is_over) return;
    for (const Partition& partition : partitions_)
      EXPECT_FALSE(partition.undecided.contains(number)) << "transaction " << number << " was ended, and is open";
  }

  SimulatedBroker* broker_ = nullptr;
  std::vector<Record> records_;
  std::vector<Transaction> transactions_;
  std::map<std::string, std::string> ids_;
  std::array<Partition, kSimulatedPartitions> partitions_;
  std::map<ProducerId, Floor> floors_;
  std::map<std::string, Takeovers> takeovers_;
  size_t acknowledged_ = 0;
  size_t refused_ = 0;
  size_t commits_ = 0;
  size_t consumed_ = 0;
};

}  // namespace millrace::broker
