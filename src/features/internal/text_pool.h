#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "features/internal/key_table.h"

namespace millrace::features {

// Texts that many rows share, each kept once and as long as rows hold it. One thread.
class TextPool {
 public:
  // The text's number, held once more.
  uint32_t hold(std::string_view text) {
    const uint64_t hash = hash_key(text);
    uint32_t number = table_.find(text, hash, [this](uint32_t n) { return this->text(n); });
    if (number == KeyTable::kNone) {
      if (free_.empty()) {
        number = static_cast<uint32_t>(entries_.size());
        entries_.emplace_back();
      } else {
        number = free_.back();
        free_.pop_back();
      }
      entries_[number] = {std::string(text), 0};
      table_.insert(hash, number);
      bytes_ += text.size();
    }
    ++entries_[number].holders;
    return number;
  }
  void release(uint32_t number) {
    Entry& entry = entries_[number];
    if (--entry.holders > 0) return;
    table_.erase(hash_key(entry.text), number);
    bytes_ -= entry.text.size();
    entry.text = {};
    free_.push_back(number);
  }
  std::string_view text(uint32_t number) const { return entries_[number].text; }
  size_t bytes() const { return bytes_ + entries_.capacity() * sizeof(Entry) + table_.bytes(); }

 private:
  struct Entry {
    std::string text;
    uint32_t holders = 0;
  };
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
  KeyTable table_;
  size_t bytes_ = 0;
};

}  // namespace millrace::features
