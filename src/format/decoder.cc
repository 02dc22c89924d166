#include "format/decoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "base/utf8.h"
#include "format/internal/rows.h"

namespace millrace::format {
namespace {

using columns::Column;
using columns::Kind;
using columns::RowId;

enum class Hidden { kKey, kPartition, kOffset, kTimestamp, kHeaders, kRest };

struct HiddenName {
  std::string_view name;
  Hidden hidden;
  columns::Type type;
};
constexpr std::array kHidden{
    HiddenName{"_key", Hidden::kKey, columns::kVarchar},
    HiddenName{"_partition", Hidden::kPartition, columns::kBigint},
    HiddenName{"_offset", Hidden::kOffset, columns::kBigint},
    HiddenName{"_timestamp", Hidden::kTimestamp, columns::kTimestamp},
    HiddenName{"_headers", Hidden::kHeaders, columns::kVarchar},
    HiddenName{"_rest", Hidden::kRest, columns::kVarchar},
};

const HiddenName* find_hidden(std::string_view name) {
  for (const HiddenName& hidden : kHidden)
    if (hidden.name == name) return &hidden;
  return nullptr;
}

// {"name":"value","twice":["a","b"],"none":null}
std::string headers_json(std::span<const HeaderView> headers) {
  std::string out;
  JsonWriter json(out);
  const auto write = [&json](const HeaderView& header) {
    if (header.value)
      json.text(*header.value);
    else
      json.null();
  };
  json.begin_object();
  for (size_t i = 0; i < headers.size(); ++i) {
    size_t same = 0;
    bool first = true;
    for (size_t j = 0; j < headers.size(); ++j) {
      if (headers[j].key != headers[i].key) continue;
      ++same;
      first = first && j >= i;
    }
    if (!first) continue;
    json.key(headers[i].key);
    if (same == 1) {
      write(headers[i]);
      continue;
    }
    json.begin_array();
    for (const HeaderView& header : headers)
      if (header.key == headers[i].key) write(header);
    json.end_array();
  }
  json.end_object();
  return out;
}

// The one column of raw and text.
class LineParser final : public RowParser {
 public:
  explicit LineParser(bool repair) : repair_(repair) {}

  Result<ParsedRow> parse(std::string_view value, std::span<Cell> cells) override {
    ParsedRow row;
    row.only_time = false;
    if (is_utf8(value)) {
      cells[0].set_text(value, false);
    } else if (repair_) {
      repaired_ = to_utf8(value);
      cells[0].set_text(repaired_, true);
    } else {
      return fail(Errc::kInvalidArgument, "the bytes are not UTF-8 (format raw repairs them)");
    }
    return row;
  }

 private:
  bool repair_;
  std::string repaired_;
};

void append_cell(Column& column, const Cell& cell) {
  if (cell.state != Cell::State::kSet) return column.append_null();
  switch (column.type().kind) {
    case Kind::kBoolean:
      return column.append_boolean(cell.integer != 0);
    case Kind::kBigint:
    case Kind::kDecimal:
    case Kind::kTimestamp:
      return column.append_int64(cell.integer);
    case Kind::kDouble:
      return column.append_double(cell.number);
    case Kind::kVarchar:
      return cell.volatile_text ? column.append_text_copy(cell.text) : column.append_text_view(cell.text);
  }
}

}  // namespace

std::optional<columns::Type> hidden_column_type(std::string_view name) {
  const HiddenName* hidden = find_hidden(name);
  return hidden == nullptr ? std::nullopt : std::optional(hidden->type);
}

class Decoder::Impl {
 public:
  Impl(DecoderOptions options, const Clock& clock) : options_(std::move(options)), clock_(clock) {}

