#include <fmt/core.h>
#include <simdjson.h>

#include <cmath>
#include <cstring>
#include <unordered_map>

#include "base/json_writer.h"
#include "format/internal/rows.h"

namespace millrace::format {
namespace {

using columns::Kind;
namespace ondemand = simdjson::ondemand;

// simdjson reads this far behind a document.
static_assert(RowParser::kPadding >= simdjson::SIMDJSON_PADDING);

tl::unexpected<Error> reject(std::string reason) { return fail(Errc::kInvalidArgument, std::move(reason)); }

std::string_view trimmed(std::string_view token) {
  const size_t last = token.find_last_not_of(" \t\r\n");
  return last == std::string_view::npos ? std::string_view() : token.substr(0, last + 1);
}

class JsonParser final : public RowParser {
 public:
  JsonParser(std::span<const Slot> slots, std::optional<TimeFormat> time, bool wants_rest, bool closed)
      : slots_(slots.begin(), slots.end()), time_(std::move(time)), wants_rest_(wants_rest), closed_(closed) {
    for (size_t i = 0; i < slots_.size(); ++i) by_name_.emplace(slots_[i].name, static_cast<int>(i));
  }

  std::string_view rest() const override { return rest_; }

  Result<ParsedRow> parse(std::string_view value, std::span<Cell> cells) override {
    rest_.clear();
    row_ = {};
    if (value.empty()) return row_;
    try {
      return parse_document(value, cells);
    } catch (const simdjson::simdjson_error& error) {
      return reject(fmt::format("not JSON: {}", simdjson::error_message(error.error())));
    }
  }

 private:
  // What stood at this position of the last record: records of one source mostly have the same fields in the same
  // order, and then comparing is all the lookup there is.
  struct Expected {
    std::string quoted;  // the name and the quote behind it
    int slot = -1;
  };
  static constexpr size_t kExpectedMax = 256;

  Result<ParsedRow> parse_document(std::string_view value, std::span<Cell> cells) {
    ondemand::document document;
    const simdjson::padded_string_view padded(value.data(), value.size(), value.size() + kPadding);
    if (const auto error = parser_.iterate(padded).get(document))
      return reject(error == simdjson::EMPTY ? std::string("not JSON: nothing but white space")
                                             : fmt::format("not JSON: {}", simdjson::error_message(error)));
    ondemand::object object;
    if (const auto error = document.get_object().get(object))
      return reject(error == simdjson::INCORRECT_TYPE ? std::string("not a JSON object")
                                                      : fmt::format("not JSON: {}", simdjson::error_message(error)));
    size_t position = 0;
    for (auto field_result : object) {
      ondemand::field field;
      if (const auto error = std::move(field_result).get(field))
        return reject(fmt::format("not JSON: {}", simdjson::error_message(error)));
      const int index = slot_of(field, position++);
      ondemand::value field_value = field.value();
      if (index < 0) {
        if (closed_) return broken(pointer_to({}, name_), "additionalProperties", "no such property");
        MILLRACE_RETURN_IF_ERROR(pass_over(field_value));
        continue;
      }
      const auto at = static_cast<size_t>(index);
      const Slot& slot = slots_[at];
      if (slot.is_time) {
        MILLRACE_RETURN_IF_ERROR(read_time(slot, field_value, cells[at]));
        if (slot.rule != nullptr) MILLRACE_RETURN_IF_ERROR(check(slot, cells[at]));
      } else if (slot.wanted || slot.rule != nullptr) {
        MILLRACE_RETURN_IF_ERROR(read(slot, field_value, cells[at]));
        if (slot.rule != nullptr) MILLRACE_RETURN_IF_ERROR(check(slot, cells[at]));
        if (cells[at].state == Cell::State::kSet) row_.only_time = false;
      } else {
        MILLRACE_RETURN_IF_ERROR(validate(field_value));
      }
    }
    if (!document.current_location().error()) return reject("not JSON: more follows behind the object");
    if (!rest_.empty()) rest_ += '}';
    return row_;
  }

