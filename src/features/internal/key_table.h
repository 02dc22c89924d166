#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace millrace::features {

// 64 bits of any bytes, by folded 128-bit products. Not for hostile keys' sake: a flood of collisions slows a partition
// down, no more.
inline uint64_t hash_key(std::string_view key) {
  constexpr uint64_t kOdd1 = 0x9e3779b97f4a7c15;
  constexpr uint64_t kOdd2 = 0xd6e8feb86659fd93;
  const auto fold = [](uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  uint64_t hash = key.size() * kOdd1;
  const char* data = key.data();
  size_t left = key.size();
  for (; left >= 8; left -= 8, data += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data, 8);
    hash = fold(hash ^ word ^ kOdd1, kOdd2);
  }
  uint64_t word = 0;
  if (left > 0) std::memcpy(&word, data, left);
  return fold(hash ^ word ^ kOdd2, kOdd1 ^ left);
}

// Finds the number that belongs to a key, by open addressing. The keys themselves lie with whoever owns the numbers:
// `key_of(number)` gives a number's key back. One thread.
class KeyTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  void prefetch(uint64_t hash) const {
    if (!entries_.empty()) __builtin_prefetch(&entries_[hash & mask_]);
  }
  template <typename KeyOf>
  uint32_t find(std::string_view key, uint64_t hash, const KeyOf& key_of) const {
    if (entries_.empty()) return kNone;
    for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Entry& entry = entries_[i];
      if (entry.number == kNone) return kNone;
      if (entry.tag == tag_of(hash) && key_of(entry.number) == key) return entry.number;
    }
  }
  // Precondition: the key is not there.
  void insert(uint64_t hash, uint32_t number) {
    if ((size_ + 1) * 2 > entries_.size()) grow();
    place({tag_of(hash), number, hash});
    ++size_;
  }
  // Precondition: this number is there under this hash.
  void erase(uint64_t hash, uint32_t number) {
    size_t hole = hash & mask_;
    while (entries_[hole].number != number) hole = (hole + 1) & mask_;
    // Move up what would no longer be found behind the hole.
    for (size_t i = (hole + 1) & mask_; entries_[i].number != kNone; i = (i + 1) & mask_) {
      const size_t home = entries_[i].hash & mask_;
      if (((i - home) & mask_) < ((i - hole) & mask_)) continue;
      entries_[hole] = entries_[i];
      hole = i;
    }
    entries_[hole] = Entry{};
    --size_;
  }
  size_t size() const { return size_; }
  size_t bytes() const { return entries_.size() * sizeof(Entry); }

 private:
  struct Entry {
    uint32_t tag = 0;
    uint32_t number = kNone;
    uint64_t hash = 0;
  };
  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

  void place(Entry entry) {
    size_t i = entry.hash & mask_;
    while (entries_[i].number != kNone) i = (i + 1) & mask_;
    entries_[i] = entry;
  }
  void grow() {
    constexpr size_t kFirst = 64;
    std::vector<Entry> old = std::move(entries_);
    entries_.assign(old.empty() ? kFirst : old.size() * 2, Entry{});
    mask_ = entries_.size() - 1;
    for (const Entry& entry : old)
      if (entry.number != kNone) place(entry);
  }

  std::vector<Entry> entries_;
  size_t mask_ = 0;
  size_t size_ = 0;
};

}  // namespace millrace::features
