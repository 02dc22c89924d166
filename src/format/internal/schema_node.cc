#include "format/internal/schema_node.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/utf8.h"
#include "format/internal/rows.h"
#include "format/time_format.h"

namespace millrace::format {
namespace {

// A schema may refer to itself, and a record may nest as deeply as it likes.
constexpr int kDepthMax = 64;

constexpr std::array<std::pair<TypeSet, std::string_view>, 6> kTypeNames{{{kBooleanType, "boolean"},
                                                                          {kIntegerType, "integer"},
                                                                          {kStringType, "string"},
                                                                          {kArrayType, "array"},
                                                                          {kObjectType, "object"},
                                                                          {kNullType, "null"}}};

std::string number_text(long double number) {
  return number == std::trunc(number) && std::abs(number) < 1e18L ? fmt::format("{}", static_cast<int64_t>(number))
                                                                  : fmt::format("{}", static_cast<double>(number));
}

bool is_multiple(long double number, long double of) {
  const long double quotient = number / of;
  // 0.3 is a multiple of 0.1, though not in doubles.
  return std::abs(quotient - std::nearbyint(quotient)) <= 1e-9L;
}

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) return false;
  }
  return true;
}

bool is_address(std::string_view text, int family) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return text.size() < INET6_ADDRSTRLEN && text.find('\0') == std::string_view::npos &&
         inet_pton(family, std::string(text).c_str(), bytes.data()) == 1;
}

bool is_email(std::string_view text) {
  const size_t at = text.rfind('@');
  return at != std::string_view::npos && at > 0 && at + 1 < text.size() && text.find(' ') == std::string_view::npos;
}

std::string_view format_name(TextFormat format) {
  switch (format) {
    case TextFormat::kAny:
      return "any";
    case TextFormat::kDateTime:
      return "date-time";
    case TextFormat::kDate:
      return "date";
    case TextFormat::kUuid:
      return "uuid";
    case TextFormat::kIpv4:
      return "ipv4";
    case TextFormat::kIpv6:
      return "ipv6";
    case TextFormat::kEmail:
      return "email";
  }
  return {};
}

}  // namespace

TextFormat text_format(std::string_view name) {
  for (const TextFormat format : {TextFormat::kDateTime, TextFormat::kDate, TextFormat::kUuid, TextFormat::kIpv4,
                                  TextFormat::kIpv6, TextFormat::kEmail})
    if (format_name(format) == name) return format;
  return TextFormat::kAny;
}

bool has_format(std::string_view text, TextFormat format) {
  static const TimeFormat kTime;
  switch (format) {
    case TextFormat::kAny:
      return true;
    case TextFormat::kDateTime:
      return kTime.read_text(text).has_value();
    case TextFormat::kDate:
      return text.size() == 10 && kTime.read_text(text).has_value();
    case TextFormat::kUuid:
      return is_uuid(text);
    case TextFormat::kIpv4:
      return is_address(text, AF_INET);
    case TextFormat::kIpv6:
      return is_address(text, AF_INET6);
    case TextFormat::kEmail:
      return is_email(text);
  }
  return true;
}

JsonValue JsonValue::of(simdjson::dom::element element) {
  JsonValue value;
  switch (element.type()) {
    case simdjson::dom::element_type::ARRAY:
      value.kind = Kind::kArray;
      value.nested = element;
      break;
    case simdjson::dom::element_type::OBJECT:
      value.kind = Kind::kObject;
      value.nested = element;
      break;
    case simdjson::dom::element_type::INT64:
      value.kind = Kind::kNumber;
      value.number = static_cast<long double>(int64_t{element});
      break;
    case simdjson::dom::element_type::UINT64:
      value.kind = Kind::kNumber;
      value.number = static_cast<long double>(uint64_t{element});
      break;
    case simdjson::dom::element_type::DOUBLE:
      return of(double{element});
    case simdjson::dom::element_type::STRING:
      value.kind = Kind::kText;
      value.text = std::string_view(element);
      break;
    case simdjson::dom::element_type::BOOL:
      value.kind = Kind::kBoolean;
      value.boolean = bool{element};
      break;
    case simdjson::dom::element_type::NULL_VALUE:
      break;
  }
  return value;
}

JsonValue JsonValue::of(double number) {
  JsonValue value;
  value.kind = Kind::kNumber;
  value.number = number;
  value.has_fraction = number != std::trunc(number);
  return value;
}

TypeSet type_of(const JsonValue& value) {
  switch (value.kind) {
    case JsonValue::Kind::kNull:
      return kNullType;
    case JsonValue::Kind::kBoolean:
      return kBooleanType;
    case JsonValue::Kind::kNumber:
      return value.has_fraction ? kFractionType : kIntegerType;
    case JsonValue::Kind::kText:
      return kStringType;
    case JsonValue::Kind::kArray:
      return kArrayType;
    case JsonValue::Kind::kObject:
      return kObjectType;
  }
  return 0;
}

