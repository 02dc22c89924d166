#include "log/internal/open_transactions.h"

#include <algorithm>

namespace millrace::log {

std::optional<Offset> OpenTransactions::end(ProducerId producer, Offset marker) {
  const auto found = open_.find(producer);
  if (found == open_.end()) return std::nullopt;
  const Offset first = found->second;
  open_.erase(found);
  ending_.emplace(first, marker);
  return first;
}

Offset OpenTransactions::last_stable(Offset high_watermark) {
  std::erase_if(ending_, [&](const auto& entry) { return entry.second < high_watermark; });
  Offset stable = first_open(high_watermark);
  if (!ending_.empty()) stable = std::min(stable, ending_.begin()->first);
  return std::min(stable, high_watermark);
}

Offset OpenTransactions::first_open(Offset end) const {
  Offset first = end;
  for (const auto& [producer, offset] : open_) first = std::min(first, offset);
  return first;
}

std::optional<Offset> OpenTransactions::first_offset_of(ProducerId producer) const {
  const auto found = open_.find(producer);
  if (found == open_.end()) return std::nullopt;
  return found->second;
}

void OpenTransactions::encode(Bytes& out) const {
  ByteWriter writer(out);
  writer.uvarint(open_.size());
  for (const auto& [producer, offset] : open_) {
    writer.fixed(producer.value());
    writer.fixed(offset.value());
  }
}

Status OpenTransactions::decode(ByteReader& reader) {
  open_.clear();
  ending_.clear();
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t count, reader.uvarint());
  for (uint64_t i = 0; i < count; ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const auto producer, reader.fixed<int64_t>());
    MILLRACE_ASSIGN_OR_RETURN(const auto offset, reader.fixed<int64_t>());
    open_.emplace(ProducerId{producer}, Offset{offset});
  }
  return {};
}

}  // namespace millrace::log
