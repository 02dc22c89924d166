#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/byte_writer.h"
#include "base/check.h"
#include "base/result.h"
#include "features/internal/plan.h"
#include "features/internal/text_pool.h"

namespace millrace::features {

// How one row of a key's history lies in memory, in words of 64 bits:
//   event time | offset | per summed slot: a value | per two slots: counts | per `last` column: a value | validity of
//   these
// A summed slot that is exact holds the sum of the values before the row, another its value (0 where it has none). The
// counts, too, are of the rows before. Sums over any run of rows are differences then, and exact: 64-bit sums wrap
// around and come back. What was before the end stands in the row behind the last.
struct Layout {
  std::vector<Slot> slots;
  std::vector<size_t> last_columns;
  std::vector<columns::Type> last_types;
  std::vector<int64_t> windows_us;  // ascending, distinct

  std::vector<size_t> value_word;  // of each slot; meaningless where it is not summed
  size_t count_word = 0;           // of the first two slots
  size_t last_word = 0;
  size_t words = 0;
  uint64_t rows_per_page = 32;  // fewer where rows can be large
  size_t row_bytes = 0;         // what a row takes in a page, at most

  void finish();
  // What a page of so many rows takes, at most.
  size_t page_bytes_max(uint64_t page_rows) const { return kPageHeaderBytesMax + page_rows * row_bytes; }

 private:
  static constexpr size_t kPageHeaderBytesMax = 20;  // two numbers
};

inline constexpr size_t kLastTextBytesMax = 1024;
inline constexpr size_t kLastColumnsMax = 64;

// What an incoming row brings to its key's history.
struct RowInput {
  int64_t time_us = 0;
  int64_t offset = 0;
  std::vector<SlotValue> slots;
  std::vector<uint64_t> last;  // bits of each value; a text's number in the pool
  uint64_t last_valid = 0;
};

// The rows of one key that windows can still reach, ordered by (event time, offset), in a ring. Rows have sequence
// numbers, which name the pages they are saved in. Its Layout is passed to every call. One thread.
class History {
 public:
  static constexpr uint64_t kClean = UINT64_MAX;

  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }
  bool empty() const { return begin_ == end_; }
  uint64_t rows() const { return end_ - begin_; }
  int64_t time(const Layout& layout, uint64_t seq) const { return static_cast<int64_t>(row(layout, seq)[0]); }
  int64_t offset(const Layout& layout, uint64_t seq) const { return static_cast<int64_t>(row(layout, seq)[1]); }
  const uint64_t* row(const Layout& layout, uint64_t seq) const { return rows_at() + (seq & mask_) * layout.words; }
  void prefetch(const Layout& layout) const {
    if (data_ == nullptr) return;
    __builtin_prefetch(data_.get());
    __builtin_prefetch(row(layout, end_));
  }

  // Once that has arrived: the rows at which windows begin.
  void prefetch_windows(const Layout& layout) const {
    if (data_ == nullptr) return;
    for (size_t w = 0; w < cursors_; ++w) __builtin_prefetch(row(layout, data_[w]));
  }

  // Is a row at this place behind all others?
  bool appends(const Layout& layout, int64_t time_us, int64_t offset_value) const;
  // Where a row at this place goes: behind all rows that are not later.
  uint64_t place_of(const Layout& layout, int64_t time_us, int64_t offset_value) const;
  void insert(const Layout& layout, const RowInput& input, uint64_t seq);

  // For each window the first row with time > time_us - length, at least `floor`. The first form needs a time_us not
  // below any row's, and remembers where it stopped.
  void advance_to(const Layout& layout, int64_t time_us, uint64_t floor, std::span<uint64_t> lows);
  void search(const Layout& layout, int64_t time_us, uint64_t floor, std::span<uint64_t> lows) const;

  int64_t count(const Layout& layout, size_t slot, uint64_t low, uint64_t high) const {
    return static_cast<uint32_t>(count_before(layout, slot, high) - count_before(layout, slot, low));
  }
  // The exact sum modulo 2^64.
  int64_t wrapped_sum(const Layout& layout, size_t slot, uint64_t low, uint64_t high) const {
    const size_t word = layout.value_word[slot];
    return static_cast<int64_t>(row(layout, high)[word] - row(layout, low)[word]);
  }
  __int128 wide_sum(const Layout& layout, size_t slot, uint64_t low, uint64_t high) const;
  SlotValue value(const Layout& layout, size_t slot, uint64_t seq) const;
  // Adds the rows [low, high) of a scanned slot to `partial`, by tiles of 64, 4096 and 262144 rows where they fit.
  void accumulate(const Layout& layout, size_t slot, uint64_t low, uint64_t high, Partial& partial);

  // Drop rows from the front while the next one has time <= horizon_us (`keep_one`: while the one behind it has), and
  // then all with time <= forget_us. Texts of dropped rows are released.
  bool must_trim(int64_t horizon_us) const { return trim_at_us_ <= horizon_us; }
  void trim(const Layout& layout, int64_t horizon_us, int64_t forget_us, bool keep_one, TextPool& texts);
  // Give memory back after many rows were dropped.
  void shrink(const Layout& layout);
  size_t bytes(const Layout& layout) const;

  // Pages: rows [page * rows_per_page, (page + 1) * rows_per_page) by sequence number.
  uint64_t dirty_from = kClean;  // the first row that changed since pages were last written
  uint64_t pages_begin = 0;      // written pages
  uint64_t pages_end = 0;
  bool listed_dirty = false;
  void encode_page(const Layout& layout, const TextPool& texts, uint64_t page, Bytes& out) const;
  Status decode_page(const Layout& layout, TextPool& texts, uint64_t page, ByteView bytes);

 private:
  static constexpr int kTileBits = 6;
  static constexpr size_t kTileLevels = 3;
  struct TileLevel {
    uint64_t first = 0;          // number of the first tile kept
    uint64_t next = 0;           // and of the first not computed yet
    std::vector<Partial> tiles;  // (next - first) * slots
  };

  uint64_t* rows_at() const { return data_.get() + cursors_; }
  uint64_t* row(const Layout& layout, uint64_t seq) { return rows_at() + (seq & mask_) * layout.words; }
  uint32_t count_before(const Layout& layout, size_t slot, uint64_t seq) const {
    const uint64_t both = row(layout, seq)[layout.count_word + slot / 2];
    return static_cast<uint32_t>(slot % 2 == 0 ? both : both >> 32);
  }
  void resize(const Layout& layout, uint64_t capacity);
  void reserve_one(const Layout& layout);
  void write(const Layout& layout, const RowInput& input, uint64_t seq);
  void make_tiles(const Layout& layout, uint64_t high);
  void drop_tiles_from(const Layout& layout, uint64_t seq);
  void add_rows(const Layout& layout, size_t slot, uint64_t low, uint64_t high, Partial& partial) const;

  std::unique_ptr<uint64_t[]> data_;  // a cursor a window, then the ring
  size_t cursors_ = 0;
  uint64_t mask_ = 0;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  int64_t trim_at_us_ = INT64_MAX;  // the time of the row whose passing brings the next trim
  std::unique_ptr<std::array<TileLevel, kTileLevels>> tiles_;
};

}  // namespace millrace::features
