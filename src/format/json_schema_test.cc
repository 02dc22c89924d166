#include "format/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/fake_clock.h"
#include "format/decoder.h"

namespace millrace::format {
namespace {

using testing::HasSubstr;

constexpr std::string_view kPayment = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["id", "at"],
  "properties": {
    "id": {"type": "integer", "minimum": 1},
    "at": {"type": "string", "format": "date-time"},
    "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 5000},
    "price": {"type": "number", "multipleOf": 0.01},
    "country": {"type": ["string", "null"], "pattern": "^[A-Z]{2}$"},
    "channel": {"enum": ["web", "shop"]},
    "items": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/item"}},
    "paid": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}
  },
  "$defs": {"item": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "minLength": 3}}}}
})";

std::shared_ptr<const JsonSchema> schema_of(std::string_view text) {
  auto schema = JsonSchema::parse(text);
  if (!schema) ADD_FAILURE() << schema.error().message;
  return schema.value_or(nullptr);
}

Decoder decoder_of(const std::shared_ptr<const JsonSchema>& schema,
                   std::optional<std::vector<std::string>> wanted = std::nullopt) {
  static FakeClock clock;
  DecoderOptions options;
  options.columns = schema->columns();
  options.wanted = std::move(wanted);
  options.schema = schema;
  return Decoder::make(std::move(options), clock).value();
}

// "ok", or why the record was refused.
std::string verdict(Decoder& decoder, std::string_view value) {
  RecordView record;
  record.key = "k";
  record.value = value;
  const Decoded decoded = decoder.decode({&record, 1});
  return decoded.rejects.empty() ? "ok" : decoded.rejects.front().reason;
}

std::string payment_with(std::string_view field) {
  return R"({"id": 1, "at": "2024-05-01T10:00:00Z", )" + std::string(field) + "}";
}

TEST(JsonSchema, GivesColumnsInTheFilesOrder) {
  const auto schema = schema_of(kPayment);
  std::string columns;
  for (const columns::Field& field : schema->columns().fields())
    columns += field.name + ":" + field.type.to_string() + " ";
  EXPECT_EQ(columns,
            "id:bigint at:timestamp amount:double price:decimal(18,2) country:varchar channel:varchar items:varchar "
            "paid:boolean ");
}

TEST(JsonSchema, NamesPointerAndRuleOfWhatARecordBreaks) {
  Decoder decoder = decoder_of(schema_of(kPayment));
  EXPECT_EQ(verdict(decoder, payment_with(R"("amount": 1.5, "price": 0.07, "country": null, "paid": null)")), "ok");
  EXPECT_EQ(verdict(decoder, payment_with(R"("country": "GB", "channel": "web", "items": [{"sku": "abc"}])")), "ok");
  EXPECT_EQ(verdict(decoder, R"({"at": "2024-05-01T10:00:00Z"})"), "/id: required: missing");
  EXPECT_EQ(verdict(decoder, R"({"id": 0, "at": "2024-05-01T10:00:00Z"})"), "/id: minimum: 0 is below 1");
  EXPECT_THAT(verdict(decoder, R"({"id": 1.5, "at": "2024-05-01T10:00:00Z"})"),
              HasSubstr("/id: type: expected integer (bigint), got the number 1.5"));
  EXPECT_THAT(verdict(decoder, R"({"id": 1, "at": "yesterday"})"), HasSubstr("/at: format: "));
  EXPECT_EQ(verdict(decoder, payment_with(R"("amount": 0)")), "/amount: exclusiveMinimum: 0 is not above 0");
  EXPECT_EQ(verdict(decoder, payment_with(R"("amount": 5000.5)")), "/amount: maximum: 5000.5 is above 5000");
  EXPECT_EQ(verdict(decoder, payment_with(R"("amount": null)")), "/amount: type: expected number, got null");
  EXPECT_THAT(verdict(decoder, payment_with(R"("amount": "5")")),
              HasSubstr("/amount: type: expected number (double), got the text"));
  EXPECT_THAT(verdict(decoder, payment_with(R"("price": 0.075)")), HasSubstr("/price: type: expected number (decimal"));
  EXPECT_EQ(verdict(decoder, payment_with(R"("country": "gb")")),
            R"(/country: pattern: the text "gb" does not match ^[A-Z]{2}$)");
  EXPECT_EQ(verdict(decoder, payment_with(R"("channel": "phone")")),
            R"(/channel: enum: the text "phone" is not among the allowed values)");
  EXPECT_EQ(verdict(decoder, payment_with(R"("items": [{"sku": "abc"}, {"sku": "x"}])")),
            R"(/items/1/sku: minLength: the text "x" has less than 3 characters)");
  EXPECT_EQ(verdict(decoder, payment_with(R"("items": [{}])")), "/items/0/sku: required: missing");
  EXPECT_EQ(verdict(decoder, payment_with(R"("items": [{"sku": "abc"}, {"sku": "abd"}, {"sku": "abe"}])")),
            "/items: maxItems: 3 items are more than 2");
}

