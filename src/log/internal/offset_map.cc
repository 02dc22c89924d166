#include "log/internal/offset_map.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace millrace::log {

namespace {

constexpr uint64_t kSlotsMin = 64;

// One SipHash-2-4 with 128 bits of output, as its reference has it.
class SipHash {
 public:
  SipHash(uint64_t k0, uint64_t k1)
      : v0_(0x736f6d6570736575 ^ k0),
        v1_(0x646f72616e646f6d ^ k1 ^ 0xee),
        v2_(0x6c7967656e657261 ^ k0),
        v3_(0x7465646279746573 ^ k1) {}

  void word(uint64_t m) {
    v3_ ^= m;
    rounds(2);
    v0_ ^= m;
  }
  uint64_t first() {
    v2_ ^= 0xee;
    rounds(4);
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }
  // After first().
  uint64_t second() {
    v1_ ^= 0xdd;
    rounds(4);
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v0_ += v1_;
      v1_ = std::rotl(v1_, 13) ^ v0_;
      v0_ = std::rotl(v0_, 32);
      v2_ += v3_;
      v3_ = std::rotl(v3_, 16) ^ v2_;
      v0_ += v3_;
      v3_ = std::rotl(v3_, 21) ^ v0_;
      v2_ += v1_;
      v1_ = std::rotl(v1_, 17) ^ v2_;
      v2_ = std::rotl(v2_, 32);
    }
  }

  uint64_t v0_;
  uint64_t v1_;
  uint64_t v2_;
  uint64_t v3_;
};

}  // namespace

OffsetMap::OffsetMap(uint64_t bytes_max, Random random)
    : seed_first_(random.next()),
      seed_second_(random.next()),
      // While it grows the old slots are there as well, half as many.
      slots_max_(std::max(bytes_max / (sizeof(Slot) * 3 / 2), kSlotsMin)),
      slots_(kSlotsMin) {}

OffsetMap::Slot OffsetMap::hash(ByteView key) const {
  SipHash state(seed_first_, seed_second_);
  size_t at = 0;
  for (; at + 8 <= key.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, key.data() + at, 8);
    state.word(word);
  }
  uint64_t last = 0;
  if (at < key.size()) std::memcpy(&last, key.data() + at, key.size() - at);
  state.word(last | (static_cast<uint64_t>(key.size()) << 56));
  Slot slot;
  slot.first = state.first();
  slot.second = state.second();
  return slot;
}

size_t OffsetMap::place_of(const std::vector<Slot>& slots, const Slot& key) {
  auto at = static_cast<size_t>((static_cast<unsigned __int128>(key.first) * slots.size()) >> 64);
  while (slots[at].offset.value() >= 0 && (slots[at].first != key.first || slots[at].second != key.second)) {
    at = at + 1 == slots.size() ? 0 : at + 1;
  }
  return at;
}

bool OffsetMap::make_room() {
  if (keys_ * 4 < slots_.size() * 3) return true;
  const uint64_t wanted = std::min<uint64_t>(slots_.size() * 2, slots_max_);
  if (wanted <= slots_.size()) return false;
  std::vector<Slot> larger(wanted);
  for (const Slot& slot : slots_) {
    if (slot.offset.value() >= 0) larger[place_of(larger, slot)] = slot;
  }
  slots_.swap(larger);
  return true;
}

bool OffsetMap::put(ByteView key, Offset offset) {
  Slot slot = hash(key);
  slot.offset = offset;
  size_t place = place_of(slots_, slot);
  if (slots_[place].offset.value() < 0) {
    if (!make_room()) return false;
    place = place_of(slots_, slot);
    ++keys_;
  }
  slots_[place] = slot;
  return true;
}

std::optional<Offset> OffsetMap::find(ByteView key) const {
  const Slot& slot = slots_[place_of(slots_, hash(key))];
  if (slot.offset.value() < 0) return std::nullopt;
  return slot.offset;
}

}  // namespace millrace::log
