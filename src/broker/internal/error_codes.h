#pragma once

#include "base/result.h"
#include "coord/transactions.h"
#include "coord/types.h"
#include "log/partition.h"
#include "record/batch.h"
#include "wire/error_code.h"

namespace millrace::broker {

// The one place where what happened inside becomes one of Kafka's error codes. A code that says too little for a place
// (kNotFound may be a topic or a group) is mapped for what the broker's own calls mean by it: a topic or partition.
wire::ErrorCode to_wire(Errc code);
wire::ErrorCode to_wire(coord::GroupError error);
wire::ErrorCode to_wire(coord::TransactionError error);
wire::ErrorCode to_wire(record::BatchDefect defect);
wire::ErrorCode to_wire(log::AppendOutcome outcome);

}  // namespace millrace::broker
