#include "log/internal/producer_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "record/marker.h"

namespace millrace::log {

bool ProducerStates::is_admitted(ProducerId producer, ProducerEpoch epoch) const {
  const auto found = admitted_.find(producer);
  return found != admitted_.end() && found->second == epoch;
}

ProducerStates::Verdict ProducerStates::check(const record::BatchView& batch) const {
  const auto it = producers_.find(batch.producer_id());
  const Producer* producer = it == producers_.end() ? nullptr : &it->second;
  if (producer != nullptr) {
    if (batch.producer_epoch() < producer->epoch) return {AppendOutcome::kInvalidProducerEpoch, {}};
    if (const Batch* known = find_duplicate(*producer, batch)) return {AppendOutcome::kDuplicate, *known};
  }
  if (batch.is_control()) {
    const auto coordinator = record::marker_coordinator_epoch(batch);
    const bool is_old = producer != nullptr && coordinator && *coordinator < producer->coordinator_epoch;
    return {is_old ? AppendOutcome::kCoordinatorFenced : AppendOutcome::kAppended, {}};
  }
  const bool fits = batch.is_transactional() ? is_admitted(batch.producer_id(), batch.producer_epoch())
                                             : !admitted_.contains(batch.producer_id());
  if (!fits) return {AppendOutcome::kInvalidTxnState, {}};
  // A coordinator's records, offsets in a transaction, have no sequence.
  if (batch.base_sequence() == record::kNoSequence) return {};
  if (producer == nullptr)
    return {follows_refused(batch) ? AppendOutcome::kOutOfOrderSequence : AppendOutcome::kAppended, {}};
  int32_t expected = 0;
  // Only control batches of this epoch so far: its first records begin at 0.
  if (batch.producer_epoch() == producer->epoch && producer->count > 0) {
    expected = record::sequence_after(producer->batches[producer->count - 1].last_sequence, 1);
  }
  return {batch.base_sequence() == expected ? AppendOutcome::kAppended : AppendOutcome::kOutOfOrderSequence, {}};
}

const ProducerStates::Batch* ProducerStates::find_duplicate(const Producer& producer, const record::BatchView& batch) {
  if (batch.base_sequence() == record::kNoSequence || batch.producer_epoch() != producer.epoch) return nullptr;
  for (uint32_t i = 0; i < producer.count; ++i) {
    const Batch& known = producer.batches[i];
    if (known.first_sequence == batch.base_sequence() && known.last_sequence == batch.last_sequence()) return &known;
  }
  return nullptr;
}

void ProducerStates::note_refused(const record::BatchView& batch) {
  if (!batch.has_producer_id() || batch.base_sequence() == record::kNoSequence) return;
  if (producers_.contains(batch.producer_id())) return;
  const auto [found, is_new] =
      refused_.try_emplace(batch.producer_id(), Refused{batch.producer_epoch(), batch.base_sequence()});
  Refused& first = found->second;
  if (!is_new && batch.producer_epoch() > first.epoch) first = {batch.producer_epoch(), batch.base_sequence()};
  if (refused_.size() > kRefusedMax) refused_.erase(refused_.begin());
}

bool ProducerStates::follows_refused(const record::BatchView& batch) const {
  const auto first = refused_.find(batch.producer_id());
  return first != refused_.end() && first->second.epoch == batch.producer_epoch() &&
         batch.base_sequence() > first->second.sequence;
}

void ProducerStates::update(const record::BatchView& batch, int64_t now_ms) {
  refused_.erase(batch.producer_id());
  if (producers_.size() >= kProducersMax && !producers_.contains(batch.producer_id())) forget_silent();
  Producer& producer = producers_[batch.producer_id()];
  if (batch.producer_epoch() != producer.epoch) {
    producer.epoch = batch.producer_epoch();
    producer.count = 0;
  }
  producer.last_ms = now_ms;
  if (batch.is_control()) {
    producer.coordinator_epoch = record::marker_coordinator_epoch(batch).value_or(kNoCoordinatorEpoch);
    admitted_.erase(batch.producer_id());
    return;
  }
  if (batch.base_sequence() == record::kNoSequence) return;
  if (producer.count == kBatchesKept) {
    std::ranges::rotate(producer.batches, producer.batches.begin() + 1);
    --producer.count;
  }
  producer.batches[producer.count++] = {.first_sequence = batch.base_sequence(),
                                        .last_sequence = batch.last_sequence(),
                                        .base_offset = batch.base_offset(),
                                        .last_offset = batch.last_offset()};
}

std::vector<ProducerInfo> ProducerStates::all() const {
  std::vector<ProducerInfo> all;
  all.reserve(producers_.size());
  for (const auto& [id, producer] : producers_) {
    const int32_t sequence =
        producer.count == 0 ? record::kNoSequence : producer.batches[producer.count - 1].last_sequence;
    all.push_back({id, producer.epoch, sequence, producer.last_ms, producer.coordinator_epoch, std::nullopt});
  }
  std::ranges::sort(all, {}, &ProducerInfo::id);
  return all;
}

// Many at once: to find them takes a look at all.
void ProducerStates::forget_silent() {
  std::vector<std::pair<int64_t, ProducerId>> by_time;
  by_time.reserve(producers_.size());
  for (const auto& [id, producer] : producers_) by_time.emplace_back(producer.last_ms, id);
  const auto kept = by_time.begin() + kProducersMax / 10;
  std::ranges::nth_element(by_time, kept);
  for (auto it = by_time.begin(); it != kept; ++it) producers_.erase(it->second);
}

void ProducerStates::expire(int64_t before_ms) {
  std::erase_if(producers_, [&](const auto& entry) { return entry.second.last_ms < before_ms; });
}

void ProducerStates::encode(Bytes& out) const {
  ByteWriter writer(out);
  writer.uvarint(producers_.size());
  for (const auto& [id, producer] : producers_) {
    writer.fixed(id.value());
    writer.fixed(producer.epoch.value());
    writer.fixed(producer.last_ms);
    writer.uvarint(producer.count);
    for (uint32_t i = 0; i < producer.count; ++i) {
      const Batch& batch = producer.batches[i];
      writer.fixed(batch.first_sequence);
      writer.fixed(batch.last_sequence);
      writer.fixed(batch.base_offset.value());
      writer.fixed(batch.last_offset.value());
    }
  }
  // Checkpoints of before end here.
  for (const auto& [id, producer] : producers_) writer.fixed(producer.coordinator_epoch);
}

Status ProducerStates::decode(ByteReader& reader) {
  producers_.clear();
  std::vector<ProducerId> in_order;
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t count, reader.uvarint());
  for (uint64_t i = 0; i < count; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const auto id, reader.fixed<int64_t>());
    Producer producer;
    MILLRACE_ASSIGN_OR_RETURN(const auto epoch, reader.fixed<int16_t>());
    producer.epoch = ProducerEpoch{epoch};
    MILLRACE_ASSIGN_OR_RETURN(producer.last_ms, reader.fixed<int64_t>());
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t batches, reader.uvarint());
    if (batches > kBatchesKept) return fail(Errc::kCorruption, fmt::format("a producer with {} batches", batches));
    producer.count = static_cast<uint32_t>(batches);
    for (uint32_t b = 0; b < producer.count; ++b) {
      Batch& batch = producer.batches[b];
      MILLRACE_ASSIGN_OR_RETURN(batch.first_sequence, reader.fixed<int32_t>());
      MILLRACE_ASSIGN_OR_RETURN(batch.last_sequence, reader.fixed<int32_t>());
      MILLRACE_ASSIGN_OR_RETURN(const auto base_offset, reader.fixed<int64_t>());
      MILLRACE_ASSIGN_OR_RETURN(const auto last_offset, reader.fixed<int64_t>());
      batch.base_offset = Offset{base_offset};
      batch.last_offset = Offset{last_offset};
    }
    producers_.emplace(ProducerId{id}, producer);
    in_order.emplace_back(id);
  }
  if (reader.remaining() == 0) return {};
  for (const ProducerId id : in_order) {
    MILLRACE_ASSIGN_OR_RETURN(producers_[id].coordinator_epoch, reader.fixed<int32_t>());
  }
  return {};
}

}  // namespace millrace::log