TEST(JsonSchema, IsKeptByFieldsThatNobodyWants) {
  Decoder decoder = decoder_of(schema_of(kPayment), std::vector<std::string>{"id"});
  EXPECT_EQ(decoder.schema()->size(), 1U);
  EXPECT_EQ(verdict(decoder, payment_with(R"("amount": -1)")), "/amount: exclusiveMinimum: -1 is not above 0");
  EXPECT_EQ(verdict(decoder, payment_with(R"("amount": 1)")), "ok");
}

TEST(JsonSchema, LetsHeartbeatsLackWhatIsRequired) {
  static FakeClock clock;
  DecoderOptions options;
  options.schema = schema_of(kPayment);
  options.columns = options.schema->columns();
  options.time = TimeColumn{"at", TimeFormat()};
  Decoder decoder = Decoder::make(std::move(options), clock).value();
  RecordView record;
  record.value = R"({"at": "2020-05-01T10:00:00Z"})";
  EXPECT_EQ(decoder.decode({&record, 1}).heartbeats.size(), 1U);
  record.key = "k";
  EXPECT_EQ(decoder.decode({&record, 1}).rejects.front().reason, "/id: required: missing");
}

TEST(JsonSchema, SeesARecordAsAWholeWhereRulesAskForIt) {
  Decoder decoder = decoder_of(schema_of(R"({
    "type": "object", "additionalProperties": false,
    "properties": {"kind": {"enum": ["card", "cash"]}, "card": {"type": "string"}, "n": {"type": "integer"}},
    "if": {"properties": {"kind": {"const": "card"}}, "required": ["kind"]}, "then": {"required": ["card"]},
    "not": {"required": ["n", "card"]}})"));
  EXPECT_EQ(verdict(decoder, R"({"kind": "cash", "n": 5})"), "ok");
  EXPECT_EQ(verdict(decoder, R"({"kind": "card", "card": "4111"})"), "ok");
  EXPECT_EQ(verdict(decoder, R"({"kind": "card"})"), "/card: required: missing");
  EXPECT_EQ(verdict(decoder, R"({"n": 1, "card": "x"})"), "the record: not: an object is what it must not be");
  EXPECT_EQ(verdict(decoder, R"({"n": 1, "a/b": 2})"), "/a~1b: additionalProperties: no such property");
}

TEST(JsonSchema, FollowsReferencesOfASchemaToItself) {
  Decoder decoder = decoder_of(schema_of(R"({"properties": {"tree": {"$ref": "#/$defs/tree"}},
    "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "n": {"type": "integer"}}}}})"));
  EXPECT_EQ(verdict(decoder, R"({"tree": {"left": {"left": {"n": 1}}}})"), "ok");
  EXPECT_EQ(verdict(decoder, R"({"tree": {"left": {"left": {"n": "x"}}}})"),
            R"(/tree/left/left/n: type: expected integer, got the text "x")");
  std::string deep = R"({"n": 1})";
  for (int i = 0; i < 100; ++i) deep = R"({"left": )" + deep + "}";
  EXPECT_THAT(verdict(decoder, R"({"tree": )" + deep + "}"), HasSubstr("nested deeper than 64"));
}

