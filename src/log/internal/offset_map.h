#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/random.h"

namespace millrace::log {

// The last offset of each key, for compaction. Keys are known by 128 bits of SipHash-2-4 (Aumasson, Bernstein 2012)
// under a random key: two keys that clients chose to look alike would lose a record. One thread at a time.
class OffsetMap {
 public:
  // Uses at most `bytes_max`, at least room for a few keys, and no more than the keys need.
  OffsetMap(uint64_t bytes_max, Random random);

  // The key's offset from now on, whatever it was; false where there is no room for another key.
  bool put(ByteView key, Offset offset);
  std::optional<Offset> find(ByteView key) const;

  uint64_t keys() const { return keys_; }

 private:
  struct Slot {
    uint64_t first = 0;
    uint64_t second = 0;
    Offset offset{-1};  // -1: free
  };

  Slot hash(ByteView key) const;
  // Where the key is, or would be.
  static size_t place_of(const std::vector<Slot>& slots, const Slot& key);
  bool make_room();

  const uint64_t seed_first_;
  const uint64_t seed_second_;
  const uint64_t slots_max_;
  std::vector<Slot> slots_;
  uint64_t keys_ = 0;
};

}  // namespace millrace::log