  Status init() {
    MILLRACE_RETURN_IF_ERROR(init_slots());
    MILLRACE_RETURN_IF_ERROR(init_schema());
    MILLRACE_RETURN_IF_ERROR(init_time());
    MILLRACE_RETURN_IF_ERROR(init_wanted());
    cells_.resize(slots_.size());
    std::optional<TimeFormat> time;
    if (options_.time) time = options_.time->format;
    switch (options_.format) {
      case Format::kJson:
        parser_ = make_json_parser(slots_, std::move(time), wants_rest_,
                                   options_.schema != nullptr && options_.schema->root().is_closed());
        return {};
      case Format::kCsv:
        parser_ = make_csv_parser(slots_, std::move(time), options_.delimiter);
        return {};
      case Format::kRaw:
      case Format::kText:
        parser_ = std::make_unique<LineParser>(options_.format == Format::kRaw);
        return {};
    }
    return {};
  }

  const columns::SchemaPtr& schema() const { return schema_; }

  Decoded decode(std::span<const RecordView> records) {
    Decoded decoded;
    std::vector<std::shared_ptr<Column>> building;
    building.reserve(schema_->size());
    for (const columns::Field& field : schema_->fields()) {
      building.push_back(std::make_shared<Column>(field.type));
      building.back()->reserve(records.size());
    }
    std::vector<RowId> rows;
    rows.reserve(records.size());

    const std::shared_ptr<char[]> values = copy_values(records);
    const int64_t now_us = to_unix_us(clock_.wall_now());
    const char* at = values.get();
    for (uint32_t i = 0; i < records.size(); ++i) {
      const RecordView& record = records[i];
      const std::string_view value(at, record.value ? record.value->size() : 0);
      at += value.size();
      RowId id{record.partition, record.offset, record.timestamp_us};
      const auto verdict = decode_one(record, value, now_us, id);
      if (!verdict) {
        decoded.rejects.push_back({i, verdict.error().message});
      } else if (*verdict == Verdict::kHeartbeat) {
        decoded.heartbeats.push_back({i, id});
      } else {
        append_row(record, building);
        rows.push_back(id);
      }
    }
    std::vector<columns::ColumnPtr> built;
    built.reserve(building.size());
    for (std::shared_ptr<Column>& column : building) {
      if (column->type().kind == Kind::kVarchar) column->keep_alive(values);
      built.push_back(std::move(column));
    }
    decoded.batch = columns::Batch(schema_, std::move(built), std::move(rows));
    return decoded;
  }

 private:
  enum class Verdict { kRow, kHeartbeat };

  Status init_slots() {
    for (const columns::Field& field : options_.columns.fields()) {
      for (const Slot& slot : slots_)
        if (slot.name == field.name)
          return fail(Errc::kInvalidArgument, fmt::format("column {} is declared twice", field.name));
      if (find_hidden(field.name) != nullptr)
        return fail(Errc::kInvalidArgument, fmt::format("column {} is there for every row already", field.name),
                    "choose another name");
      slots_.push_back({.name = field.name, .type = field.type});
    }
    if (options_.format == Format::kRaw || options_.format == Format::kText) {
      if (slots_.empty()) slots_.push_back({.name = "value", .type = columns::kVarchar});
      if (slots_.size() != 1 || slots_[0].type != columns::kVarchar)
        return fail(Errc::kInvalidArgument,
                    fmt::format("format {} has one column, a varchar", format_name(options_.format)),
                    "take it apart in a sql step");
      if (options_.time)
        return fail(Errc::kInvalidArgument, fmt::format("format {} has no time column", format_name(options_.format)),
                    "make the time in a sql step");
    }
    if (options_.format == Format::kCsv && slots_.empty())
      return fail(Errc::kInvalidArgument, "format csv needs columns: they name its fields in order");
    return {};
  }

