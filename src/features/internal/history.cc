#include "features/internal/history.h"

#include <algorithm>
#include <bit>

#include "state/page.h"

namespace millrace::features {

namespace {

constexpr uint64_t kFirstCapacity = 4;
// What a row's page needs at most, for the size of pages.
constexpr size_t kRowBytesMax = 2 * 10 + 2 * 10;
constexpr size_t kValueBytesMax = 1 + 10;  // a flag and a number

int64_t saturating_subtract(int64_t a, int64_t b) {
  int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b > 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

}  // namespace

void Layout::finish() {
  size_t word = 2;
  value_word.assign(slots.size(), 0);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].summed) value_word[i] = word++;
  }
  count_word = word;
  word += (slots.size() + 1) / 2;
  last_word = word;
  if (!last_columns.empty()) word += last_columns.size() + 1;
  words = word;

  row_bytes = kRowBytesMax + slots.size() * kValueBytesMax;
  for (const columns::Type& type : last_types)
    row_bytes += type.kind == columns::Kind::kVarchar ? kLastTextBytesMax + 2 : kValueBytesMax;
  while (rows_per_page > 1 && page_bytes_max(rows_per_page) > state::kPageBytesMax) rows_per_page /= 2;
}

bool History::appends(const Layout& layout, int64_t time_us, int64_t offset_value) const {
  if (empty()) return true;
  const int64_t newest = time(layout, end_ - 1);
  return newest < time_us || (newest == time_us && offset(layout, end_ - 1) <= offset_value);
}

