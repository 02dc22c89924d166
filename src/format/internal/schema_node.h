#pragma once

#include <simdjson.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::format {

// A JSON value as rules see it; views, nothing is owned.
struct JsonValue {
  enum class Kind : uint8_t { kNull, kBoolean, kNumber, kText, kArray, kObject };
  Kind kind = Kind::kNull;
  bool boolean = false;
  bool has_fraction = false;  // of numbers
  long double number = 0;     // holds every 64-bit integer and every double exactly
  std::string_view text;
  bool is_time = false;           // the text has been read as a time: it is a date-time
  simdjson::dom::element nested;  // of arrays and objects

  static JsonValue of(simdjson::dom::element element);
  static JsonValue of(double number);
};

// Sets of types. A number is an integer or has a fraction: "number" is both.
using TypeSet = uint8_t;
inline constexpr TypeSet kNullType = 1, kBooleanType = 2, kIntegerType = 4, kFractionType = 8, kStringType = 16,
                         kArrayType = 32, kObjectType = 64, kAnyType = 127;
TypeSet type_of(const JsonValue& value);
std::string type_names(TypeSet types);  // "integer or null"
// For messages: `the text "x"`, `the number 5`, `an object`.
std::string describe(const JsonValue& value);

// Of enum and const.
struct AllowedValue {
  JsonValue::Kind kind = JsonValue::Kind::kNull;
  bool boolean = false;
  long double number = 0;
  std::string text;
  TypeSet type = kNullType;

  bool equals(const JsonValue& value) const;
};

// A regular expression that matches anywhere in a text, and gives up instead of running away.
class TextPattern {
 public:
  static Result<std::unique_ptr<TextPattern>> compile(const std::string& expression);
  ~TextPattern();
  // Fails where the expression would take too long on this text.
  Result<bool> found_in(std::string_view text) const;

 private:
  struct Impl;
  explicit TextPattern(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

enum class TextFormat : uint8_t { kAny, kDateTime, kDate, kUuid, kIpv4, kIpv6, kEmail };
// kAny for formats that are not checked.
TextFormat text_format(std::string_view name);
bool has_format(std::string_view text, TextFormat format);

// A schema: what a value must keep. Nodes refer to others of the same JsonSchema, which owns them all.
struct SchemaNode {
  struct Property {
    std::string name;
    const SchemaNode* node = nullptr;
  };

  TypeSet types = kAnyType;  // empty: the schema `false`
  bool has_allowed = false;
  std::vector<AllowedValue> allowed;

  bool has_number_rules = false;
  std::optional<long double> minimum, maximum, above, below, multiple_of;

  bool has_text_rules = false;
  std::optional<uint64_t> length_min, length_max;
  std::unique_ptr<TextPattern> pattern;
  std::string pattern_text;
  TextFormat format = TextFormat::kAny;

  std::vector<Property> properties;
  std::vector<std::string> required;
  const SchemaNode* additional = nullptr;  // null: anything
  std::optional<uint64_t> properties_min, properties_max;

  const SchemaNode* items = nullptr;
  std::optional<uint64_t> items_min, items_max;
  bool unique_items = false;

  bool has_combinations = false;
  std::vector<const SchemaNode*> all_of, any_of, one_of;
  const SchemaNode* none_of = nullptr;
  const SchemaNode* condition = nullptr;
  const SchemaNode* then = nullptr;
  const SchemaNode* otherwise = nullptr;

  const SchemaNode* property(std::string_view name) const;
  // Whether `value`, which stands at `pointer` of its record, keeps every rule; else "<pointer>: <keyword>: why not".
  Status check(const JsonValue& value, std::string_view pointer, int depth = 0) const;
  // Whether the properties' own nodes, `required` and a refusal of other properties are all there is: then values can
  // be checked one by one while they are read.
  bool is_flat() const;
  bool is_closed() const { return additional != nullptr && additional->types == 0; }

 private:
  Status check_number(const JsonValue& value, std::string_view pointer) const;
  Status check_text(const JsonValue& value, std::string_view pointer) const;
  Status check_array(const JsonValue& value, std::string_view pointer, int depth) const;
  Status check_object(const JsonValue& value, std::string_view pointer, int depth) const;
  Status check_combinations(const JsonValue& value, std::string_view pointer, int depth) const;
};

// A reference token appended to a JSON pointer (RFC 6901): "" and "a/b" give "/a~1b".
std::string pointer_to(std::string_view pointer, std::string_view token);

// A value broke a rule: "<pointer>: <keyword>: <detail>".
tl::unexpected<Error> broken(std::string_view pointer, std::string_view keyword, std::string_view detail);

}  // namespace millrace::format
