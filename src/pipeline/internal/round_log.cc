#include "pipeline/internal/round_log.h"

#include <fmt/core.h>

namespace millrace::pipeline {

Status RoundLog::apply(const RoundKey& key, Offset offset, std::optional<ByteView> value) {
  series_ = key.series;
  return key.part ? apply_part(key, offset, value) : apply_decision(key.boundary, value);
}

Status RoundLog::apply_decision(int64_t boundary, std::optional<ByteView> value) {
  if (!value) {
    state_.forget_decision(boundary);
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const RoundDecision decision, decode_decision(*value));
  (void)state_.decide(boundary, decision);
  return {};
}

Status RoundLog::apply_part(const RoundKey& key, Offset offset, std::optional<ByteView> value) {
  const EntryKey entry_of = entry_key(key.boundary, *key.part);
  if (!value) {
    const auto entry = entries_.find(entry_of);
    if (entry == entries_.end()) return {};
    if (key.part->chunk)
      entry->second.chunks.erase(*key.part->chunk);
    else
      entry->second.head.reset();
    if (!entry->second.head && entry->second.chunks.empty()) entries_.erase(entry);
    return {};
  }
  if (key.part->partition.value() >= partitions_)
    return fail(Errc::kCorruption, fmt::format("partition {} of {}", key.part->partition.value(), partitions_));
  if (key.part->chunk) {
    entries_[entry_of].chunks.insert_or_assign(*key.part->chunk, offset);
  } else {
    MILLRACE_ASSIGN_OR_RETURN(Contribution head, decode_contribution(key, *value));
    if (Entry& entry = entries_[entry_of]; !entry.head)
      entry.head = std::make_shared<const Contribution>(std::move(head));
  }
  Entry& entry = entries_[entry_of];
  if (!entry.contributed && entry.head && entry.chunks.size() >= entry.head->chunks) {
    entry.contributed = true;
    (void)state_.contribute(entry.head);
  }
  return {};
}

std::optional<std::vector<Offset>> RoundLog::chunks_of(const Contribution& contribution) const {
  std::vector<Offset> offsets;
  if (contribution.chunks == 0) return offsets;
  const auto entry = entries_.find({contribution.boundary, {contribution.partition, contribution.hash, std::nullopt}});
  if (entry == entries_.end()) return std::nullopt;
  for (uint32_t i = 0; i < contribution.chunks; ++i) {
    const auto chunk = entry->second.chunks.find(i);
    if (chunk == entry->second.chunks.end()) return std::nullopt;
    offsets.push_back(chunk->second);
  }
  return offsets;
}

std::vector<RoundKey> RoundLog::take_garbage() {
  std::vector<RoundKey> keys;
  const auto& decisions = state_.decisions();
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& [place, entry] = *it;
    // What is incomplete may be on its way, or a writer died: then its round is decided one day.
    const bool of_use = entry.contributed ? entry.head && state_.may_need(*entry.head)
                                          : decisions.empty() || place.first > decisions.rbegin()->first;
    if (of_use) {
      ++it;
      continue;
    }
    RoundKey key{series_, place.first, place.second};
    if (entry.head) keys.push_back(key);
    for (const auto& [chunk, offset] : entry.chunks) {
      key.part->chunk = chunk;
      keys.push_back(key);
    }
    it = entries_.erase(it);
  }
  while (decisions.size() > kDecisionsKept) {
    keys.push_back({series_, decisions.begin()->first, std::nullopt});
    state_.forget_decision(decisions.begin()->first);
  }
  return keys;
}

}  // namespace millrace::pipeline