  // The declared column of that name, -1 if there is none; leaves the name in name_.
  int slot_of(ondemand::field& field, size_t position) {
    const char* raw = field.key().raw();
    if (position < expected_.size()) {
      const std::string& quoted = expected_[position].quoted;
      // strncmp ends at the first difference, and the record's name ends with a quote: never past the padding.
      if (!quoted.empty() && std::strncmp(raw, quoted.data(), quoted.size()) == 0) {
        name_ = std::string_view(quoted).substr(0, quoted.size() - 1);
        return expected_[position].slot;
      }
    }
    // A quote ends the name, for inside of it one would have a backslash before it.
    size_t length = 0;
    bool escaped = false;
    for (; raw[length] != '"'; ++length) {
      if (raw[length] != '\\') continue;
      escaped = true;
      ++length;
    }
    // The library forgets a name once it has been unescaped: it is asked for only here.
    scratch_ = escaped ? std::string_view(field.unescaped_key().value()) : std::string_view(raw, length);
    name_ = scratch_;
    const auto found = by_name_.find(scratch_);
    const int slot = found == by_name_.end() ? -1 : found->second;
    if (!escaped && position < kExpectedMax) {
      if (position >= expected_.size()) expected_.resize(position + 1);
      expected_[position] = {scratch_ + '"', slot};
    }
    return slot;
  }

  Status read(const Slot& slot, ondemand::value& value, Cell& cell) {
    nested_value_.reset();
    const ondemand::json_type type = value.type();
    if (type == ondemand::json_type::null) {
      if (!value.is_null()) return reject("not JSON: expected null");
      cell.state = Cell::State::kNull;
      return {};
    }
    switch (slot.type.kind) {
      case Kind::kVarchar:
        return read_text(slot, type, value, cell);
      case Kind::kBoolean:
        if (type != ondemand::json_type::boolean) return mismatch(slot, type, value);
        cell.set_integer(value.get_bool().value() ? 1 : 0);
        return {};
      case Kind::kDouble:
        if (type != ondemand::json_type::number) return mismatch(slot, type, value);
        cell.set_number(value.get_double().value());
        return {};
      case Kind::kBigint:
        return read_bigint(slot, type, value, cell);
      case Kind::kDecimal: {
        if (type != ondemand::json_type::number) return mismatch(slot, type, value);
        const std::string_view token = trimmed(value.raw_json_token());
        if (const auto error = value.get_double().error(); error && error != simdjson::NUMBER_OUT_OF_RANGE)
          throw simdjson::simdjson_error(error);
        const auto decimal = parse_decimal(token, slot.type.width, slot.type.scale);
        if (!decimal) return reject(wrong_type(slot, "the number", token));
        cell.set_integer(*decimal);
        return {};
      }
      case Kind::kTimestamp: {
        if (type != ondemand::json_type::string) return mismatch(slot, type, value);
        cell.text = value.get_string().value();
        const auto us = plain_time_.read_text(cell.text);
        if (!us) return unlike(slot, us.error().message);
        cell.set_integer(*us);
        return {};
      }
    }
    return {};
  }

  Status read_text(const Slot& slot, ondemand::json_type type, ondemand::value& value, Cell& cell) {
    switch (type) {
      case ondemand::json_type::string: {
        const char* raw = value.raw_json_token().data() + 1;
        const std::string_view text = value.get_string().value();
        // Without escapes the text is what stands in the record, which lives longer than the parser's memory.
        const bool escaped = std::memchr(raw, '\\', text.size() + 1) != nullptr;
        cell.set_text(escaped ? text : std::string_view(raw, text.size()), escaped);
        return {};
      }
      case ondemand::json_type::object:
      case ondemand::json_type::array: {
        std::string_view json = simdjson::to_json_string(value).value();
        json = trimmed(json);
        MILLRACE_RETURN_IF_ERROR(validate_nested(json));
        cell.set_text(json, false);
        return {};
      }
      case ondemand::json_type::number:
      case ondemand::json_type::boolean:
      case ondemand::json_type::null:
        return mismatch(slot, type, value);
    }
    return {};
  }

