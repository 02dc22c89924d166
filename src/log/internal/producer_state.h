#pragma once

#include <array>
#include <cstdint>
#include <map>
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
// It also remembers who was admitted to write transactional batches, and which first batches were refused; neither is
// encoded.
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
  static constexpr size_t kProducersMax = 10'000;  // more are forgotten, those first that are silent for longest
  static constexpr size_t kRefusedMax = 1000;      // more are forgotten, those of the oldest producers first

  // Whether a batch, which has a producer id, may be appended. Changes nothing.
  Verdict check(const record::BatchView& batch) const;
  void admit(ProducerId producer, ProducerEpoch epoch) { admitted_[producer] = epoch; }
  bool is_admitted(ProducerId producer, ProducerEpoch epoch) const;
  // A batch could not be appended though it may be later: for want of room, or because its producer is not admitted
  // yet. Its producer may have sent more behind it, which must not come before it: where the producer is not known,
  // that is not seen by their sequences.
  void note_refused(const record::BatchView& batch);
  // A batch with a producer id was appended, with its final offsets. A marker ends the producer's admission.
  void update(const record::BatchView& batch, int64_t now_ms);
  // Forget producers that have appended nothing since.
  void expire(int64_t before_ms);

  size_t size() const { return producers_.size(); }
  // All of them, by id, without their transactions.
  std::vector<ProducerInfo> all() const;
  void encode(Bytes& out) const;
  // Replaces everything; `reader` holds what encode() wrote, and no more.
  Status decode(ByteReader& reader);

 private:
  static constexpr int32_t kNoCoordinatorEpoch = -1;
  struct Producer {
    ProducerEpoch epoch = kNoProducerEpoch;
    int32_t coordinator_epoch = kNoCoordinatorEpoch;  // of the last marker
    int64_t last_ms = 0;
    uint32_t count = 0;
    std::array<Batch, kBatchesKept> batches;  // the oldest first
  };
  // The batch of the last five that `batch` repeats; null where it is new.
  static const Batch* find_duplicate(const Producer& producer, const record::BatchView& batch);
  bool follows_refused(const record::BatchView& batch) const;
  void forget_silent();

  std::unordered_map<ProducerId, Producer> producers_;
  std::unordered_map<ProducerId, ProducerEpoch> admitted_;
  // Of producers that are not known: their first batch that was refused.
  struct Refused {
    ProducerEpoch epoch;
    int32_t sequence;
  };
  std::map<ProducerId, Refused> refused_;
};

}  // namespace millrace::log