TEST(JsonSchema, GivesUpOnAPatternThatRunsAwayInsteadOfTheRecordsBehindIt) {
  Decoder decoder = decoder_of(schema_of(R"({"properties": {"t": {"type": "string", "pattern": "^(a+)+$"},
    "u": {"type": "string", "pattern": "^[a-z]+$"}}})"));
  EXPECT_EQ(verdict(decoder, R"({"t": "aaaa"})"), "ok");
  EXPECT_THAT(verdict(decoder, R"({"t": ")" + std::string(2'000, 'a') + R"(b"})"), HasSubstr("/t: pattern: "));
  EXPECT_EQ(verdict(decoder, R"({"u": ")" + std::string(100'000, 'a') + R"("})"), "ok");
}

// Verdicts of Python's jsonschema 4 (Draft202012Validator with its format checker).
TEST(JsonSchema, JudgesAsOtherValidatorsDo) {
  struct Case {
    std::string_view rule, value;
    bool valid;
  };
  static constexpr Case kCases[] = {
      {R"({"type": "integer"})", "1.0", true},
      {R"({"type": "integer"})", "1.5", false},
      {R"({"type": "number"})", "1", true},
      {R"({"type": ["integer", "null"]})", "null", true},
      {R"({"type": "boolean"})", "0", false},
      {R"({"type": "integer", "exclusiveMaximum": 3})", "3", false},
      {R"({"type": "integer", "exclusiveMaximum": 3})", "2", true},
      {R"({"type": "integer", "minimum": 9007199254740993})", "9007199254740992", false},
      {R"({"type": "integer", "multipleOf": 7})", "21", true},
      {R"({"type": "integer", "multipleOf": 7})", "22", false},
      {R"({"type": "number", "multipleOf": 0.5})", "1.5", true},
      {R"({"type": "number", "multipleOf": 0.5})", "1.7", false},
      {R"({"enum": [1, 2]})", "2.0", true},
      {R"({"enum": [true, false]})", "1", false},
      {R"({"const": "x"})", "\"x\"", true},
      {R"({"const": "x"})", "\"y\"", false},
      {R"({"type": "string", "maxLength": 2})", "\"äö\"", true},
      {R"({"type": "string", "maxLength": 2})", "\"äöü\"", false},
      {R"({"type": "string", "pattern": "b"})", "\"abc\"", true},
      {R"({"type": "string", "pattern": "^b"})", "\"abc\"", false},
      {R"({"type": "string", "format": "ipv4"})", "\"10.0.0.1\"", true},
      {R"({"type": "string", "format": "ipv4"})", "\"10.0.0.256\"", false},
      {R"({"type": "string", "format": "ipv6"})", "\"::1\"", true},
      {R"({"type": "string", "format": "ipv6"})", "\"1::2::3\"", false},
      {R"({"type": "string", "format": "date"})", "\"2024-02-29\"", true},
      {R"({"type": "string", "format": "date"})", "\"2023-02-29\"", false},
      {R"({"type": "string", "format": "email"})", "\"a@b\"", true},
      {R"({"type": "string", "format": "email"})", "\"ab\"", false},
      {R"({"type": "string", "format": "uuid"})", "\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\"", true},
      {R"({"type": "string", "format": "uuid"})", "\"2eb8aa08-aa98-11ea-b4aa-73b441d1638\"", false},
      {R"({"type": "string", "format": "never-heard-of"})", "\"anything\"", true},
      {R"({"type": "array", "minItems": 1})", "[]", false},
      {R"({"type": "array", "uniqueItems": true})", "[1, 2, 1]", false},
      {R"({"type": "array", "uniqueItems": true})", "[1, \"1\", true]", true},
      {R"({"type": "array", "items": {"type": "integer", "maximum": 5}})", "[1, 6]", false},
      {R"({"type": "array", "items": false})", "[]", true},
      {R"({"type": "array", "items": false})", "[1]", false},
      {R"({"type": "object", "minProperties": 2})", "{\"a\": 1}", false},
      {R"({"type": "object", "maxProperties": 0})", "{}", true},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})", "{\"a\": \"x\"}", false},
      {R"({"type": "object", "properties": {"a": true}, "additionalProperties": false})", "{\"a\": null}", true},
      {R"({"type": "integer", "allOf": [{"minimum": 2}, {"maximum": 4}]})", "5", false},
      {R"({"type": "integer", "allOf": [{"minimum": 2}, {"maximum": 4}]})", "3", true},
      {R"({"type": "integer", "oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]})", "6", false},
      {R"({"type": "integer", "oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]})", "4", true},
      {R"({"type": "integer", "anyOf": [{"multipleOf": 2}, {"multipleOf": 3}]})", "6", true},
      {R"({"type": "integer", "anyOf": [{"multipleOf": 2}, {"multipleOf": 3}]})", "5", false},
      {R"({"type": "integer", "not": {"const": 3}})", "3", false},
      {R"({"type": "integer", "if": {"minimum": 10}, "then": {"multipleOf": 10}, "else": {"maximum": 5}})", "15",
       false},
      {R"({"type": "integer", "if": {"minimum": 10}, "then": {"multipleOf": 10}, "else": {"maximum": 5}})", "5", true},
      {R"({"type": "integer", "if": {"minimum": 10}, "then": {"multipleOf": 10}, "else": {"maximum": 5}})", "7", false},
  };
  for (const Case& one : kCases) {
    Decoder decoder = decoder_of(schema_of(R"({"properties": {"v": )" + std::string(one.rule) + "}}"));
    const std::string said = verdict(decoder, R"({"v": )" + std::string(one.value) + "}");
    EXPECT_EQ(said == "ok", one.valid) << one.rule << " of " << one.value << ": " << said;
    // The same rule, seen with the record as a whole.
    Decoder whole =
        decoder_of(schema_of(R"({"minProperties": 0, "properties": {"v": )" + std::string(one.rule) + "}}"));
    EXPECT_EQ(verdict(whole, R"({"v": )" + std::string(one.value) + "}") == "ok", one.valid) << one.rule;
  }
}