std::string type_names(TypeSet types) {
  std::string names;
  for (const auto& [type, name] : kTypeNames) {
    if ((types & type) == 0) continue;
    if (!names.empty()) names += " or ";
    names += type == kIntegerType && (types & kFractionType) != 0 ? "number" : name;
  }
  return names.empty() ? "nothing" : names;
}

std::string describe(const JsonValue& value) {
  switch (value.kind) {
    case JsonValue::Kind::kNull:
      return "null";
    case JsonValue::Kind::kBoolean:
      return value.boolean ? "true" : "false";
    case JsonValue::Kind::kNumber:
      return "the number " + number_text(value.number);
    case JsonValue::Kind::kText:
      return fmt::format("the text \"{}\"", shown(value.text));
    case JsonValue::Kind::kArray:
      return "an array";
    case JsonValue::Kind::kObject:
      return "an object";
  }
  return {};
}

bool AllowedValue::equals(const JsonValue& value) const {
  if (kind != value.kind) return false;
  switch (kind) {
    case JsonValue::Kind::kNull:
      return true;
    case JsonValue::Kind::kBoolean:
      return boolean == value.boolean;
    case JsonValue::Kind::kNumber:
      return number == value.number;
    case JsonValue::Kind::kText:
      return text == value.text;
    case JsonValue::Kind::kArray:
    case JsonValue::Kind::kObject:
      return false;
  }
  return false;
}

std::string pointer_to(std::string_view pointer, std::string_view token) {
  std::string result(pointer);
  result += '/';
  for (const char c : token) {
    if (c == '~')
      result += "~0";
    else if (c == '/')
      result += "~1";
    else
      result += c;
  }
  return result;
}

tl::unexpected<Error> broken(std::string_view pointer, std::string_view keyword, std::string_view detail) {
  return fail(Errc::kInvalidArgument,
              fmt::format("{}: {}: {}", pointer.empty() ? "the record" : pointer, keyword, detail));
}

const SchemaNode* SchemaNode::property(std::string_view name) const {
  for (const Property& known : properties)
    if (known.name == name) return known.node;
  return nullptr;
}

bool SchemaNode::is_flat() const {
  return !has_combinations && !has_allowed && !properties_min && !properties_max &&
         (additional == nullptr || is_closed());
}

Status SchemaNode::check(const JsonValue& value, std::string_view pointer, int depth) const {
  if (depth > kDepthMax) return broken(pointer, "$ref", fmt::format("nested deeper than {}", kDepthMax));
  if ((types & type_of(value)) == 0)
    return types == 0 ? broken(pointer, "false", "nothing is allowed here")
                      : broken(pointer, "type", fmt::format("expected {}, got {}", type_names(types), describe(value)));
  if (has_allowed && std::none_of(allowed.begin(), allowed.end(), [&](const auto& one) { return one.equals(value); }))
    return broken(pointer, "enum", fmt::format("{} is not among the allowed values", describe(value)));
  switch (value.kind) {
    case JsonValue::Kind::kNull:
    case JsonValue::Kind::kBoolean:
      break;
    case JsonValue::Kind::kNumber:
      if (has_number_rules) MILLRACE_RETURN_IF_ERROR(check_number(value, pointer));
      break;
    case JsonValue::Kind::kText:
      if (has_text_rules) MILLRACE_RETURN_IF_ERROR(check_text(value, pointer));
      break;
    case JsonValue::Kind::kArray:
      MILLRACE_RETURN_IF_ERROR(check_array(value, pointer, depth));
      break;
    case JsonValue::Kind::kObject:
      MILLRACE_RETURN_IF_ERROR(check_object(value, pointer, depth));
      break;
  }
  return has_combinations ? check_combinations(value, pointer, depth) : Status{};
}

Status SchemaNode::check_number(const JsonValue& value, std::string_view pointer) const {
  const long double number = value.number;
  const auto refuse = [&](std::string_view keyword, std::string_view relation, long double bound) {
    return broken(pointer, keyword, fmt::format("{} {} {}", number_text(number), relation, number_text(bound)));
  };
  if (minimum && number < *minimum) return refuse("minimum", "is below", *minimum);
  if (maximum && number > *maximum) return refuse("maximum", "is above", *maximum);
  if (above && number <= *above) return refuse("exclusiveMinimum", "is not above", *above);
  if (below && number >= *below) return refuse("exclusiveMaximum", "is not below", *below);
  if (multiple_of && !is_multiple(number, *multiple_of)) return refuse("multipleOf", "is no multiple of", *multiple_of);
  return {};
}

