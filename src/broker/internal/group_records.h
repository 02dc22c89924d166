#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/byte_writer.h"
#include "base/result.h"
#include "broker/internal/coordinator_log.h"
#include "coord/effects.h"

namespace millrace::broker {

// A coordinator's record as Kafka writes it to __consumer_offsets: the key, and a value of version 3, or none for a
// tombstone.
Result<EncodedRecord> encode_group_record(const coord::Record& record);

// Back again. Nothing for a record of a type that this version does not know; kCorruption for bytes that are none.
Result<std::optional<coord::Record>> decode_group_record(ByteView key, std::optional<ByteView> value);

// The partition of __consumer_offsets that a group belongs to, as Kafka computes it: by Java's hash of the name.
int32_t group_partition(std::string_view group, int32_t partitions);

}  // namespace millrace::broker