uint64_t History::place_of(const Layout& layout, int64_t time_us, int64_t offset_value) const {
  uint64_t low = begin_;
  uint64_t high = end_;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    const int64_t t = time(layout, middle);
    const bool not_later = t < time_us || (t == time_us && offset(layout, middle) <= offset_value);
    if (not_later)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void History::resize(const Layout& layout, uint64_t capacity) {
  const size_t cursors = layout.windows_us.size();
  auto data = std::make_unique_for_overwrite<uint64_t[]>(cursors + capacity * layout.words);
  const uint64_t mask = capacity - 1;
  if (data_ == nullptr) {
    std::fill_n(data.get(), cursors + layout.words, 0);  // cursors, and nothing before the first row
  } else {
    std::copy_n(data_.get(), cursors, data.get());
    for (uint64_t seq = begin_; seq <= end_; ++seq)
      std::copy_n(row(layout, seq), layout.words, data.get() + cursors + (seq & mask) * layout.words);
  }
  data_ = std::move(data);
  cursors_ = cursors;
  mask_ = mask;
}

// Room for one more row and the totals behind it.
void History::reserve_one(const Layout& layout) {
  if (data_ == nullptr) {
    resize(layout, kFirstCapacity);
    // A history restored in the middle begins at another row than 0.
    std::fill_n(row(layout, end_), layout.words, 0);
  } else if (rows() + 2 > mask_ + 1) {
    resize(layout, (mask_ + 1) * 2);
  }
}

void History::shrink(const Layout& layout) {
  constexpr uint64_t kWorthwhile = 64;
  if (data_ == nullptr || mask_ + 1 < kWorthwhile || (rows() + 2) * 8 > mask_ + 1) return;
  resize(layout, std::max(kFirstCapacity, std::bit_ceil((rows() + 2) * 2)));
}

// Fills row `seq`, whose totals before it stand there already, and the totals of the row behind it.
void History::write(const Layout& layout, const RowInput& input, uint64_t seq) {
  uint64_t* here = row(layout, seq);
  uint64_t* behind = row(layout, seq + 1);
  here[0] = static_cast<uint64_t>(input.time_us);
  here[1] = static_cast<uint64_t>(input.offset);
  for (size_t pair = 0; pair < (layout.slots.size() + 1) / 2; ++pair) {
    const uint64_t both = here[layout.count_word + pair];
    auto low = static_cast<uint32_t>(both);
    auto high = static_cast<uint32_t>(both >> 32);
    low += input.slots[2 * pair].counts ? 1 : 0;
    if (2 * pair + 1 < layout.slots.size()) high += input.slots[2 * pair + 1].counts ? 1 : 0;
    behind[layout.count_word + pair] = low | static_cast<uint64_t>(high) << 32;
  }
  for (size_t i = 0; i < layout.slots.size(); ++i) {
    const Slot& slot = layout.slots[i];
    if (!slot.summed) continue;
    const size_t word = layout.value_word[i];
    const SlotValue& value = input.slots[i];
    if (slot.exact)
      behind[word] = here[word] + static_cast<uint64_t>(value.counts ? value.exact : 0);
    else
      here[word] = std::bit_cast<uint64_t>(value.counts ? value.real : 0.0);
  }
  if (layout.last_columns.empty()) return;
  std::copy(input.last.begin(), input.last.end(), here + layout.last_word);
  here[layout.last_word + input.last.size()] = input.last_valid;
}

void History::insert(const Layout& layout, const RowInput& input, uint64_t seq) {
  reserve_one(layout);
  const size_t windows = layout.windows_us.size();
  if (seq == end_) {
    write(layout, input, seq);
    ++end_;
  } else {
    uint64_t* cursors = data_.get();
    const int64_t newest = time(layout, end_ - 1);
    for (size_t w = 0; w < windows; ++w)
      if (seq < cursors[w] || (seq == cursors[w] && input.time_us <= saturating_subtract(newest, layout.windows_us[w])))
        ++cursors[w];
    // Move everything behind by one, and add this row to their totals.
    for (uint64_t i = end_ + 1; i > seq; --i) std::copy_n(row(layout, i - 1), layout.words, row(layout, i));
    ++end_;
    write(layout, input, seq);  // sets the totals before the next row, too
    for (uint64_t i = seq + 2; i <= end_; ++i) {
      uint64_t* later = row(layout, i);
      for (size_t s = 0; s < layout.slots.size(); ++s) {
        const SlotValue& value = input.slots[s];
        if (!value.counts) continue;
        uint64_t& counts = later[layout.count_word + s / 2];
        if (s % 2 == 0)
          counts = (counts & ~uint64_t{UINT32_MAX}) | static_cast<uint32_t>(counts + 1);
        else
          counts += uint64_t{1} << 32;
        if (layout.slots[s].summed && layout.slots[s].exact)
          later[layout.value_word[s]] += static_cast<uint64_t>(value.exact);
      }
    }
    drop_tiles_from(layout, seq);
  }
  // Rows in the middle of an ordered history do not move the time of its next trim.
  if (rows() <= 2 || seq <= begin_ + 1) trim_at_us_ = std::min(trim_at_us_, input.time_us);
  dirty_from = std::min(dirty_from, seq);
}

void History::advance_to(const Layout& layout, int64_t time_us, uint64_t floor, std::span<uint64_t> lows) {
  if (data_ == nullptr) {
    std::fill(lows.begin(), lows.end(), end_);
    return;
  }
  uint64_t* cursors = data_.get();
  for (size_t w = 0; w < lows.size(); ++w) {
    const int64_t limit = saturating_subtract(time_us, layout.windows_us[w]);
    uint64_t low = std::max(cursors[w], floor);
    while (low < end_ && time(layout, low) <= limit) ++low;
    cursors[w] = low;
    lows[w] = low;
  }
}

void History::search(const Layout& layout, int64_t time_us, uint64_t floor, std::span<uint64_t> lows) const {
  for (size_t w = 0; w < lows.size(); ++w) {
    const int64_t limit = saturating_subtract(time_us, layout.windows_us[w]);
    lows[w] = std::max(floor, place_of(layout, limit, std::numeric_limits<int64_t>::max()));
  }
}

__int128 History::wide_sum(const Layout& layout, size_t slot, uint64_t low, uint64_t high) const {
  __int128 sum = 0;
  for (uint64_t seq = low; seq < high; ++seq) sum += wrapped_sum(layout, slot, seq, seq + 1);
  return sum;
}

SlotValue History::value(const Layout& layout, size_t slot, uint64_t seq) const {
  SlotValue value;
  value.counts = count(layout, slot, seq, seq + 1) != 0;
  if (!layout.slots[slot].summed) return value;
  if (layout.slots[slot].exact)
    value.exact = wrapped_sum(layout, slot, seq, seq + 1);
  else
    value.real = std::bit_cast<double>(row(layout, seq)[layout.value_word[slot]]);
  return value;
}

void History::drop_tiles_from(const Layout& layout, uint64_t seq) {
  if (tiles_ == nullptr) return;
  int bits = 0;
  for (TileLevel& level : *tiles_) {
    bits += kTileBits;
    const uint64_t tile = seq >> bits;
    if (tile >= level.next) continue;
    level.next = std::max(tile, level.first);
    level.tiles.resize((level.next - level.first) * layout.slots.size());
  }
}

// Computes the tiles that lie wholly in [begin, high) and are not there yet.
void History::make_tiles(const Layout& layout, uint64_t high) {
  if (tiles_ == nullptr) tiles_ = std::make_unique<std::array<TileLevel, kTileLevels>>();
  const size_t slots = layout.slots.size();
  int bits = 0;
  for (size_t l = 0; l < kTileLevels; ++l) {
    bits += kTileBits;
    TileLevel& level = (*tiles_)[l];
    const uint64_t first = (begin_ + (uint64_t{1} << bits) - 1) >> bits;
    if (level.next <= first) {
      level = {first, first, {}};
    } else if (first - level.first > (level.next - level.first) / 2) {
      level.tiles.erase(level.tiles.begin(),
                        level.tiles.begin() + static_cast<std::ptrdiff_t>((first - level.first) * slots));
      level.first = first;
    }
    for (; (level.next + 1) << bits <= high; ++level.next) {
      for (size_t s = 0; s < slots; ++s) {
        Partial tile;
        if (layout.slots[s].scanned && l == 0) {
          add_rows(layout, s, level.next << bits, (level.next + 1) << bits, tile);
        } else if (layout.slots[s].scanned) {
          const TileLevel& below = (*tiles_)[l - 1];
          for (uint64_t part = level.next << kTileBits; part < (level.next + 1) << kTileBits; ++part)
            tile.add(below.tiles[(part - below.first) * slots + s]);
        }
        level.tiles.push_back(tile);
      }
    }
  }
}

void History::add_rows(const Layout& layout, size_t slot, uint64_t low, uint64_t high, Partial& partial) const {
  const Slot& description = layout.slots[slot];
  if (!description.spread) {
    // Only a sum of doubles is asked for, and a missing one is kept as 0. In runs up to the ring's end.
    const size_t word = layout.value_word[slot];
    for (uint64_t seq = low; seq < high;) {
      const uint64_t run = std::min(high - seq, mask_ + 1 - (seq & mask_));
      const uint64_t* here = row(layout, seq) + word;
      for (uint64_t i = 0; i < run; ++i, here += layout.words) partial.sum.add(std::bit_cast<double>(*here));
      seq += run;
    }
    return;
  }
  for (uint64_t seq = low; seq < high; ++seq)
    if (const SlotValue v = value(layout, slot, seq); v.counts)
      partial.add(v.as_double(description), v.ordered(description));
}

void History::accumulate(const Layout& layout, size_t slot, uint64_t low, uint64_t high, Partial& partial) {
  constexpr uint64_t kTilesPay = 3u << kTileBits;
  if (high - low < kTilesPay) {
    add_rows(layout, slot, low, high, partial);
    return;
  }
  make_tiles(layout, high);
  for (uint64_t seq = low; seq < high;) {
    size_t best = 0;  // 0: a row; l: a tile of level l - 1
    for (size_t l = 1; tiles_ != nullptr && l <= kTileLevels; ++l) {
      const int bits = kTileBits * static_cast<int>(l);
      const uint64_t size = uint64_t{1} << bits;
      const TileLevel& level = (*tiles_)[l - 1];
      const uint64_t tile = seq >> bits;
      if (seq % size != 0 || seq + size > high || tile < level.first || tile >= level.next) break;
      best = l;
    }
    if (best == 0) {
      const uint64_t stop = std::min(high, (seq | ((uint64_t{1} << kTileBits) - 1)) + 1);
      add_rows(layout, slot, seq, stop, partial);
      seq = stop;
      continue;
    }
    const int bits = kTileBits * static_cast<int>(best);
    const TileLevel& level = (*tiles_)[best - 1];
    partial.add(level.tiles[((seq >> bits) - level.first) * layout.slots.size() + slot]);
    seq += uint64_t{1} << bits;
  }
}

void History::trim(const Layout& layout, int64_t horizon_us, int64_t forget_us, bool keep_one, TextPool& texts) {
  const uint64_t before = begin_;
  const auto drop_first = [&] {
    const uint64_t* first = row(layout, begin_);
    for (size_t i = 0; i < layout.last_columns.size(); ++i) {
      const bool valid = (first[layout.last_word + layout.last_columns.size()] >> i) & 1;
      if (valid && layout.last_types[i].kind == columns::Kind::kVarchar)
        texts.release(static_cast<uint32_t>(first[layout.last_word + i]));
    }
    ++begin_;
  };
  while (begin_ + (keep_one ? 1 : 0) < end_ && time(layout, begin_ + (keep_one ? 1 : 0)) <= horizon_us) drop_first();
  while (begin_ < end_ && time(layout, begin_) <= std::min(forget_us, horizon_us)) drop_first();
  trim_at_us_ = std::numeric_limits<int64_t>::max();
  if (begin_ + 1 < end_ && keep_one) trim_at_us_ = time(layout, begin_ + 1);
  if (begin_ < end_ && !keep_one) trim_at_us_ = time(layout, begin_);
  // The one kept is forgotten at last; horizon_us - forget_us is the same at every call.
  if (begin_ < end_ && keep_one)
    trim_at_us_ =
        std::min(trim_at_us_, saturating_subtract(time(layout, begin_), saturating_subtract(forget_us, horizon_us)));
  if (begin_ == before || dirty_from == kClean) return;
  dirty_from = std::max(dirty_from, begin_);
}

size_t History::bytes(const Layout& layout) const {
  if (data_ == nullptr) return 0;
  size_t bytes = (cursors_ + (mask_ + 1) * layout.words) * sizeof(uint64_t);
  if (tiles_ != nullptr)
    for (const TileLevel& level : *tiles_) bytes += level.tiles.capacity() * sizeof(Partial);
  return bytes;
}

}  // namespace millrace::features
