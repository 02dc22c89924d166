#include "features/tumbling.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/byte_reader.h"
#include "base/check.h"
#include "features/internal/plan.h"

// Layouts of pages: docs/formats/features.md.

namespace millrace::features {

namespace {

// The page that remembers a key's next window to emit, under gaps: zero; windows have the pages above.
constexpr uint64_t kGapPage = 0;

uint64_t page_of_window(int64_t index) {
  return (static_cast<uint64_t>(index) << 1 ^ static_cast<uint64_t>(index >> 63)) + 1;
}
int64_t window_of_page(uint64_t page) {
  const uint64_t zigzag = page - 1;
  return static_cast<int64_t>(zigzag >> 1) ^ -static_cast<int64_t>(zigzag & 1);
}

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

void write_sum(const CompensatedSum& sum, ByteWriter& writer) {
  writer.float64(sum.sum);
  writer.float64(sum.error);
}

Status read_sum(ByteReader& reader, CompensatedSum& sum) {
  MILLRACE_ASSIGN_OR_RETURN(sum.sum, reader.float64());
  MILLRACE_ASSIGN_OR_RETURN(sum.error, reader.float64());
  return {};
}

void write_totals(const Totals& totals, Bytes& out) {
  ByteWriter writer(out);
  writer.varint(totals.count);
  writer.fixed(static_cast<uint64_t>(static_cast<unsigned __int128>(totals.exact_sum) >> 64));
  writer.fixed(static_cast<uint64_t>(totals.exact_sum));
  write_sum(totals.partial.sum, writer);
  write_sum(totals.partial.squares, writer);
  writer.fixed(totals.partial.min);
  writer.fixed(totals.partial.max);
}

Result<Totals> read_totals(ByteReader& reader) {
  Totals totals;
  MILLRACE_ASSIGN_OR_RETURN(totals.count, reader.varint());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t high, reader.fixed<uint64_t>());
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t low, reader.fixed<uint64_t>());
  totals.exact_sum = static_cast<__int128>(static_cast<unsigned __int128>(high) << 64 | low);
  MILLRACE_RETURN_IF_ERROR(read_sum(reader, totals.partial.sum));
  MILLRACE_RETURN_IF_ERROR(read_sum(reader, totals.partial.squares));
  MILLRACE_ASSIGN_OR_RETURN(totals.partial.min, reader.fixed<int64_t>());
  MILLRACE_ASSIGN_OR_RETURN(totals.partial.max, reader.fixed<int64_t>());
  if (totals.count < 0) return fail(Errc::kCorruption, "a window with a negative count");
  return totals;
}

tl::unexpected<Error> no_window(int64_t index) {
  return fail(Errc::kCorruption, fmt::format("a window's number cannot be {}", index));
}

}  // namespace

struct TumblingAggregate::Impl {
  // A key's open windows.
  struct Key {
    std::map<int64_t, std::vector<Totals>> windows;  // by index; totals of all rows, then of each slot
    std::optional<int64_t> next;                     // under gaps: zero, the next window to emit
    std::set<uint64_t> dirty;
    std::set<uint64_t> written;
  };
  using Keys = std::map<std::string, Key, std::less<>>;

  TumblingSpec spec;
  columns::SchemaPtr input;
  columns::SchemaPtr output;
  std::vector<size_t> by_columns;
  std::vector<Slot> slots;
  std::vector<std::optional<size_t>> slot_of;  // of each aggregate
  uint64_t signature = 0;

  Keys keys;
  std::map<int64_t, std::set<std::string>> open;  // keys with something to emit at this window's close
  std::set<std::string> dirty_keys;
  int64_t closed_before = std::numeric_limits<int64_t>::min();  // windows with a smaller index have closed
  int64_t newest = std::numeric_limits<int64_t>::min();         // window seen, or that the watermark has come to
  size_t open_count = 0;

  // Rows to come out of the call in work.
  std::vector<columns::Column> columns;
  std::vector<columns::RowId> rows;

  Status plan();
  void begin_output();
  Aggregated take_output();
  void mark(const std::string& name, Key& key, uint64_t page);
  void schedule(const std::string& name, int64_t window) { open[window].insert(name); }
  void close_below(int64_t window, PartitionId partition, Offset offset);
  void emit(const std::string& name, Key& key, int64_t window, PartitionId partition, Offset offset);
  void begin_columns(std::vector<columns::Column>& out) const;
  Status append_by(const std::string& name, std::vector<columns::Column>& out) const;
  void add(const columns::Batch& batch, size_t row, int64_t window, const std::string& name);
  bool is_window(int64_t index) const;
  std::optional<Error> take_row(const columns::Batch& batch, size_t row, int64_t window, std::string& name);
  Status restore_window(const std::string& name, Key& key, int64_t window, ByteView value);
};

