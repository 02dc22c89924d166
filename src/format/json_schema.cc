#include "format/json_schema.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "base/text.h"
#include "format/internal/schema_node.h"

namespace millrace::format {
namespace {

using simdjson::dom::element;

constexpr int kDepthMax = 64;  // of a schema within a schema

constexpr std::array<std::string_view, 15> kAnnotations{
    "$schema",         "$id",      "id",         "$comment", "title",     "description",
    "default",         "examples", "deprecated", "readOnly", "writeOnly", "contentMediaType",
    "contentEncoding", "$defs",    "definitions"};
constexpr std::array<std::string_view, 29> kKeywords{"type",
                                                     "enum",
                                                     "const",
                                                     "minimum",
                                                     "maximum",
                                                     "exclusiveMinimum",
                                                     "exclusiveMaximum",
                                                     "multipleOf",
                                                     "minLength",
                                                     "maxLength",
                                                     "pattern",
                                                     "format",
                                                     "properties",
                                                     "required",
                                                     "additionalProperties",
                                                     "minProperties",
                                                     "maxProperties",
                                                     "items",
                                                     "minItems",
                                                     "maxItems",
                                                     "uniqueItems",
                                                     "allOf",
                                                     "anyOf",
                                                     "oneOf",
                                                     "not",
                                                     "if",
                                                     "then",
                                                     "else",
                                                     "$ref"};

tl::unexpected<Error> at(std::string_view pointer, std::string message, std::string hint = {}) {
  return fail(Errc::kInvalidArgument, fmt::format("#{}: {}", pointer, message), std::move(hint));
}

// Reads a schema's text into nodes. One use.
class Reader {
 public:
  explicit Reader(std::vector<std::unique_ptr<SchemaNode>>& nodes) : nodes_(nodes) {}

  Result<const SchemaNode*> read_document(std::string_view text) {
    if (const auto error = parser_.parse(text.data(), text.size()).get(document_))
      return fail(Errc::kInvalidArgument, fmt::format("not JSON: {}", simdjson::error_message(error)));
    return read(document_, "", 0);
  }

 private:
  // Nodes are known by their place from the beginning, so that a schema can refer to itself.
  Result<const SchemaNode*> read(element schema, const std::string& pointer, int depth) {
    if (const auto known = by_pointer_.find(pointer); known != by_pointer_.end()) return known->second;
    if (depth > kDepthMax) return at(pointer, fmt::format("nested deeper than {}", kDepthMax));
    nodes_.push_back(std::make_unique<SchemaNode>());
    SchemaNode& node = *nodes_.back();
    by_pointer_.emplace(pointer, &node);
    if (schema.is_bool()) {
      node.types = bool{schema} ? kAnyType : TypeSet{0};
      return &node;
    }
    if (!schema.is_object()) return at(pointer, "a schema is an object, true or false");
    for (const auto field : simdjson::dom::object(schema))
      MILLRACE_RETURN_IF_ERROR(read_keyword(node, field.key, field.value, pointer, depth));
    node.has_number_rules = node.minimum || node.maximum || node.above || node.below || node.multiple_of;
    node.has_text_rules = node.length_min || node.length_max || node.pattern || node.format != TextFormat::kAny;
    node.has_combinations = !node.all_of.empty() || !node.any_of.empty() || !node.one_of.empty() ||
                            node.none_of != nullptr || node.condition != nullptr;
    return &node;
  }

  Status read_keyword(SchemaNode& node, std::string_view keyword, element value, const std::string& pointer,
                      int depth) {
    if (std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end() || keyword.starts_with("x-"))
      return {};
    const std::string here = pointer_to(pointer, keyword);
    if (keyword == "type") return read_types(node, value, here);
    if (keyword == "enum" || keyword == "const") return read_allowed(node, keyword == "enum", value, here);
    if (const auto number = number_at(node, keyword)) return read_number(**number, value, here, keyword);
    if (const auto count = count_at(node, keyword)) return read_count(**count, value, here);
    if (keyword == "pattern" || keyword == "format") return read_text_rule(node, keyword, value, here);
    if (keyword == "uniqueItems") {
      if (!value.is_bool()) return at(here, "expected true or false");
      node.unique_items = bool{value};
      return {};
    }
    if (keyword == "properties") return read_properties(node, value, here, depth);
    if (keyword == "required") return read_required(node, value, here);
    if (keyword == "allOf") return read_list(node.all_of, value, here, depth);
    if (keyword == "anyOf") return read_list(node.any_of, value, here, depth);
    if (keyword == "oneOf") return read_list(node.one_of, value, here, depth);
    if (keyword == "$ref") return read_reference(node, value, here, depth);
    if (const auto inner = schema_at(node, keyword)) {
      if (keyword == "items" && value.is_array())
        return at(here, "a schema per item is not checked here", "one schema for all items");
      MILLRACE_ASSIGN_OR_RETURN(**inner, read(value, here, depth + 1));
      return {};
    }
    std::vector<std::string> names(kKeywords.begin(), kKeywords.end());
    const auto nearest = nearest_name(keyword, names);
    return at(
        here, fmt::format("the keyword '{}' is not checked here", keyword),
        nearest ? fmt::format("did you mean {}?", *nearest) : "remove it; docs/manual/pipelines.md lists what is");
  }