std::string refusal(std::string_view text) {
  const auto schema = JsonSchema::parse(text);
  return schema ? "taken" : schema.error().message + " (" + schema.error().hint + ")";
}

TEST(JsonSchema, SaysWhatItCannotTakeAndWhere) {
  EXPECT_THAT(refusal(R"({"properties": )"), HasSubstr("not JSON: "));
  EXPECT_EQ(refusal("[]"), "#: a schema is an object, true or false ()");
  EXPECT_THAT(refusal(R"({"type": "array"})"), HasSubstr("#/type: records are objects, and this is array"));
  EXPECT_THAT(refusal(R"({"type": "object"})"), HasSubstr("#: has no properties"));
  EXPECT_EQ(refusal(R"({"properties": {"a": {"type": "integer", "minimun": 1}}})"),
            "#/properties/a/minimun: the keyword 'minimun' is not checked here (did you mean minimum?)");
  EXPECT_THAT(refusal(R"({"properties": {"a": {"type": "integer"}}, "patternProperties": {}})"),
              HasSubstr("#/patternProperties: the keyword 'patternProperties' is not checked here"));
  EXPECT_THAT(refusal(R"({"properties": {"a": {}}})"), HasSubstr("#/properties/a: says not of which type it is"));
  EXPECT_THAT(refusal(R"({"properties": {"a": {"type": ["string", "integer"]}}})"),
              HasSubstr("#/properties/a: integer or string is no type of a column"));
  EXPECT_THAT(refusal(R"({"properties": {"a": {"type": "int"}}})"), HasSubstr("#/properties/a/type: expected a type"));
  EXPECT_THAT(refusal(R"({"properties": {"a": {"type": "string", "pattern": "("}}})"),
              HasSubstr("#/properties/a/pattern: '(' is no regular expression"));
  EXPECT_THAT(refusal(R"({"properties": {"a": {"$ref": "other.json#/x"}}})"), HasSubstr("lies in another file"));
  EXPECT_THAT(refusal(R"({"properties": {"a": {"$ref": "#/$defs/x"}}})"), HasSubstr("there is no '#/$defs/x'"));
  EXPECT_THAT(refusal(R"({"properties": {"_key": {"type": "string"}}})"), HasSubstr("are the system's"));
  EXPECT_THAT(refusal(R"({"properties": {"a": {"type": "string"}}, "required": ["b"]})"),
              HasSubstr("#/required: 'b' is no property"));
}

}  // namespace
}  // namespace millrace::format