TumblingAggregate::TumblingAggregate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TumblingAggregate::~TumblingAggregate() = default;

Result<std::unique_ptr<TumblingAggregate>> TumblingAggregate::create(const TumblingSpec& spec,
                                                                     columns::SchemaPtr input) {
  auto impl = std::make_unique<Impl>();
  impl->spec = spec;
  impl->input = std::move(input);
  MILLRACE_RETURN_IF_ERROR(impl->plan());
  return std::unique_ptr<TumblingAggregate>(new TumblingAggregate(std::move(impl)));
}

Status TumblingAggregate::Impl::plan() {
  if (spec.size_us <= 0) return fail(Errc::kInvalidArgument, "aggregate: a window must be longer than 0");
  std::vector<columns::Field> fields;
  const auto add_field = [&fields](const std::string& name, columns::Type type) -> Status {
    for (const columns::Field& field : fields)
      if (field.name == name)
        return fail(Errc::kInvalidArgument, fmt::format("aggregate: there are two columns {}", name));
    fields.push_back({name, type});
    return {};
  };
  std::string text = fmt::format("tumbling 1 {} {}", spec.size_us, static_cast<int>(spec.gaps));
  for (const std::string& name : spec.by) {
    MILLRACE_ASSIGN_OR_RETURN(const size_t index, column_index(*input, name, "aggregate by"));
    by_columns.push_back(index);
    MILLRACE_RETURN_IF_ERROR(add_field(name, input->field(index).type));
    text += fmt::format("|by {} {}", name, input->field(index).type.to_string());
  }
  MILLRACE_RETURN_IF_ERROR(add_field("window_start", columns::kTimestamp));
  MILLRACE_RETURN_IF_ERROR(add_field("window_end", columns::kTimestamp));
  for (const Aggregate& aggregate : spec.aggregates) {
    MILLRACE_ASSIGN_OR_RETURN(const columns::Type type, result_type(aggregate, *input));
    slot_of.push_back(slot_for(aggregate, *input, slots));
    MILLRACE_RETURN_IF_ERROR(add_field(aggregate.name, type));
  }
  // A window that is open keeps totals, not rows: what was not summed when it began cannot be had later.
  for (const Slot& slot : slots)
    text +=
        fmt::format("|slot {} {} {} {}", slot.has_values() ? input->field(slot.column).name : "", slot.type.to_string(),
                    slot.where == kNoColumn ? "" : input->field(slot.where).name, slot.scanned);
  signature = stable_hash(text);
  output = std::make_shared<const columns::Schema>(std::move(fields));
  return {};
}

const columns::SchemaPtr& TumblingAggregate::output_schema() const { return impl_->output; }
uint64_t TumblingAggregate::signature() const { return impl_->signature; }
size_t TumblingAggregate::open_windows() const { return impl_->open_count; }

void TumblingAggregate::Impl::begin_columns(std::vector<columns::Column>& out) const {
  out.clear();
  for (const columns::Field& field : output->fields()) out.emplace_back(field.type);
}

void TumblingAggregate::Impl::begin_output() {
  begin_columns(columns);
  rows.clear();
}

Aggregated TumblingAggregate::Impl::take_output() {
  Aggregated aggregated;
  aggregated.batch = columns::Batch(output, share(std::exchange(columns, {})), std::exchange(rows, {}));
  return aggregated;
}

void TumblingAggregate::Impl::mark(const std::string& name, Key& key, uint64_t page) {
  key.dirty.insert(page);
  dirty_keys.insert(name);
}

// Appends the `by` values that are in a key's bytes, made by append_key with NULL as a value, to the first columns of
// `out`.
Status TumblingAggregate::Impl::append_by(const std::string& name, std::vector<columns::Column>& out) const {
  ByteReader reader(as_byte_view(name));
  for (size_t i = 0; i < by_columns.size(); ++i) {
    columns::Column& column = out[i];
    MILLRACE_ASSIGN_OR_RETURN(const uint8_t valid, reader.fixed<uint8_t>());
    if (valid == 0) {
      column.append_null();
      continue;
    }
    constexpr uint64_t kSign = uint64_t{1} << 63;
    switch (column.type().kind) {
      case columns::Kind::kBoolean: {
        MILLRACE_ASSIGN_OR_RETURN(const uint8_t value, reader.fixed<uint8_t>());
        column.append_boolean(value != 0);
        break;
      }
      case columns::Kind::kBigint:
      case columns::Kind::kDecimal:
      case columns::Kind::kTimestamp: {
        MILLRACE_ASSIGN_OR_RETURN(const uint64_t bits, reader.fixed<uint64_t>());
        column.append_int64(static_cast<int64_t>(bits ^ kSign));
        break;
      }
      case columns::Kind::kDouble: {
        MILLRACE_ASSIGN_OR_RETURN(const uint64_t bits, reader.fixed<uint64_t>());
        column.append_double(from_ordered(static_cast<int64_t>(bits ^ kSign)));
        break;
      }
      case columns::Kind::kVarchar: {
        uint64_t size = reader.remaining();
        if (by_columns[i] != by_columns.back()) {
          MILLRACE_ASSIGN_OR_RETURN(size, reader.fixed<uint64_t>());
        }
        MILLRACE_ASSIGN_OR_RETURN(const std::string_view text, reader.text(size));
        column.append_text_copy(text);
        break;
      }
    }
  }
  if (reader.remaining() > 0) return fail(Errc::kCorruption, "a window's key is longer than its values");
  return {};
}