  static std::optional<std::optional<long double>*> number_at(SchemaNode& node, std::string_view keyword) {
    if (keyword == "minimum") return &node.minimum;
    if (keyword == "maximum") return &node.maximum;
    if (keyword == "exclusiveMinimum") return &node.above;
    if (keyword == "exclusiveMaximum") return &node.below;
    if (keyword == "multipleOf") return &node.multiple_of;
    return std::nullopt;
  }
  static std::optional<std::optional<uint64_t>*> count_at(SchemaNode& node, std::string_view keyword) {
    if (keyword == "minLength") return &node.length_min;
    if (keyword == "maxLength") return &node.length_max;
    if (keyword == "minItems") return &node.items_min;
    if (keyword == "maxItems") return &node.items_max;
    if (keyword == "minProperties") return &node.properties_min;
    if (keyword == "maxProperties") return &node.properties_max;
    return std::nullopt;
  }
  static std::optional<const SchemaNode**> schema_at(SchemaNode& node, std::string_view keyword) {
    if (keyword == "additionalProperties") return &node.additional;
    if (keyword == "items") return &node.items;
    if (keyword == "not") return &node.none_of;
    if (keyword == "if") return &node.condition;
    if (keyword == "then") return &node.then;
    if (keyword == "else") return &node.otherwise;
    return std::nullopt;
  }

  static Status read_types(SchemaNode& node, element value, const std::string& here) {
    static constexpr std::array<std::pair<std::string_view, TypeSet>, 7> kTypes{
        {{"null", kNullType},
         {"boolean", kBooleanType},
         {"integer", kIntegerType},
         {"number", kIntegerType | kFractionType},
         {"string", kStringType},
         {"array", kArrayType},
         {"object", kObjectType}}};
    node.types = 0;
    const auto add = [&](element one) -> Status {
      std::string_view name;
      if (one.get(name) == simdjson::SUCCESS)
        for (const auto& [known, types] : kTypes)
          if (known == name) {
            node.types = static_cast<TypeSet>(node.types | types);
            return {};
          }
      return at(here, "expected a type: null, boolean, integer, number, string, array or object");
    };
    if (!value.is_array()) return add(value);
    for (const element one : simdjson::dom::array(value)) MILLRACE_RETURN_IF_ERROR(add(one));
    return node.types == 0 ? Status(at(here, "names no type")) : Status{};
  }

  static Status read_allowed(SchemaNode& node, bool list, element value, const std::string& here) {
    if (node.has_allowed) return at(here, "enum and const beside each other are not checked here", "keep one of them");
    node.has_allowed = true;
    const auto add = [&](element one) -> Status {
      const JsonValue json = JsonValue::of(one);
      if (json.kind == JsonValue::Kind::kArray || json.kind == JsonValue::Kind::kObject)
        return at(here, "arrays and objects as allowed values are not checked here");
      node.allowed.push_back({json.kind, json.boolean, json.number, std::string(json.text), type_of(json)});
      return {};
    };
    if (!list) return add(value);
    if (!value.is_array()) return at(here, "expected a list of values");
    for (const element one : simdjson::dom::array(value)) MILLRACE_RETURN_IF_ERROR(add(one));
    return {};
  }

  static Status read_number(std::optional<long double>& number, element value, const std::string& here,
                            std::string_view keyword) {
    const JsonValue json = JsonValue::of(value);
    if (json.kind != JsonValue::Kind::kNumber) return at(here, "expected a number");
    if (keyword == "multipleOf" && json.number <= 0) return at(here, "expected a number above 0");
    number = json.number;
    return {};
  }

