#include "features/keyed_windows.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "features/internal/history.h"
#include "features/internal/key_table.h"
#include "features/internal/plan.h"
#include "features/internal/text_pool.h"
#include "features/internal/window_plan.h"

namespace millrace::features {

namespace {

constexpr int64_t kNoWatermark = std::numeric_limits<int64_t>::min();
// How many rows ahead memory is asked for: for the key's state, then for what that points to.
constexpr size_t kPrefetchRows = 8;
constexpr size_t kPrefetchStates = 16;

struct KeyState {
  std::string key;
  uint64_t hash = 0;
  bool used = false;
  History history;
};

int64_t minus(int64_t a, int64_t b) {
  int64_t difference = 0;
  return __builtin_sub_overflow(a, b, &difference) ? kNoWatermark : difference;
}

}  // namespace

struct KeyedWindows::Impl : WindowPlan {
  explicit Impl(WindowPlan plan) : WindowPlan(std::move(plan)) {
    lows.resize(layout.windows_us.size());
    row_input.slots.resize(layout.slots.size());
    row_input.last.resize(layout.last_columns.size());
    magnitude.resize(layout.slots.size());
  }

  std::vector<KeyState> states;
  std::vector<uint32_t> free_states;
  KeyTable table;
  TextPool texts;
  std::vector<uint32_t> dirty;
  size_t sweep = 0;
  size_t rows_kept = 0;
  std::vector<uint64_t> magnitude;  // the largest |value| ever seen of each exact slot, at least

  // Of the row in work.
  RowInput row_input;
  std::vector<uint64_t> lows;

