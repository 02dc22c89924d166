#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "columns/schema.h"

namespace millrace::format {

struct SchemaNode;

// A JSON Schema (draft 6 to 2020-12) as a source's declaration: the columns its properties give, and the rules that
// every record must keep. Immutable; decoders of several threads share one.
//
// Checked: type, enum, const (of single values); minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf;
// minLength, maxLength (in characters), pattern (ECMA 262, over bytes); format date-time, date, uuid, ipv4, ipv6,
// email; properties, required, additionalProperties, minProperties, maxProperties; items (one schema), minItems,
// maxItems, uniqueItems (of single values); allOf, anyOf, oneOf, not, if, then, else; $ref within the file. Other
// formats say nothing, as the standard has it. Every other keyword is refused, so that no rule is silently ignored.
class JsonSchema {
 public:
  // From a file's text. kInvalidArgument names the JSON pointer of what cannot be taken.
  static Result<std::shared_ptr<const JsonSchema>> parse(std::string_view text);
  ~JsonSchema();
  JsonSchema(const JsonSchema&) = delete;
  JsonSchema& operator=(const JsonSchema&) = delete;

  // One per property at the top, in the file's order. integer: bigint; number: double, or decimal(18,k) where it is a
  // multipleOf 10^-k; boolean; string: varchar, or timestamp where its format is date-time; object and array: varchar,
  // their JSON. A type beside "null" may be null.
  const columns::Schema& columns() const;

  // For the decoder.
  const SchemaNode& root() const;

 private:
  struct Parts;
  explicit JsonSchema(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

inline constexpr uint64_t kJsonSchemaBytesMax = 4 << 20;

}  // namespace millrace::format