  static Status read_count(std::optional<uint64_t>& count, element value, const std::string& here) {
    uint64_t number = 0;
    if (value.get(number)) return at(here, "expected a whole number from 0 on");
    count = number;
    return {};
  }

  static Status read_text_rule(SchemaNode& node, std::string_view keyword, element value, const std::string& here) {
    std::string_view text;
    if (value.get(text)) return at(here, "expected a text");
    if (keyword == "format") {
      node.format = text_format(text);
      return {};
    }
    node.pattern_text = text;
    auto pattern = TextPattern::compile(node.pattern_text);
    if (!pattern) return at(here, std::move(pattern).error().message);
    node.pattern = std::move(*pattern);
    return {};
  }

  Status read_properties(SchemaNode& node, element value, const std::string& here, int depth) {
    if (!value.is_object()) return at(here, "expected an object of properties");
    for (const auto field : simdjson::dom::object(value)) {
      if (node.property(field.key) != nullptr) return at(pointer_to(here, field.key), "stands here twice");
      MILLRACE_ASSIGN_OR_RETURN(const SchemaNode* inner, read(field.value, pointer_to(here, field.key), depth + 1));
      node.properties.push_back({std::string(field.key), inner});
    }
    return {};
  }

  static Status read_required(SchemaNode& node, element value, const std::string& here) {
    if (!value.is_array()) return at(here, "expected a list of properties");
    for (const element one : simdjson::dom::array(value)) {
      std::string_view name;
      if (one.get(name)) return at(here, "expected a list of properties");
      node.required.emplace_back(name);
    }
    return {};
  }

  Status read_list(std::vector<const SchemaNode*>& list, element value, const std::string& here, int depth) {
    if (!value.is_array()) return at(here, "expected a list of schemas");
    size_t index = 0;
    for (const element one : simdjson::dom::array(value)) {
      MILLRACE_ASSIGN_OR_RETURN(const SchemaNode* inner,
                                read(one, pointer_to(here, std::to_string(index++)), depth + 1));
      list.push_back(inner);
    }
    return {};
  }

  Status read_reference(SchemaNode& node, element value, const std::string& here, int depth) {
    std::string_view reference;
    if (value.get(reference)) return at(here, "expected a text");
    if (!reference.starts_with('#'))
      return at(here, fmt::format("'{}' lies in another file", reference), "put it under $defs of this file");
    const std::string target(reference.substr(1));
    element found = document_;
    if (!target.empty() && (!target.starts_with('/') || document_.at_pointer(target).get(found)))
      return at(here, fmt::format("there is no '{}' in this file", reference));
    MILLRACE_ASSIGN_OR_RETURN(const SchemaNode* inner, read(found, target, depth + 1));
    node.all_of.push_back(inner);
    return {};
  }