  Status read_bigint(const Slot& slot, ondemand::json_type type, ondemand::value& value, Cell& cell) {
    if (type != ondemand::json_type::number) return mismatch(slot, type, value);
    const std::string_view token = trimmed(value.raw_json_token());
    int64_t integer = 0;
    if (value.get_int64().get(integer) == simdjson::SUCCESS) {
      cell.set_integer(integer);
      return {};
    }
    // 12.0 is the integer that some writers make of 12; 12.5 is none, nor is what 64 bits cannot hold.
    constexpr double kExactMax = 9'007'199'254'740'992;
    double number = 0;
    const auto error = value.get_double().get(number);
    if (error) return reject(fmt::format("not JSON: {}", simdjson::error_message(error)));
    if (!(std::abs(number) <= kExactMax) || number != std::trunc(number))
      return reject(wrong_type(slot, "the number", token));
    cell.set_integer(static_cast<int64_t>(number));
    return {};
  }

  Status read_time(const Slot& slot, ondemand::value& value, Cell& cell) {
    nested_value_.reset();
    const ondemand::json_type type = value.type();
    if (type == ondemand::json_type::null) {
      if (!value.is_null()) return reject("not JSON: expected null");
      cell.state = Cell::State::kNull;
      return {};
    }
    Result<int64_t> us;
    if (type == ondemand::json_type::string && !time_->takes_numbers()) {
      if (slot.type.kind != Kind::kTimestamp && slot.type.kind != Kind::kVarchar) return mismatch(slot, type, value);
      cell.text = value.get_string().value();
      us = time_->read_text(cell.text);
      if (slot.type.kind == Kind::kVarchar) cell.set_text(cell.text, true);
    } else if (type == ondemand::json_type::number && time_->takes_numbers() && slot.type.kind != Kind::kVarchar) {
      int64_t integer = 0;
      double number = 0;
      if (value.get_int64().get(integer) == simdjson::SUCCESS) {
        us = time_->read_integer(integer);
        number = static_cast<double>(integer);
      } else {
        number = value.get_double().value();
        us = time_->read_double(number);
        if (slot.type.kind == Kind::kBigint) return reject(wrong_type(slot, "the number", fmt::format("{}", number)));
      }
      if (slot.type.kind == Kind::kDouble) cell.set_number(number);
      if (slot.type.kind == Kind::kBigint) cell.set_integer(integer);
    } else {
      return mismatch(slot, type, value);
    }
    if (!us) return unlike(slot, us.error().message);
    if (slot.type.kind == Kind::kTimestamp) cell.set_integer(*us);
    row_.event_time_us = *us;
    return {};
  }

  // A field that no one asked for must still be JSON.
  Status pass_over(ondemand::value& value) {
    if (!wants_rest_) {
      if (value.type() != ondemand::json_type::null) row_.only_time = false;
      return validate(value);
    }
    rest_ += rest_.empty() ? '{' : ',';
    append_json_string(rest_, name_);
    rest_ += ':';
    const ondemand::json_type type = value.type();
    if (type == ondemand::json_type::object || type == ondemand::json_type::array) {
      const std::string_view json = trimmed(simdjson::to_json_string(value).value());
      MILLRACE_RETURN_IF_ERROR(validate_nested(json));
      rest_ += json;
      row_.only_time = false;
      return {};
    }
    if (type != ondemand::json_type::null) row_.only_time = false;
    rest_ += trimmed(value.raw_json_token());
    return validate(value);
  }

  Status validate(ondemand::value& value) {
    switch (const ondemand::json_type type = value.type(); type) {
      case ondemand::json_type::object:
      case ondemand::json_type::array:
        row_.only_time = false;
        return validate_nested(trimmed(simdjson::to_json_string(value).value()));
      case ondemand::json_type::string:
        row_.only_time = false;
        static_cast<void>(value.get_string().value());
        return {};
      case ondemand::json_type::number:
        row_.only_time = false;
        static_cast<void>(value.get_double().value());
        return {};
      case ondemand::json_type::boolean:
        row_.only_time = false;
        static_cast<void>(value.get_bool().value());
        return {};
      case ondemand::json_type::null:
        if (!value.is_null()) return reject("not JSON: expected null");
        return {};
    }
    return {};
  }