Status SchemaNode::check_text(const JsonValue& value, std::string_view pointer) const {
  const std::string_view text = value.text;
  if (length_min || length_max) {
    const size_t length = characters(text);
    if (length_min && length < *length_min)
      return broken(pointer, "minLength", fmt::format("{} has less than {} characters", describe(value), *length_min));
    if (length_max && length > *length_max)
      return broken(pointer, "maxLength", fmt::format("{} has more than {} characters", describe(value), *length_max));
  }
  const bool known = format == TextFormat::kAny || (format == TextFormat::kDateTime && value.is_time);
  if (!known && !has_format(text, format))
    return broken(pointer, "format", fmt::format("{} is no {}", describe(value), format_name(format)));
  if (pattern) {
    const auto found = pattern->found_in(text);
    if (!found) return broken(pointer, "pattern", found.error().message);
    if (!*found) return broken(pointer, "pattern", fmt::format("{} does not match {}", describe(value), pattern_text));
  }
  return {};
}

Status SchemaNode::check_array(const JsonValue& value, std::string_view pointer, int depth) const {
  if (items == nullptr && !items_min && !items_max && !unique_items) return {};
  const simdjson::dom::array array(value.nested);
  uint64_t count = 0;
  std::vector<AllowedValue> seen;
  for (const simdjson::dom::element element : array) {
    const JsonValue item = JsonValue::of(element);
    if (items != nullptr)
      MILLRACE_RETURN_IF_ERROR(items->check(item, pointer_to(pointer, std::to_string(count)), depth + 1));
    if (unique_items) {
      if (std::any_of(seen.begin(), seen.end(), [&](const AllowedValue& other) { return other.equals(item); }))
        return broken(pointer, "uniqueItems", fmt::format("{} stands there twice", describe(item)));
      seen.push_back({item.kind, item.boolean, item.number, std::string(item.text), type_of(item)});
    }
    ++count;
  }
  if (items_min && count < *items_min)
    return broken(pointer, "minItems", fmt::format("{} items are less than {}", count, *items_min));
  if (items_max && count > *items_max)
    return broken(pointer, "maxItems", fmt::format("{} items are more than {}", count, *items_max));
  return {};
}

Status SchemaNode::check_object(const JsonValue& value, std::string_view pointer, int depth) const {
  const simdjson::dom::object object(value.nested);
  uint64_t count = 0;
  for (const simdjson::dom::key_value_pair field : object) {
    ++count;
    if (const SchemaNode* node = property(field.key)) {
      MILLRACE_RETURN_IF_ERROR(node->check(JsonValue::of(field.value), pointer_to(pointer, field.key), depth + 1));
    } else if (additional != nullptr) {
      if (is_closed()) return broken(pointer_to(pointer, field.key), "additionalProperties", "no such property");
      MILLRACE_RETURN_IF_ERROR(
          additional->check(JsonValue::of(field.value), pointer_to(pointer, field.key), depth + 1));
    }
  }
  for (const std::string& name : required)
    if (object.at_key(name).error()) return broken(pointer_to(pointer, name), "required", "missing");
  if (properties_min && count < *properties_min)
    return broken(pointer, "minProperties", fmt::format("{} are less than {}", count, *properties_min));
  if (properties_max && count > *properties_max)
    return broken(pointer, "maxProperties", fmt::format("{} are more than {}", count, *properties_max));
  return {};
}

Status SchemaNode::check_combinations(const JsonValue& value, std::string_view pointer, int depth) const {
  const auto keeps = [&](const SchemaNode* node) { return node->check(value, pointer, depth + 1).has_value(); };
  for (const SchemaNode* node : all_of) MILLRACE_RETURN_IF_ERROR(node->check(value, pointer, depth + 1));
  if (!any_of.empty() && std::none_of(any_of.begin(), any_of.end(), keeps))
    return broken(pointer, "anyOf", fmt::format("{} fits none of the {}", describe(value), any_of.size()));
  if (!one_of.empty()) {
    const auto fitting = std::count_if(one_of.begin(), one_of.end(), keeps);
    if (fitting != 1)
      return broken(pointer, "oneOf", fmt::format("{} fits {} of the {}", describe(value), fitting, one_of.size()));
  }
  if (none_of != nullptr && keeps(none_of))
    return broken(pointer, "not", fmt::format("{} is what it must not be", describe(value)));
  if (condition != nullptr)
    if (const SchemaNode* branch = keeps(condition) ? then : otherwise)
      MILLRACE_RETURN_IF_ERROR(branch->check(value, pointer, depth + 1));
  return {};
}

}  // namespace millrace::format