  uint32_t state_of(std::string_view key, uint64_t hash);
  void find_states(const columns::Batch& batch, std::vector<uint32_t>& found, std::vector<Rejected>& rejected);
  std::optional<Error> read_row(const columns::Batch& batch, size_t row);
  void hold_texts(const columns::Batch& batch, size_t row);
  void prefetch(const std::vector<uint32_t>& numbers, size_t row) const;
  void mark_dirty(uint32_t number);
  void trim(uint32_t number, int64_t watermark_us);
  void remove_if_empty(uint32_t number);
  void features(History& history, uint64_t high, std::vector<columns::Column>& columns);
  void count_and_sum(const History& history, size_t slot, uint64_t low, uint64_t high, Totals& totals) const;
  void append_last(const History& history, uint64_t place, std::vector<columns::Column>& columns) const;
  void take_row(const columns::Batch& batch, size_t row, uint32_t number, int64_t watermark_us,
                std::vector<columns::Column>& columns);
};

KeyedWindows::KeyedWindows(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KeyedWindows::~KeyedWindows() = default;

Result<std::unique_ptr<KeyedWindows>> KeyedWindows::create(const FeatureSpec& spec, columns::SchemaPtr input) {
  MILLRACE_ASSIGN_OR_RETURN(WindowPlan plan, WindowPlan::make(spec, std::move(input)));
  return std::unique_ptr<KeyedWindows>(new KeyedWindows(std::make_unique<Impl>(std::move(plan))));
}

const columns::SchemaPtr& KeyedWindows::output_schema() const { return impl_->output; }
uint64_t KeyedWindows::signature() const { return impl_->signature; }
size_t KeyedWindows::keys() const { return impl_->table.size(); }
size_t KeyedWindows::rows_kept() const { return impl_->rows_kept; }

size_t KeyedWindows::bytes() const {
  size_t bytes = impl_->table.bytes() + impl_->texts.bytes() + impl_->states.size() * sizeof(KeyState);
  for (const KeyState& state : impl_->states) bytes += state.history.bytes(impl_->layout);
  return bytes;
}

uint32_t KeyedWindows::Impl::state_of(std::string_view key, uint64_t hash) {
  uint32_t number = table.find(key, hash, [this](uint32_t n) { return std::string_view(states[n].key); });
  if (number != KeyTable::kNone) return number;
  if (free_states.empty()) {
    number = static_cast<uint32_t>(states.size());
    states.emplace_back();
  } else {
    number = free_states.back();
    free_states.pop_back();
  }
  KeyState& state = states[number];
  state.key = key;
  state.hash = hash;
  state.used = true;
  state.history = History();
  table.insert(hash, number);
  return number;
}

// Look up every row's key first: the look-ups of a batch wait for memory side by side instead of one after another.
void KeyedWindows::Impl::find_states(const columns::Batch& batch, std::vector<uint32_t>& found,
                                     std::vector<Rejected>& rejected) {
  const size_t rows = batch.rows();
  std::string keys;
  std::vector<size_t> ends(rows);
  std::vector<uint64_t> hashes(rows);
  std::vector<bool> valid(rows);
  for (size_t row = 0; row < rows; ++row) {
    const size_t begin = keys.size();
    valid[row] = append_key(batch, key_columns, row, false, keys);
    if (!valid[row]) keys.resize(begin);
    ends[row] = keys.size();
    hashes[row] = hash_key(std::string_view(keys).substr(begin));
  }
  found.assign(rows, KeyTable::kNone);
  size_t begin = 0;
  for (size_t row = 0; row < rows; ++row) {
    if (row + kPrefetchRows < rows) table.prefetch(hashes[row + kPrefetchRows]);
    const std::string_view key = std::string_view(keys).substr(begin, ends[row] - begin);
    begin = ends[row];
    if (!valid[row]) continue;
    if (key.size() > state::kKeyBytesMax) {
      rejected.push_back({static_cast<uint32_t>(row),
                          Error{Errc::kTooLarge,
                                fmt::format("a key of {} bytes, at most {} are kept", key.size(), state::kKeyBytesMax),
                                {}}});
      continue;
    }
    found[row] = state_of(key, hashes[row]);
  }
}

// Reads what the row gives its key into row_input; an error where it cannot be kept.
std::optional<Error> KeyedWindows::Impl::read_row(const columns::Batch& batch, size_t row) {
  row_input.time_us = batch.row_id(row).event_time_us;
  row_input.offset = batch.row_id(row).offset.value();
  for (size_t s = 0; s < layout.slots.size(); ++s) {
    const SlotValue value = read_slot(layout.slots[s], batch, row);
    row_input.slots[s] = value;
    const uint64_t size = value.exact < 0 ? 0 - static_cast<uint64_t>(value.exact) : static_cast<uint64_t>(value.exact);
    magnitude[s] = std::max(magnitude[s], size);
  }
  for (size_t i = 0; i < layout.last_columns.size(); ++i) {
    if (layout.last_types[i].kind != columns::Kind::kVarchar) continue;
    const columns::Column& column = batch.column(layout.last_columns[i]);
    if (column.is_valid(row) && column.texts()[row].size() > kLastTextBytesMax)
      return Error{Errc::kTooLarge,
                   fmt::format("{}: a text of {} bytes, at most {} are kept as last value", spec.last[i].name,
                               column.texts()[row].size(), kLastTextBytesMax),
                   {}};
  }
  return std::nullopt;
}

void KeyedWindows::Impl::hold_texts(const columns::Batch& batch, size_t row) {
  row_input.last_valid = 0;
  for (size_t i = 0; i < layout.last_columns.size(); ++i) {
    const columns::Column& column = batch.column(layout.last_columns[i]);
    row_input.last[i] = 0;
    if (!column.is_valid(row)) continue;
    row_input.last_valid |= uint64_t{1} << i;
    switch (layout.last_types[i].kind) {
      case columns::Kind::kBoolean:
        row_input.last[i] = column.booleans()[row];
        break;
      case columns::Kind::kBigint:
      case columns::Kind::kDecimal:
      case columns::Kind::kTimestamp:
        row_input.last[i] = static_cast<uint64_t>(column.int64s()[row]);
        break;
      case columns::Kind::kDouble:
        row_input.last[i] = std::bit_cast<uint64_t>(column.doubles()[row]);
        break;
      case columns::Kind::kVarchar:
        row_input.last[i] = texts.hold(column.texts()[row]);
        break;
    }
  }
}

void KeyedWindows::Impl::prefetch(const std::vector<uint32_t>& numbers, size_t row) const {
  if (row + kPrefetchStates < numbers.size() && numbers[row + kPrefetchStates] != KeyTable::kNone) {
    const KeyState* state = &states[numbers[row + kPrefetchStates]];
    __builtin_prefetch(&state->history);
    __builtin_prefetch(reinterpret_cast<const char*>(&state->history) + sizeof(History) - 1);
  }
  if (row + kPrefetchRows < numbers.size() && numbers[row + kPrefetchRows] != KeyTable::kNone)
    states[numbers[row + kPrefetchRows]].history.prefetch(layout);
  if (row + kPrefetchRows / 2 < numbers.size() && numbers[row + kPrefetchRows / 2] != KeyTable::kNone)
    states[numbers[row + kPrefetchRows / 2]].history.prefetch_windows(layout);
}

void KeyedWindows::Impl::mark_dirty(uint32_t number) {
  History& history = states[number].history;
  if (history.listed_dirty) return;
  history.listed_dirty = true;
  dirty.push_back(number);
}

void KeyedWindows::Impl::trim(uint32_t number, int64_t watermark_us) {
  History& history = states[number].history;
  const int64_t horizon_us = minus(watermark_us, keep_us);
  if (!history.must_trim(horizon_us)) return;
  const uint64_t before = history.rows();
  history.trim(layout, horizon_us, minus(watermark_us, spec.forget_us), !layout.last_columns.empty(), texts);
  rows_kept -= before - history.rows();
  // Pages whose rows are all gone get tombstones.
  const uint64_t first_page = history.begin() / layout.rows_per_page;
  if (history.pages_begin < history.pages_end && (history.empty() || history.pages_begin < first_page))
    mark_dirty(number);
}

// The number and the exact sum of a slot's values in the rows [low, high).
void KeyedWindows::Impl::count_and_sum(const History& history, size_t slot, uint64_t low, uint64_t high,
                                       Totals& totals) const {
  if (slot == SIZE_MAX) {
    totals.count = static_cast<int64_t>(high - low);
    return;
  }
  totals.count = history.count(layout, slot, low, high);
  if (!layout.slots[slot].summed || !layout.slots[slot].exact) return;
  // As long as so many of the largest value fit, the sum modulo 2^64 is the sum.
  const auto bound = static_cast<unsigned __int128>(magnitude[slot]) * (high - low);
  totals.exact_sum = bound < (uint64_t{1} << 63) ? static_cast<__int128>(history.wrapped_sum(layout, slot, low, high))
                                                 : history.wide_sum(layout, slot, low, high);
}

// Appends a row's features: over the rows [lows[w], high) for each window. Outputs are in the order of slot, then
// window: those of the same place share what is summed, and each window adds to what the shorter one within it summed.
void KeyedWindows::Impl::features(History& history, uint64_t high, std::vector<columns::Column>& columns) {
  Totals totals;
  uint64_t summed_from = high;
  const Output* before = nullptr;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Output& out = outputs[i];
    const Slot* slot = out.slot == SIZE_MAX ? nullptr : &layout.slots[out.slot];
    const bool same_slot = before != nullptr && before->slot == out.slot;
    if (!history.empty() && !(same_slot && before->window == out.window)) {
      const uint64_t low = std::min(lows[out.window], high);
      count_and_sum(history, out.slot, low, high, totals);
      if (slot != nullptr && slot->scanned) {
        if (!same_slot) {
          totals.partial = Partial{};
          summed_from = high;
        }
        history.accumulate(layout, out.slot, low, summed_from, totals.partial);
        summed_from = low;
      }
    }
    append_result(*out.aggregate, slot, totals, columns[out.column]);
    before = &out;
  }
}

// The `last` values of the row before `place`.
void KeyedWindows::Impl::append_last(const History& history, uint64_t place,
                                     std::vector<columns::Column>& columns) const {
  const size_t first = outputs.size();
  for (size_t i = 0; i < layout.last_columns.size(); ++i) {
    columns::Column& column = columns[first + i];
    const uint64_t* before = place > history.begin() ? history.row(layout, place - 1) : nullptr;
    if (before == nullptr || ((before[layout.last_word + layout.last_columns.size()] >> i) & 1) == 0) {
      column.append_null();
      continue;
    }
    const uint64_t bits = before[layout.last_word + i];
    switch (layout.last_types[i].kind) {
      case columns::Kind::kBoolean:
        column.append_boolean(bits != 0);
        break;
      case columns::Kind::kBigint:
      case columns::Kind::kDecimal:
      case columns::Kind::kTimestamp:
        column.append_int64(static_cast<int64_t>(bits));
        break;
      case columns::Kind::kDouble:
        column.append_double(std::bit_cast<double>(bits));
        break;
      case columns::Kind::kVarchar:
        column.append_text_copy(texts.text(static_cast<uint32_t>(bits)));
        break;
    }
  }
}

void KeyedWindows::Impl::take_row(const columns::Batch& batch, size_t row, uint32_t number, int64_t watermark_us,
                                  std::vector<columns::Column>& columns) {
  if (number == KeyTable::kNone) {  // no key, no history
    History none;
    features(none, 0, columns);
    append_last(none, 0, columns);
    return;
  }
  trim(number, watermark_us);
  History& history = states[number].history;
  const int64_t time_us = row_input.time_us;
  const int64_t horizon_us = minus(watermark_us, keep_us);
  const bool in_order = history.appends(layout, time_us, row_input.offset);
  const uint64_t place = in_order ? history.end() : history.place_of(layout, time_us, row_input.offset);
  // The row that is only kept for its last values is in no window.
  uint64_t floor = history.begin();
  if (!history.empty() && history.time(layout, floor) <= horizon_us) ++floor;

  append_last(history, place, columns);
  hold_texts(batch, row);
  if (in_order)
    history.advance_to(layout, time_us, floor, lows);
  else
    history.search(layout, time_us, floor, lows);
  if (spec.asof == Asof::kAfterEvent) {
    history.insert(layout, row_input, place);
    for (uint64_t& low : lows) low = std::min(low, place);  // the row itself is in every window
    features(history, place + 1, columns);
  } else {
    features(history, place, columns);
    history.insert(layout, row_input, place);
  }
  ++rows_kept;
  mark_dirty(number);
  if (time_us <= horizon_us) trim(number, watermark_us);
}

Result<Processed> KeyedWindows::process(const columns::Batch& input, std::span<const int64_t> watermarks_us) {
  Impl& self = *impl_;
  MILLRACE_CHECK(input.schema() == *self.input, "a batch of another schema");
  MILLRACE_CHECK(watermarks_us.size() == input.rows(), "one watermark a row");
  std::vector<columns::Column> columns;
  for (size_t i = self.input->size(); i < self.output->size(); ++i) {
    columns.emplace_back(self.output->field(i).type);
    columns.back().reserve(input.rows());
  }
  Processed processed;
  std::vector<uint32_t> numbers;
  std::vector<Rejected> oversized;
  self.find_states(input, numbers, oversized);
  std::vector<uint32_t> taken;
  taken.reserve(input.rows());
  auto next_oversized = oversized.begin();
  for (size_t row = 0; row < input.rows(); ++row) {
    self.prefetch(numbers, row);
    const int64_t watermark_us = watermarks_us[row];
    const bool late = input.row_id(row).event_time_us < watermark_us;
    processed.late_rows += late ? 1 : 0;
    const auto index = static_cast<uint32_t>(row);
    if (next_oversized != oversized.end() && next_oversized->row == index) {
      processed.rejected.push_back(std::move(*next_oversized++));
      continue;
    }
    if (late && self.spec.late == LateRows::kReject) {
      processed.rejected.push_back({index, Error{Errc::kInvalidArgument,
                                                 fmt::format("late: event time {} lies before the watermark {}",
                                                             columns::format_timestamp(input.row_id(row).event_time_us),
                                                             columns::format_timestamp(watermark_us)),
                                                 {}}});
      continue;
    }
    if (auto error = self.read_row(input, row)) {
      processed.rejected.push_back({index, std::move(*error)});
      continue;
    }
    self.take_row(input, row, numbers[row], watermark_us, columns);
    taken.push_back(index);
  }
  const bool all = taken.size() == input.rows();
  processed.batch = (all ? input : input.gather(taken)).with_columns(self.output, share(std::move(columns)));
  return processed;
}

void KeyedWindows::Impl::remove_if_empty(uint32_t number) {
  KeyState& state = states[number];
  if (!state.used || !state.history.empty() || state.history.listed_dirty) return;
  table.erase(state.hash, number);
  state = KeyState();
  free_states.push_back(number);
}

void KeyedWindows::expire(int64_t watermark_us, size_t keys_max) {
  Impl& self = *impl_;
  const size_t looks = std::min(keys_max, self.states.size());
  for (size_t i = 0; i < looks; ++i) {
    self.sweep = self.sweep + 1 < self.states.size() ? self.sweep + 1 : 0;
    const auto number = static_cast<uint32_t>(self.sweep);
    if (!self.states[number].used) continue;
    self.trim(number, watermark_us);
    self.states[number].history.shrink(self.layout);
    self.remove_if_empty(number);
  }
}

void KeyedWindows::collect(state::PageSink& sink) {
  Impl& self = *impl_;
  Bytes bytes;
  for (const uint32_t number : self.dirty) {
    KeyState& state = self.states[number];
    History& history = state.history;
    history.listed_dirty = false;
    const ByteView key = as_byte_view(state.key);
    const uint64_t per_page = self.layout.rows_per_page;
    const uint64_t first =
        history.empty() ? history.pages_end : std::min(history.begin() / per_page, history.pages_end);
    for (; history.pages_begin < first; ++history.pages_begin) sink.erase(key, history.pages_begin);
    if (!history.empty() && history.dirty_from < history.end()) {
      const uint64_t from = std::max(history.dirty_from, history.begin()) / per_page;
      const uint64_t last = (history.end() - 1) / per_page;
      for (uint64_t page = from; page <= last; ++page) {
        bytes.clear();
        history.encode_page(self.layout, self.texts, page, bytes);
        sink.put(key, page, bytes);
      }
      if (history.pages_begin == history.pages_end) history.pages_begin = from;
      history.pages_end = last + 1;
    }
    history.dirty_from = History::kClean;
    self.remove_if_empty(number);
  }
  self.dirty.clear();
}

Status KeyedWindows::restore(ByteView key, uint64_t page, ByteView value) {
  Impl& self = *impl_;
  const std::string_view text = as_text(key);
  const uint32_t number = self.state_of(text, hash_key(text));
  History& history = self.states[number].history;
  const uint64_t before = history.end();
  MILLRACE_RETURN_IF_ERROR(history.decode_page(self.layout, self.texts, page, value));
  const uint64_t first = std::max(before, history.begin());
  self.rows_kept += history.end() - first;
  for (uint64_t seq = first; seq < history.end(); ++seq)
    for (size_t s = 0; s < self.layout.slots.size(); ++s) {
      const int64_t exact = history.value(self.layout, s, seq).exact;
      const uint64_t size = exact < 0 ? 0 - static_cast<uint64_t>(exact) : static_cast<uint64_t>(exact);
      self.magnitude[s] = std::max(self.magnitude[s], size);
    }
  return {};
}

}  // namespace millrace::features
