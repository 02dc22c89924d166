#pragma once

#include <cstdint>

// What everybody may do, without ACLs (KIP-430): a bit for each of Kafka's operations, by its code.
namespace millrace::broker {

// Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite.
inline constexpr int32_t kClusterOperations = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
// Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs.
inline constexpr int32_t kTopicOperations = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
// Read, Delete, Describe, DescribeConfigs, AlterConfigs.
inline constexpr int32_t kGroupOperations = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

}  // namespace millrace::broker