  // On-demand parsing only looks at what it is asked for; nested values are handed on or dropped whole, so they are
  // checked whole.
  Status validate_nested(std::string_view json) {
    simdjson::dom::element element;
    if (const auto error = nested_.parse(json.data(), json.size(), false).get(element))
      return reject(fmt::format("not JSON: {}", simdjson::error_message(error)));
    nested_value_ = element;
    return {};
  }

  // The rules of a value that has been read into its column's type.
  Status check(const Slot& slot, const Cell& cell) const {
    JsonValue value;
    if (cell.state == Cell::State::kSet) {
      switch (slot.type.kind) {
        case Kind::kBoolean:
          value.kind = JsonValue::Kind::kBoolean;
          value.boolean = cell.integer != 0;
          break;
        case Kind::kBigint:
          value.kind = JsonValue::Kind::kNumber;
          value.number = static_cast<long double>(cell.integer);
          break;
        case Kind::kDouble:
          value = JsonValue::of(cell.number);
          break;
        case Kind::kDecimal: {
          const int64_t one = columns::power_of_ten(slot.type.scale);
          value.kind = JsonValue::Kind::kNumber;
          value.has_fraction = cell.integer % one != 0;
          value.number = static_cast<long double>(cell.integer) / static_cast<long double>(one);
          break;
        }
        case Kind::kTimestamp:
          value.kind = JsonValue::Kind::kText;
          value.text = cell.text;
          value.is_time = true;
          break;
        case Kind::kVarchar:
          if (nested_value_) {
            value = JsonValue::of(*nested_value_);
          } else {
            value.kind = JsonValue::Kind::kText;
            value.text = cell.text;
          }
          break;
      }
    }
    return slot.rule->check(value, slot.pointer);
  }

  // A text that is no time.
  static tl::unexpected<Error> unlike(const Slot& slot, std::string_view why) {
    if (slot.rule != nullptr) return broken(slot.pointer, "format", why);
    return reject(fmt::format("column {}: {}", slot.name, why));
  }

  Status mismatch(const Slot& slot, ondemand::json_type type, ondemand::value& value) {
    switch (type) {
      case ondemand::json_type::object:
        return reject(wrong_type(slot, "an object", {}));
      case ondemand::json_type::array:
        return reject(wrong_type(slot, "an array", {}));
      case ondemand::json_type::string:
        return reject(
            wrong_type(slot, "the text", fmt::format("\"{}\"", std::string_view(value.get_string().value()))));
      case ondemand::json_type::number: {
        const std::string_view token = trimmed(value.raw_json_token());
        if (const auto error = value.get_double().error())
          return reject(fmt::format("not JSON: {}", simdjson::error_message(error)));
        return reject(wrong_type(slot, "the number", token));
      }
      case ondemand::json_type::boolean:
        return reject(wrong_type(slot, value.get_bool().value() ? "true" : "false", {}));
      case ondemand::json_type::null:
        return reject(wrong_type(slot, "null", {}));
    }
    return reject(wrong_type(slot, "something else", {}));
  }

  std::vector<Slot> slots_;
  std::optional<TimeFormat> time_;
  TimeFormat plain_time_;
  bool wants_rest_;
  bool closed_;
  std::unordered_map<std::string, int> by_name_;
  std::vector<Expected> expected_;
  ondemand::parser parser_;
  simdjson::dom::parser nested_;
  std::optional<simdjson::dom::element> nested_value_;  // what nested_ parsed last, if the value being read is nested
  ParsedRow row_;
  std::string rest_;
  std::string_view name_;  // of the field being read
  std::string scratch_;
};

}  // namespace

std::unique_ptr<RowParser> make_json_parser(std::span<const Slot> slots, std::optional<TimeFormat> time,
                                            bool wants_rest, bool closed) {
  return std::make_unique<JsonParser>(slots, std::move(time), wants_rest, closed);
}

}  // namespace millrace::format
