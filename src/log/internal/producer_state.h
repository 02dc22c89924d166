#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"
#include "log/partition.h"
#include "record/batch.h"

namespace millrace::log {

// What a partition remembers of its idempotent producers: the epoch and the last five batches of each, five being how
// many requests a client keeps in flight. Follows Kafka's rules since KIP-360: a producer that is not known may begin
// at any sequence (its state may have expired), a new epoch of a known one begins at 0. One thread at a time.
//
// It also remembers who was admitted to write transactional batches; that is not encoded.
class ProducerStates {
 public:
  struct Batch {
    int32_t first_sequence = record::kNoSequence;
    int32_t last_sequence = record::kNoSequence;
    Offset base_offset{-1};
    Offset last_offset{-1};
  };
  struct Verdict {
    AppendOutcome outcome = AppendOutcome::kAppended;
    Batch original;  // of a duplicate
  };
  static constexpr size_t kBatchesKept = 5;

  // Whether a batch, which has a producer id, may be appended. Changes nothing.
  Verdict check(const record::BatchView& batch) const;
  void admit(ProducerId producer, ProducerEpoch epoch) { admitted_[producer] = epoch; }
  bool is_admitted(ProducerId producer, ProducerEpoch epoch) const;
  // A batch with a producer id was appended, with its final offsets. A marker ends the producer's admission.
  void update(const record::BatchView& batch, int64_t now_ms);
  // Forget producers that have appended nothing since.
  void expire(int64_t before_ms);

  size_t size() const { return producers_.size(); }
  // All of them, by id, without their transactions.
  std::vector<ProducerInfo> all() const;
  void encode(Bytes& out) const;
  // Replaces everything.
  Status decode(ByteReader& reader);

 private:
  struct Producer {
    ProducerEpoch epoch = kNoProducerEpoch;
    int64_t last_ms = 0;
    uint32_t count = 0;
    std::array<Batch, kBatchesKept> batches;  // the oldest first
  };
  // The batch of the last five that `batch` repeats; null where it is new.
  static const Batch* find_duplicate(const Producer& producer, const record::BatchView& batch);

  std::unordered_map<ProducerId, Producer> producers_;
  std::unordered_map<ProducerId, ProducerEpoch> admitted_;
};

}  // namespace millrace::log
