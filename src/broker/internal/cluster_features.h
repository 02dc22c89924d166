#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::broker {

// The one feature with levels (KIP-584): level 2 tells producers that their batches add themselves to transactions, and
// that each end raises their epoch (KIP-890). It cannot be changed.
inline constexpr std::string_view kTransactionVersion = "transaction.version";
inline constexpr int16_t kTransactionVersionLevel = 2;

}  // namespace millrace::broker
