#include <fmt/core.h>

#include "base/text.h"
#include "base/utf8.h"
#include "format/internal/csv_row.h"
#include "format/internal/rows.h"

namespace millrace::format {
namespace {

using columns::Kind;

tl::unexpected<Error> reject(std::string reason) { return fail(Errc::kInvalidArgument, std::move(reason)); }

std::optional<bool> parse_boolean(std::string_view text) {
  for (const std::string_view yes : {"true", "TRUE", "True", "t", "1"})
    if (text == yes) return true;
  for (const std::string_view no : {"false", "FALSE", "False", "f", "0"})
    if (text == no) return false;
  return std::nullopt;
}

class CsvParser final : public RowParser {
 public:
  CsvParser(std::span<const Slot> slots, std::optional<TimeFormat> time, char delimiter)
      : slots_(slots.begin(), slots.end()), time_(std::move(time)), delimiter_(delimiter) {}

  Result<ParsedRow> parse(std::string_view value, std::span<Cell> cells) override {
    ParsedRow row;
    // A producer may send the line with its end.
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.remove_suffix(1);
    if (value.empty() && slots_.size() != 1) return row;
    if (!is_utf8(value)) return reject("not CSV: the bytes are not UTF-8");
    if (const char* problem = split_csv_row(value, delimiter_, fields_, scratch_))
      return reject(fmt::format("not CSV: {}", problem));
    if (fields_.size() != slots_.size())
      return reject(fmt::format("expected {} fields, got {}", slots_.size(), fields_.size()));
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Slot& slot = slots_[i];
      if (fields_[i].text.empty() && !(fields_[i].quoted && slot.type.kind == Kind::kVarchar)) {
        cells[i].state = Cell::State::kNull;
      } else if (slot.is_time) {
        MILLRACE_ASSIGN_OR_RETURN(row.event_time_us, read_time(slot, fields_[i].text, cells[i]));
      } else {
        row.only_time = false;
        if (slot.wanted) MILLRACE_RETURN_IF_ERROR(read(slot, fields_[i].text, cells[i]));
      }
    }
    return row;
  }

 private:
  Status read(const Slot& slot, std::string_view field, Cell& cell) const {
    const std::string_view text = trim(field);
    switch (slot.type.kind) {
      case Kind::kVarchar:
        cell.set_text(field, points_into_scratch(field));
        return {};
      case Kind::kBoolean:
        if (const auto boolean = parse_boolean(text)) {
          cell.set_integer(*boolean ? 1 : 0);
          return {};
        }
        break;
      case Kind::kBigint:
        if (const auto integer = parse_int64(text)) {
          cell.set_integer(*integer);
          return {};
        }
        break;
      case Kind::kDouble:
        if (const auto number = parse_double(text)) {
          cell.set_number(*number);
          return {};
        }
        break;
      case Kind::kDecimal:
        if (const auto decimal = parse_decimal(text, slot.type.width, slot.type.scale)) {
          cell.set_integer(*decimal);
          return {};
        }
        break;
      case Kind::kTimestamp: {
        const auto us = plain_time_.read_text(text);
        if (!us) return reject(fmt::format("column {}: {}", slot.name, us.error().message));
        cell.set_integer(*us);
        return {};
      }
    }
    return reject(wrong_type(slot, "the text", fmt::format("\"{}\"", field)));
  }

  Result<int64_t> read_time(const Slot& slot, std::string_view field, Cell& cell) const {
    const auto us = time_->read_text(trim(field));
    if (!us) return reject(fmt::format("column {}: {}", slot.name, us.error().message));
    if (slot.type.kind == Kind::kTimestamp)
      cell.set_integer(*us);
    else
      MILLRACE_RETURN_IF_ERROR(read(slot, field, cell));
    return *us;
  }

  bool points_into_scratch(std::string_view text) const {
    return text.data() >= scratch_.data() && text.data() < scratch_.data() + scratch_.size();
  }

  std::vector<Slot> slots_;
  std::optional<TimeFormat> time_;
  TimeFormat plain_time_;
  char delimiter_;
  std::vector<CsvField> fields_;
  std::string scratch_;
};

}  // namespace

std::unique_ptr<RowParser> make_csv_parser(std::span<const Slot> slots, std::optional<TimeFormat> time,
                                           char delimiter) {
  return std::make_unique<CsvParser>(slots, std::move(time), delimiter);
}

}  // namespace millrace::format
