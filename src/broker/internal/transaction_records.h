#pragma once

#include <optional>

#include "base/byte_writer.h"
#include "base/result.h"
#include "broker/internal/coordinator_log.h"
#include "coord/transactions.h"

namespace millrace::broker {

// A transaction coordinator's record as Kafka writes it to __transaction_state: the key, and a value of version 1, or
// none for a tombstone.
Result<EncodedRecord> encode_transaction_record(const coord::TransactionRecord& record);

// Back again. Nothing for a record of a type or state that this version does not know; kCorruption for bytes that are
// none.
Result<std::optional<coord::TransactionRecord>> decode_transaction_record(ByteView key, std::optional<ByteView> value);

}  // namespace millrace::broker