void TumblingAggregate::Impl::emit(const std::string& name, Key& key, int64_t window, PartitionId partition,
                                   Offset offset) {
  const auto found = key.windows.find(window);
  const int64_t start_us = window * spec.size_us;
  MILLRACE_CHECK(append_by(name, columns).has_value(), "a key that append_key did not make");
  columns[by_columns.size()].append_int64(start_us);
  columns[by_columns.size() + 1].append_int64(start_us + spec.size_us);
  for (size_t a = 0; a < spec.aggregates.size(); ++a) {
    columns::Column& column = columns[by_columns.size() + 2 + a];
    const std::optional<size_t> place = slot_of[a];
    const Slot* slot = place ? &slots[*place] : nullptr;
    const Totals none;
    const Totals& totals = found == key.windows.end() ? none : found->second[place ? *place + 1 : 0];
    append_result(spec.aggregates[a], slot, totals, column);
  }
  rows.push_back({partition, offset, start_us + spec.size_us});
  if (found == key.windows.end()) return;
  key.windows.erase(found);
  --open_count;
  mark(name, key, page_of_window(window));
}

// Emits every window with an index below `window`, in order of window, then key.
void TumblingAggregate::Impl::close_below(int64_t window, PartitionId partition, Offset offset) {
  while (!open.empty() && open.begin()->first < window) {
    const int64_t index = open.begin()->first;
    const std::set<std::string> names = std::move(open.begin()->second);
    open.erase(open.begin());
    for (const std::string& name : names) {
      Key& key = keys.find(name)->second;
      emit(name, key, index, partition, offset);
      if (spec.gaps == Gaps::kNone) continue;
      key.next = index + 1;
      mark(name, key, kGapPage);
      // The key's next row: the window after this one, as long as the input goes on and the gap is no era.
      const int64_t following = key.windows.empty() ? newest : key.windows.begin()->first;
      if (following > index && following - index <= kGapWindowsMax)
        schedule(name, index + 1);
      else
        key.next.reset();
    }
  }
  closed_before = std::max(closed_before, window);
}

void TumblingAggregate::Impl::add(const columns::Batch& batch, size_t row, int64_t window, const std::string& name) {
  Key& key = keys[name];
  const auto [place, added] = key.windows.try_emplace(window);
  std::vector<Totals>& totals = place->second;
  if (added) {
    totals.resize(slots.size() + 1);
    ++open_count;
    schedule(name, window);
  }
  ++totals[0].count;
  for (size_t s = 0; s < slots.size(); ++s) {
    const SlotValue value = read_slot(slots[s], batch, row);
    if (!value.counts) continue;
    Totals& sums = totals[s + 1];
    ++sums.count;
    sums.exact_sum += value.exact;
    if (slots[s].scanned) sums.partial.add(value.as_double(slots[s]), value.ordered(slots[s]));
  }
  mark(name, key, page_of_window(window));
}

// Whether a window's begin and end, and those of many windows around it, are times that 64 bits can tell.
bool TumblingAggregate::Impl::is_window(int64_t index) const {
  const int64_t limit = std::numeric_limits<int64_t>::max() / 4 / spec.size_us;
  return index > -limit && index < limit;
}

// Adds a row that is not late to its window; an error where it cannot be kept. `name` is scratch.
std::optional<Error> TumblingAggregate::Impl::take_row(const columns::Batch& batch, size_t row, int64_t window,
                                                       std::string& name) {
  if (!is_window(window))
    return Error{
        Errc::kInvalidArgument,
        fmt::format("the event time of {} us since 1970 is too far away for a window", batch.row_id(row).event_time_us),
        "check the time format of the source: seconds, milliseconds or microseconds"};
  name.clear();
  append_key(batch, by_columns, row, true, name);
  if (name.size() > state::kKeyBytesMax)
    return Error{
        Errc::kTooLarge, fmt::format("a key of {} bytes, at most {} are kept", name.size(), state::kKeyBytesMax), {}};
  add(batch, row, window, name);
  return std::nullopt;
}