  Status init_schema() {
    if (options_.schema == nullptr) return {};
    if (options_.format != Format::kJson)
      return fail(Errc::kInvalidArgument,
                  fmt::format("a JSON Schema is for json, not {}", format_name(options_.format)));
    if (options_.columns != options_.schema->columns())
      return fail(Errc::kInvalidArgument, "the declared columns are not those of the JSON Schema");
    const SchemaNode& root = options_.schema->root();
    for (size_t i = 0; i < slots_.size(); ++i) {
      slots_[i].rule = root.property(slots_[i].name);
      slots_[i].pointer = pointer_to("", slots_[i].name);
      if (std::find(root.required.begin(), root.required.end(), slots_[i].name) != root.required.end())
        required_.push_back(i);
    }
    if (!root.is_flat()) whole_.emplace();
    return {};
  }

  Status init_time() {
    if (!options_.time) return {};
    for (Slot& slot : slots_) {
      if (slot.name != options_.time->column) continue;
      slot.is_time = true;
      const bool numbers = options_.time->format.takes_numbers();
      const bool fits = slot.type.kind == Kind::kTimestamp || (numbers && slot.type.kind == Kind::kBigint) ||
                        (numbers && slot.type.kind == Kind::kDouble) || (!numbers && slot.type.kind == Kind::kVarchar);
      if (fits) return {};
      return fail(Errc::kInvalidArgument,
                  fmt::format("time column {} is declared {}, which format {} does not go with", slot.name,
                              slot.type.to_string(), options_.time->format.name()),
                  "declare it timestamp");
    }
    return unknown_name("time column", options_.time->column);
  }

  Status init_wanted() {
    std::vector<columns::Field> fields;
    for (size_t i = 0; i < slots_.size(); ++i) {
      slots_[i].wanted = !options_.wanted;
      if (options_.wanted)
        for (const std::string& name : *options_.wanted) slots_[i].wanted |= name == slots_[i].name;
      if (!slots_[i].wanted) continue;
      fields.push_back({slots_[i].name, slots_[i].type});
      built_slots_.push_back(i);
    }
    if (options_.wanted) {
      for (const std::string& name : *options_.wanted) {
        if (options_.columns.index_of(name) || (slots_.size() == 1 && slots_[0].name == name)) continue;
        const HiddenName* hidden = find_hidden(name);
        if (hidden == nullptr) return unknown_name("column", name);
        if (hidden->hidden == Hidden::kRest && options_.format != Format::kJson)
          return fail(Errc::kInvalidArgument, fmt::format("format {} has no _rest", format_name(options_.format)));
        wants_rest_ |= hidden->hidden == Hidden::kRest;
        fields.push_back({std::string(hidden->name), hidden->type});
        hidden_.push_back(hidden->hidden);
      }
    }
    schema_ = std::make_shared<const columns::Schema>(std::move(fields));
    return {};
  }

  Status unknown_name(std::string_view what, const std::string& name) const {
    std::vector<std::string> names;
    names.reserve(slots_.size() + kHidden.size());
    for (const Slot& slot : slots_) names.push_back(slot.name);
    for (const HiddenName& hidden : kHidden) names.emplace_back(hidden.name);
    const auto nearest = nearest_name(name, names);
    return fail(Errc::kInvalidArgument, fmt::format("{} {} is not declared", what, name),
                nearest ? fmt::format("did you mean {}?", *nearest) : "add it to columns");
  }

  // All values in one block, so that text can be seen in place and parsers may read a little past a value's end.
  static std::shared_ptr<char[]> copy_values(std::span<const RecordView> records) {
    size_t bytes = 0;
    for (const RecordView& record : records) bytes += record.value ? record.value->size() : 0;
    std::shared_ptr<char[]> values(new char[bytes + RowParser::kPadding]);
    char* at = values.get();
    for (const RecordView& record : records) {
      if (!record.value || record.value->empty()) continue;
      std::memcpy(at, record.value->data(), record.value->size());
      at += record.value->size();
    }
    std::memset(at, 0, RowParser::kPadding);
    return values;
  }

