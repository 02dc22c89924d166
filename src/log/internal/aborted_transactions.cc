#include "log/internal/aborted_transactions.h"

#include <fmt/format.h>

namespace millrace::log {
namespace {

constexpr int16_t kVersion = 0;

}  // namespace

void encode_aborted_transaction(const AbortedTransaction& transaction, Bytes& out) {
  ByteWriter writer(out);
  writer.fixed(kVersion);
  writer.fixed(transaction.producer_id.value());
  writer.fixed(transaction.first_offset.value());
  writer.fixed(transaction.last_offset.value());
  writer.fixed(transaction.last_stable_offset.value());
}

Result<std::vector<AbortedTransaction>> decode_aborted_transactions(ByteView bytes) {
  if (bytes.size() % kTransactionIndexEntryBytes != 0) {
    return fail(Errc::kCorruption, fmt::format("{} bytes are no transaction index", bytes.size()));
  }
  std::vector<AbortedTransaction> transactions;
  transactions.reserve(bytes.size() / kTransactionIndexEntryBytes);
  for (ByteReader reader(bytes); reader.remaining() > 0;) {
    MILLRACE_ASSIGN_OR_RETURN(const auto version, reader.fixed<int16_t>());
    if (version != kVersion) return fail(Errc::kCorruption, fmt::format("transaction index version {}", version));
    MILLRACE_ASSIGN_OR_RETURN(const auto producer, reader.fixed<int64_t>());
    MILLRACE_ASSIGN_OR_RETURN(const auto first, reader.fixed<int64_t>());
    MILLRACE_ASSIGN_OR_RETURN(const auto last, reader.fixed<int64_t>());
    MILLRACE_ASSIGN_OR_RETURN(const auto stable, reader.fixed<int64_t>());
    transactions.push_back({ProducerId{producer}, Offset{first}, Offset{last}, Offset{stable}});
  }
  return transactions;
}

}  // namespace millrace::log
