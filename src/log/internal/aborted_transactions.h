#pragma once

#include <cstddef>
#include <vector>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/result.h"
#include "log/partition.h"

namespace millrace::log {

// The bytes of a segment's transaction index, "<base offset>.txnindex": its aborted transactions in the order of their
// markers, 34 bytes each in network byte order, as Kafka has them (docs/formats/segments.md):
//
//    0 version i16 = 0    2 producer id i64    10 first offset i64    18 last offset i64    26 last stable offset i64
inline constexpr size_t kTransactionIndexEntryBytes = 34;

void encode_aborted_transaction(const AbortedTransaction& transaction, Bytes& out);
// kCorruption: not a whole number of entries, or an entry of another version.
Result<std::vector<AbortedTransaction>> decode_aborted_transactions(ByteView bytes);

}  // namespace millrace::log
