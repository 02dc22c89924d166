#pragma once

#include <cstdint>

#include "base/byte_writer.h"
#include "base/ids.h"

namespace millrace::client {

// MurmurHash2, 32 bits, with the seed and byte order of Kafka's Java client (org.apache.kafka.common.utils.Utils).
uint32_t murmur2(ByteView data);

// Where the Java producer puts a record with this key: murmur2, sign bit cleared, modulo `partitions` (at least 1).
PartitionId partition_for_key(ByteView key, int32_t partitions);

}  // namespace millrace::client
