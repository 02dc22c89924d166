#pragma once

#include <map>
#include <optional>
#include <vector>

#include "pipeline/internal/round_records.h"
#include "pipeline/internal/round_state.h"

namespace millrace::pipeline {

// What the topic of rounds, read in the order of its offsets, says of one series. Contributions come in pieces, which
// may come again and, in a compacted topic, in any order; each counts once all of it is there. Pure; not thread-safe.
class RoundLog {
 public:
  // Decisions that are kept, for partitions that were restored to before them.
  static constexpr size_t kDecisionsKept = 1000;

  explicit RoundLog(int32_t partitions) : state_(partitions), partitions_(partitions) {}

  RoundState& state() { return state_; }
  const RoundState& state() const { return state_; }

  // An error is for the log only: the record is skipped.
  Status apply(const RoundKey& key, Offset offset, std::optional<ByteView> value);

  // Where the newest copy of each chunk is. Empty: nothing was learned; nullopt: no longer all there.
  std::optional<std::vector<Offset>> chunks_of(const Contribution& contribution) const;

  // Keys whose records no round will need any more; each is returned once. Whoever decides writes tombstones for them.
  std::vector<RoundKey> take_garbage();

 private:
  struct Entry {
    ContributionPtr head;
    std::map<uint32_t, Offset> chunks;
    bool contributed = false;  // all of it was there, and the state has it
  };
  // A contribution's head's.
  using EntryKey = std::pair<int64_t, RoundKey::Part>;

  Status apply_decision(int64_t boundary, std::optional<ByteView> value);
  Status apply_part(const RoundKey& key, Offset offset, std::optional<ByteView> value);
  static EntryKey entry_key(int64_t boundary, RoundKey::Part part) {
    part.chunk.reset();
    return {boundary, std::move(part)};
  }

  RoundState state_;
  int32_t partitions_;
  std::string series_;
  std::map<EntryKey, Entry> entries_;
};

}  // namespace millrace::pipeline