Result<Aggregated> TumblingAggregate::process(const columns::Batch& batch, std::span<const int64_t> watermarks_us) {
  Impl& self = *impl_;
  MILLRACE_CHECK(batch.schema() == *self.input, "a batch of another schema");
  MILLRACE_CHECK(watermarks_us.size() == batch.rows(), "one watermark a row");
  self.begin_output();
  Aggregated counts;
  std::string name;
  for (size_t row = 0; row < batch.rows(); ++row) {
    const columns::RowId& id = batch.row_id(row);
    const int64_t window = floor_divide(id.event_time_us, self.spec.size_us);
    const int64_t closing = floor_divide(watermarks_us[row], self.spec.size_us);
    // The watermark's, too: rows that moved it may have been filtered out before, and whether advance() was called in
    // between must not matter.
    self.newest = std::max({self.newest, closing, self.is_window(window) ? window : closing});
    if (closing > self.closed_before) self.close_below(closing, id.partition, id.offset);
    const auto index = static_cast<uint32_t>(row);
    if (window < self.closed_before) {
      if (self.spec.late == LateForWindow::kDrop)
        ++counts.dropped;
      else
        counts.rejected.push_back(
            {index, Error{Errc::kInvalidArgument,
                          fmt::format("late: the window of event time {} closed at {}",
                                      columns::format_timestamp(id.event_time_us),
                                      columns::format_timestamp(self.closed_before * self.spec.size_us)),
                          {}}});
    } else if (auto error = self.take_row(batch, row, window, name)) {
      counts.rejected.push_back({index, std::move(*error)});
    } else {
      ++counts.taken;
    }
  }
  counts.batch = self.take_output().batch;
  return counts;
}

Result<Aggregated> TumblingAggregate::advance(int64_t watermark_us, PartitionId partition, Offset offset) {
  impl_->begin_output();
  const int64_t closing = floor_divide(watermark_us, impl_->spec.size_us);
  impl_->newest = std::max(impl_->newest, closing);
  if (closing > impl_->closed_before) impl_->close_below(closing, partition, offset);
  return impl_->take_output();
}

Result<Aggregated> TumblingAggregate::finish(PartitionId partition, Offset offset) {
  impl_->begin_output();
  impl_->close_below(std::numeric_limits<int64_t>::max(), partition, offset);
  return impl_->take_output();
}

void TumblingAggregate::collect(state::PageSink& sink) {
  Impl& self = *impl_;
  Bytes bytes;
  for (const std::string& name : self.dirty_keys) {
    const auto found = self.keys.find(name);
    Impl::Key& key = found->second;
    for (const uint64_t page : key.dirty) {
      bytes.clear();
      ByteWriter writer(bytes);
      if (page == kGapPage) {
        if (key.next) writer.varint(*key.next);
      } else if (const auto window = key.windows.find(window_of_page(page)); window != key.windows.end()) {
        for (const Totals& totals : window->second) write_totals(totals, bytes);
      }
      if (!bytes.empty()) {
        sink.put(as_byte_view(name), page, bytes);
        key.written.insert(page);
      } else if (key.written.erase(page) > 0) {
        sink.erase(as_byte_view(name), page);
      }
    }
    key.dirty.clear();
    if (key.windows.empty() && !key.next) self.keys.erase(found);
  }
  self.dirty_keys.clear();
}

Status TumblingAggregate::Impl::restore_window(const std::string& name, Key& key, int64_t window, ByteView value) {
  if (!is_window(window)) return no_window(window);
  ByteReader reader(value);
  std::vector<Totals> totals;
  for (size_t i = 0; i <= slots.size(); ++i) {
    MILLRACE_ASSIGN_OR_RETURN(Totals one, read_totals(reader));
    totals.push_back(one);
  }
  if (reader.remaining() > 0) return fail(Errc::kCorruption, "a window's page is longer than its totals");
  key.windows[window] = std::move(totals);
  ++open_count;
  newest = std::max(newest, window);
  schedule(name, window);
  return {};
}

Status TumblingAggregate::restore(ByteView key_bytes, uint64_t page, ByteView value) {
  Impl& self = *impl_;
  const std::string name(as_text(key_bytes));
  std::vector<columns::Column> scratch;
  self.begin_columns(scratch);
  MILLRACE_RETURN_IF_ERROR(self.append_by(name, scratch));
  Impl::Key& key = self.keys[name];
  key.written.insert(page);
  if (page != kGapPage) return self.restore_window(name, key, window_of_page(page), value);
  ByteReader reader(value);
  MILLRACE_ASSIGN_OR_RETURN(const int64_t next, reader.varint());
  if (!self.is_window(next)) return no_window(next);
  key.next = next;
  self.schedule(name, next);
  return {};
}

}  // namespace millrace::features