  std::vector<std::unique_ptr<SchemaNode>>& nodes_;
  std::map<std::string, const SchemaNode*> by_pointer_;
  simdjson::dom::parser parser_;
  element document_;
};

// What types a value can have, as far as the schema says; `depth` ends references in a circle.
TypeSet possible_types(const SchemaNode& node, int depth = 0) {
  if (depth > kDepthMax) return kAnyType;
  TypeSet types = node.types;
  const auto narrow = [&](TypeSet by) { types = static_cast<TypeSet>(types & by); };
  const auto of_any = [&](const std::vector<const SchemaNode*>& nodes) {
    TypeSet any = 0;
    for (const SchemaNode* one : nodes) any = static_cast<TypeSet>(any | possible_types(*one, depth + 1));
    return any;
  };
  if (node.has_allowed) {
    TypeSet allowed = 0;
    for (const AllowedValue& value : node.allowed) allowed = static_cast<TypeSet>(allowed | value.type);
    narrow(allowed);
  }
  for (const SchemaNode* one : node.all_of) narrow(possible_types(*one, depth + 1));
  if (!node.any_of.empty()) narrow(of_any(node.any_of));
  if (!node.one_of.empty()) narrow(of_any(node.one_of));
  return types;
}

// Whether every text that the schema takes is a date-time.
bool is_date_time(const SchemaNode& node, int depth = 0) {
  if (depth > kDepthMax) return false;
  if (node.format == TextFormat::kDateTime) return true;
  const auto one_is = [&](const SchemaNode* one) { return is_date_time(*one, depth + 1); };
  const auto all_are = [&](const std::vector<const SchemaNode*>& nodes) {
    return !nodes.empty() && std::all_of(nodes.begin(), nodes.end(), [&](const SchemaNode* one) {
      return (possible_types(*one) & kStringType) == 0 || is_date_time(*one, depth + 1);
    });
  };
  return std::any_of(node.all_of.begin(), node.all_of.end(), one_is) || all_are(node.any_of) || all_are(node.one_of);
}

columns::Type number_column(const SchemaNode& node) {
  if (node.multiple_of)
    for (int scale = 1; scale <= 9; ++scale)
      if (static_cast<double>(*node.multiple_of) == std::pow(10.0, -scale))
        return {.kind = columns::Kind::kDecimal, .width = 18, .scale = static_cast<uint8_t>(scale)};
  return columns::kDouble;
}

Result<columns::Type> column_type(const SchemaNode& node) {
  const auto types = static_cast<TypeSet>(possible_types(node) & ~kNullType);
  if (types == kBooleanType) return columns::kBoolean;
  if (types == kIntegerType) return columns::kBigint;
  if (types == kStringType) return is_date_time(node) ? columns::kTimestamp : columns::kVarchar;
  if (types != 0 && (types & ~(kIntegerType | kFractionType)) == 0) return number_column(node);
  if (types != 0 && (types & ~(kArrayType | kObjectType)) == 0) return columns::kVarchar;
  return fail(Errc::kInvalidArgument,
              types == (kAnyType & ~kNullType) ? std::string("says not of which type it is")
                                               : fmt::format("{} is no type of a column", type_names(types)),
              "a column has one type: boolean, integer, number, string, array or object, beside null");
}

// The properties at the top, also those that it takes from elsewhere.
Status collect_columns(const SchemaNode& node, std::vector<columns::Field>& fields, int depth = 0) {
  if (depth > kDepthMax) return {};
  for (const SchemaNode::Property& property : node.properties) {
    if (std::any_of(fields.begin(), fields.end(), [&](const auto& field) { return field.name == property.name; }))
      continue;
    const std::string pointer = pointer_to("/properties", property.name);
    if (property.name.starts_with('_')) return at(pointer, "names that begin with _ are the system's");
    auto type = column_type(*property.node);
    if (!type) return at(pointer, std::move(type.error().message), std::move(type.error().hint));
    fields.push_back({property.name, *type});
  }
  for (const SchemaNode* one : node.all_of) MILLRACE_RETURN_IF_ERROR(collect_columns(*one, fields, depth + 1));
  return {};
}

}  // namespace

struct JsonSchema::Parts {
  std::vector<std::unique_ptr<SchemaNode>> nodes;
  const SchemaNode* root = nullptr;
  columns::Schema columns;
};

JsonSchema::JsonSchema(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
JsonSchema::~JsonSchema() = default;

const columns::Schema& JsonSchema::columns() const { return parts_->columns; }
const SchemaNode& JsonSchema::root() const { return *parts_->root; }

Result<std::shared_ptr<const JsonSchema>> JsonSchema::parse(std::string_view text) {
  try {
    auto parts = std::make_unique<Parts>();
    MILLRACE_ASSIGN_OR_RETURN(parts->root, Reader(parts->nodes).read_document(text));
    const TypeSet types = possible_types(*parts->root);
    if ((types & kObjectType) == 0)
      return fail(Errc::kInvalidArgument, fmt::format("#/type: records are objects, and this is {}", type_names(types)),
                  "type: object at the top");
    std::vector<columns::Field> fields;
    MILLRACE_RETURN_IF_ERROR(collect_columns(*parts->root, fields));
    if (fields.empty())
      return fail(Errc::kInvalidArgument, "#: has no properties to make columns of", "properties: {name: {type: …}}");
    parts->columns = columns::Schema(std::move(fields));
    for (const std::string& name : parts->root->required)
      if (!parts->columns.index_of(name))
        return at("/required", fmt::format("'{}' is no property", name), "declare it under properties");
    return std::shared_ptr<const JsonSchema>(new JsonSchema(std::move(parts)));
  } catch (const simdjson::simdjson_error& error) {
    return fail(Errc::kInvalidArgument, fmt::format("not JSON: {}", simdjson::error_message(error.error())));
  }
}

}  // namespace millrace::format