  Result<Verdict> decode_one(const RecordView& record, std::string_view value, int64_t now_us, RowId& id) {
    const bool has_key = record.key.has_value();
    if (!record.value && has_key) return fail(Errc::kInvalidArgument, "the record has no value (a tombstone)");
    for (Cell& cell : cells_) cell.state = Cell::State::kAbsent;
    ParsedRow row;
    if (record.value) {
      MILLRACE_ASSIGN_OR_RETURN(row, parser_->parse(value, cells_));
    }
    if (options_.time && row.event_time_us) {
      if (auto likely = options_.time->format.check_likely(*row.event_time_us, now_us); !likely)
        return fail(Errc::kInvalidArgument,
                    fmt::format("column {}: {}", options_.time->column, likely.error().message));
      id.event_time_us = *row.event_time_us;
    }
    if (row.only_time && !has_key) return Verdict::kHeartbeat;
    if (value.empty() && options_.format == Format::kJson)
      return fail(Errc::kInvalidArgument, "not JSON: the value is empty");
    for (const size_t slot : required_)
      if (cells_[slot].state == Cell::State::kAbsent) return broken(slots_[slot].pointer, "required", "missing");
    if (whole_) MILLRACE_RETURN_IF_ERROR(check_whole(value));
    if (options_.time && !row.event_time_us)
      return fail(Errc::kInvalidArgument, fmt::format("column {}: the row has no event time", options_.time->column));
    return Verdict::kRow;
  }

  // Rules that look at several fields at once.
  Status check_whole(std::string_view value) {
    simdjson::dom::element element;
    if (const auto error = whole_->parse(value.data(), value.size(), false).get(element))
      return fail(Errc::kInvalidArgument, fmt::format("not JSON: {}", simdjson::error_message(error)));
    return options_.schema->root().check(JsonValue::of(element), {});
  }

  void append_row(const RecordView& record, std::span<const std::shared_ptr<Column>> building) const {
    size_t at = 0;
    for (const size_t slot : built_slots_) append_cell(*building[at++], cells_[slot]);
    for (const Hidden hidden : hidden_) append_hidden(record, hidden, *building[at++]);
  }

  void append_hidden(const RecordView& record, Hidden hidden, Column& column) const {
    switch (hidden) {
      case Hidden::kKey:
        if (!record.key) return column.append_null();
        return column.append_text_copy(is_utf8(*record.key) ? *record.key : std::string_view(to_utf8(*record.key)));
      case Hidden::kPartition:
        return column.append_int64(record.partition.value());
      case Hidden::kOffset:
        return column.append_int64(record.offset.value());
      case Hidden::kTimestamp:
        return column.append_int64(record.timestamp_us);
      case Hidden::kHeaders:
        return column.append_text_copy(headers_json(record.headers));
      case Hidden::kRest:
        return parser_->rest().empty() ? column.append_null() : column.append_text_copy(parser_->rest());
    }
  }

  DecoderOptions options_;
  const Clock& clock_;
  columns::SchemaPtr schema_;
  std::vector<Slot> slots_;                     // the declared columns
  std::vector<size_t> built_slots_;             // of those the wanted ones
  std::vector<size_t> required_;                // of those what a JSON Schema requires
  std::optional<simdjson::dom::parser> whole_;  // there where a JSON Schema must see the record as a whole
  std::vector<Hidden> hidden_;
  bool wants_rest_ = false;
  std::unique_ptr<RowParser> parser_;
  std::vector<Cell> cells_;
};

Decoder::Decoder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

Result<Decoder> Decoder::make(DecoderOptions options, const Clock& clock) {
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  MILLRACE_RETURN_IF_ERROR(impl->init());
  return Decoder(std::move(impl));
}

const columns::SchemaPtr& Decoder::schema() const { return impl_->schema(); }

Decoded Decoder::decode(std::span<const RecordView> records) { return impl_->decode(records); }

}  // namespace millrace::format
