#pragma once

#include <cstdint>
#include <optional>

#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"
#include "record/batch.h"

namespace millrace::record {

// How a transaction ended, as its control record in every partition says it (Kafka's EndTransactionMarker): the key is
// version i16 = 0, type i16; the value version i16 = 0, coordinator epoch i32.
enum class MarkerType : int16_t { kAbort = 0, kCommit = 1 };

struct MarkerOptions {
  ProducerId producer_id;
  ProducerEpoch producer_epoch;
  MarkerType type = MarkerType::kAbort;
  int32_t coordinator_epoch = 0;
  int64_t timestamp_ms = kNoTimestamp;
};

// A control batch that holds one marker, ready to append.
Bytes marker_batch(const MarkerOptions& options);

// What the control batch `batch` says. Nothing for control records of other types, which Kafka keeps for itself;
// kCorruption where there is no control record in it.
Result<std::optional<MarkerType>> marker_type(const BatchView& batch);

// The epoch of the coordinator that wrote the marker `batch`; kCorruption where it says none.
Result<int32_t> marker_coordinator_epoch(const BatchView& batch);

}  // namespace millrace::record
