#include "format/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>

#include "base/fake_clock.h"
#include "base/random.h"
#include "format/encoder.h"

namespace millrace::format {
namespace {

using columns::Kind;
using columns::Schema;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kNoonUs = 1'756'728'000'000'000;  // 2025-09-01T12:00:00Z

Schema payment_schema() {
  return Schema({{"id", columns::kVarchar},
                 {"amount", columns::kDouble},
                 {"count", columns::kBigint},
                 {"price", {Kind::kDecimal, 12, 2}},
                 {"ok", columns::kBoolean},
                 {"at", columns::kTimestamp}});
}

class DecoderTest : public testing::Test {
 protected:
  Decoder make(DecoderOptions options) {
    auto decoder = Decoder::make(std::move(options), clock_);
    EXPECT_TRUE(decoder.has_value()) << (decoder ? "" : decoder.error().message);
    return std::move(*decoder);
  }
  Decoder json(Schema schema) {
    DecoderOptions options;
    options.columns = std::move(schema);
    return make(std::move(options));
  }
  static Decoded decode(Decoder& decoder, std::vector<std::string_view> values) {
    std::vector<RecordView> records;
    for (const std::string_view value : values) {
      RecordView record;
      record.key = "k";
      record.value = value;
      record.offset = Offset(static_cast<int64_t>(records.size()));
      record.timestamp_us = kNoonUs;
      records.push_back(record);
    }
    return decoder.decode(records);
  }
  // The reason why `value` alone is refused.
  static std::string reason(Decoder& decoder, std::string_view value) {
    const Decoded decoded = decode(decoder, {value});
    EXPECT_EQ(decoded.batch.rows(), 0u) << value;
    return decoded.rejects.size() == 1 ? decoded.rejects[0].reason : "no reject";
  }
  // Column `name` as text, NULL as "NULL".
  static std::vector<std::string> texts(const Decoded& decoded, std::string_view name) {
    std::vector<std::string> result;
    const columns::Column* column = decoded.batch.find(name);
    for (size_t row = 0; row < decoded.batch.rows(); ++row) {
      std::string text;
      column->append_text(row, text);
      result.push_back(column->is_null(row) ? "NULL" : text);
    }
    return result;
  }

  FakeClock clock_;
};

TEST_F(DecoderTest, JsonBecomesColumnsOfTheDeclaredTypes) {
  Decoder decoder = json(payment_schema());
  const Decoded decoded = decode(
      decoder, {R"({"id":"a","amount":1.5,"count":-3,"price":12.30,"ok":true,"at":"2025-09-01T10:00:00.25+02:00"})",
                R"( { "ok" : false , "at":"2025-09-01 10:00:00", "price":-7, "count":12.0, "amount":2, "id":"" } )",
                R"({"id":null,"amount":null,"count":null,"price":null})"});
  EXPECT_TRUE(decoded.rejects.empty());
  EXPECT_THAT(texts(decoded, "id"), ElementsAre("a", "", "NULL"));
  EXPECT_THAT(texts(decoded, "amount"), ElementsAre("1.5", "2", "NULL"));
  EXPECT_THAT(texts(decoded, "count"), ElementsAre("-3", "12", "NULL"));
  EXPECT_THAT(texts(decoded, "price"), ElementsAre("12.30", "-7.00", "NULL"));
  EXPECT_THAT(texts(decoded, "ok"), ElementsAre("true", "false", "NULL"));
  EXPECT_THAT(texts(decoded, "at"), ElementsAre("2025-09-01T08:00:00.25Z", "2025-09-01T10:00:00Z", "NULL"));
  EXPECT_EQ(decoded.batch.row_id(1), (columns::RowId{PartitionId(0), Offset(1), kNoonUs}));
}

TEST_F(DecoderTest, EachValueOfTheWrongTypeSaysColumnExpectationAndValue) {
  Decoder decoder = json(payment_schema());
  EXPECT_EQ(reason(decoder, R"({"amount":"1.5"})"), R"(column amount: expected double, got the text "1.5")");
  EXPECT_EQ(reason(decoder, R"({"count":1.5})"), "column count: expected bigint, got the number 1.5");
  EXPECT_EQ(reason(decoder, R"({"count":9223372036854775808})"),
            "column count: expected bigint, got the number 9223372036854775808");
  EXPECT_EQ(reason(decoder, R"({"count":true})"), "column count: expected bigint, got true");
  EXPECT_EQ(reason(decoder, R"({"price":1.005 })"), "column price: expected decimal(12,2), got the number 1.005");
  EXPECT_EQ(reason(decoder, R"({"price":12345678901})"),
            "column price: expected decimal(12,2), got the number 12345678901");
  EXPECT_EQ(reason(decoder, R"({"id":5})"), "column id: expected varchar, got the number 5");
  EXPECT_EQ(reason(decoder, R"({"ok":1})"), "column ok: expected boolean, got the number 1");
  EXPECT_EQ(reason(decoder, R"({"ok":[1]})"), "column ok: expected boolean, got an array");
  EXPECT_EQ(reason(decoder, R"({"at":1756728000})"), "column at: expected timestamp, got the number 1756728000");
  EXPECT_EQ(reason(decoder, R"({"at":"yesterday"})"), "column at: 'yesterday' is not a time in the format rfc3339");
  EXPECT_EQ(reason(decoder, R"({"at":"2025-02-29T00:00:00Z"})"),
            "column at: '2025-02-29T00:00:00Z' is not a time in the format rfc3339");
}

TEST_F(DecoderTest, WhatIsNoJsonObjectIsRefusedWhereverTheErrorStands) {
  Decoder decoder = json(payment_schema());
  for (const std::string_view bad : {"hello",
                                     "[1,2]",
                                     "3",
                                     "\"text\"",
                                     "null",
                                     "{",
                                     "{\"id\":\"a\"",
                                     R"({"id":"a"}})",
                                     R"({"id":"a"} {"id":"b"})",
                                     R"({"id":"a",})",
                                     R"({"id" "a"})",
                                     R"({id:"a"})",
                                     R"({"x":tru,"id":"a"})",
                                     R"({"x":01})",
                                     R"({"x":[1,2})",
                                     R"({"x":{"y":nul}})",
                                     R"({"x":"\q"})",
                                     R"({"id":"\ud800"})",
                                     "{\"id\":\"\xff\"}",
                                     "{\"id\":\"a\nb\"}",
                                     R"({"amount":1e999})",
                                     R"({"count":-})",
                                     R"({"id":nul})",
                                     " ",
                                     "\xEF\xBB\xBF{}x",
                                     R"({"id":"a","amount":+1})"}) {
    EXPECT_THAT(reason(decoder, bad), HasSubstr("JSON")) << bad;
  }
  EXPECT_EQ(reason(decoder, ""), "not JSON: the value is empty");
}

TEST_F(DecoderTest, ABadRecordDoesNotHarmItsNeighbours) {
  Decoder decoder = json(payment_schema());
  const Decoded decoded = decode(decoder, {R"({"id":"a","amount":1})", R"({"id":"b","amount":")",
                                           R"({"id":"c","amount":3})", "}", R"({"amount":5,"id":"e"})"});
  EXPECT_THAT(texts(decoded, "id"), ElementsAre("a", "c", "e"));
  EXPECT_THAT(texts(decoded, "amount"), ElementsAre("1", "3", "5"));
  ASSERT_EQ(decoded.rejects.size(), 2u);
  EXPECT_EQ(decoded.rejects[0].record, 1u);
  EXPECT_EQ(decoded.rejects[1].record, 3u);
  EXPECT_EQ(decoded.batch.row_id(1).offset, Offset(2));
}

TEST_F(DecoderTest, EscapesNestedValuesAndRepeatedNamesAreReadAsJsonMeansThem) {
  Decoder decoder = json(Schema({{"a\"b", columns::kVarchar}, {"n", columns::kVarchar}, {"x", columns::kBigint}}));
  const Decoded decoded = decode(decoder, {R"({"a\"b":"\u00e9\n\ud83d\ude00\\","n":{"k":[1, 2]} ,"x":1,"x":2})",
                                           R"({"a\u0022b":"plain \" quote","n":[ ],"x":-0})"});
  ASSERT_TRUE(decoded.rejects.empty()) << decoded.rejects[0].reason;
  EXPECT_THAT(texts(decoded, "a\"b"), ElementsAre("é\n😀\\", "plain \" quote"));
  EXPECT_THAT(texts(decoded, "n"), ElementsAre(R"({"k":[1, 2]})", "[ ]"));
  EXPECT_THAT(texts(decoded, "x"), ElementsAre("2", "0"));
}

TEST_F(DecoderTest, DecimalsAreExactWhateverDoublesWouldMakeOfThem) {
  Decoder decoder = json(Schema({{"d", {Kind::kDecimal, 18, 6}}}));
  const Decoded decoded =
      decode(decoder, {R"({"d":999999999999.999999})", R"({"d":-0.000001})", R"({"d":1.5e3})", R"({"d":15E-1})",
                       R"({"d":1.50000000000000000000000000000})", R"({"d":0.0000000000e5})"});
  ASSERT_TRUE(decoded.rejects.empty()) << decoded.rejects[0].reason;
  EXPECT_THAT(texts(decoded, "d"),
              ElementsAre("999999999999.999999", "-0.000001", "1500.000000", "1.500000", "1.500000", "0.000000"));
  EXPECT_EQ(reason(decoder, R"({"d":0.0000001})"), "column d: expected decimal(18,6), got the number 0.0000001");
  EXPECT_EQ(reason(decoder, R"({"d":1e13})"), "column d: expected decimal(18,6), got the number 1e13");
}

TEST_F(DecoderTest, OnlyWantedColumnsAreBuiltAndChecked) {
  DecoderOptions options;
  options.columns = payment_schema();
  options.wanted = {"count", "_offset", "amount", "_key", "_headers", "_rest", "_partition", "_timestamp"};
  Decoder decoder = make(std::move(options));
  EXPECT_THAT(decoder.schema()->names(),
              ElementsAre("amount", "count", "_offset", "_key", "_headers", "_rest", "_partition", "_timestamp"));
  const std::vector<HeaderView> headers{{"trace", "1"}, {"tag", "a"}, {"tag", std::nullopt}};
  RecordView record;
  record.key = "k\xff";
  record.value = R"({"id":77,"amount":1,"more":{"x":[1]},"note":"\"","flag":null,"count":2})";
  record.headers = headers;
  record.partition = PartitionId(3);
  record.offset = Offset(42);
  record.timestamp_us = kNoonUs;
  const Decoded decoded = decoder.decode({&record, 1});
  ASSERT_TRUE(decoded.rejects.empty()) << decoded.rejects[0].reason;
  EXPECT_THAT(texts(decoded, "_offset"), ElementsAre("42"));
  EXPECT_THAT(texts(decoded, "_partition"), ElementsAre("3"));
  EXPECT_THAT(texts(decoded, "_timestamp"), ElementsAre("2025-09-01T12:00:00Z"));
  EXPECT_THAT(texts(decoded, "_key"), ElementsAre("k\ufffd"));
  EXPECT_THAT(texts(decoded, "_headers"), ElementsAre(R"({"trace":"1","tag":["a",null]})"));
  EXPECT_THAT(texts(decoded, "_rest"), ElementsAre(R"({"more":{"x":[1]},"note":"\"","flag":null})"));
}

TEST_F(DecoderTest, UndeclaredNamesWithEscapesAreKeptInRest) {
  DecoderOptions options;
  options.columns = Schema({{"id", columns::kVarchar}});
  options.wanted = {"id", "_rest"};
  Decoder decoder = make(std::move(options));
  const Decoded decoded =
      decode(decoder, {R"({"id":"a","x\u0022y":1})", R"({"id":"b","x\"y":[2]})", R"({"id":"c","plain":3})"});
  ASSERT_TRUE(decoded.rejects.empty()) << decoded.rejects[0].reason;
  EXPECT_THAT(texts(decoded, "_rest"), ElementsAre(R"({"x\"y":1})", R"({"x\"y":[2]})", R"({"plain":3})"));
}

TEST_F(DecoderTest, TheTimeColumnGivesTheEventTimeInEveryFormat) {
  struct Case {
    std::string_view format, zone, value;
    columns::Type type;
    int64_t expected_us;
  };
  for (const Case& c : std::vector<Case>{
           {"rfc3339", "", R"("2025-09-01T12:00:00Z")", columns::kTimestamp, kNoonUs},
           {"rfc3339", "", R"("2025-09-01 12:00:00.000001")", columns::kVarchar, kNoonUs + 1},
           {"rfc3339", "Europe/Berlin", R"("2025-09-01 14:00:00")", columns::kTimestamp, kNoonUs},
           {"unix_s", "", "1756728000", columns::kTimestamp, kNoonUs},
           {"unix_s", "", "1756728000.25", columns::kDouble, kNoonUs + 250'000},
           {"unix_ms", "", "1756728000000", columns::kBigint, kNoonUs},
           {"unix_us", "", "1756728000000000", columns::kBigint, kNoonUs},
           {"%d/%b/%Y:%H:%M:%S %z", "", R"("01/Sep/2025:14:00:00 +0200")", columns::kTimestamp, kNoonUs},
           {"%m/%d/%Y %I:%M %p", "America/New_York", R"("9/1/2025 8:00 AM")", columns::kTimestamp, kNoonUs}}) {
    DecoderOptions options;
    options.columns = Schema({{"t", c.type}, {"x", columns::kBigint}});
    options.time = TimeColumn{"t", *TimeFormat::parse(c.format, c.zone)};
    Decoder decoder = make(std::move(options));
    const std::string value = "{\"x\":1,\"t\":" + std::string(c.value) + "}";
    const Decoded decoded = decode(decoder, {value});
    ASSERT_EQ(decoded.batch.rows(), 1u) << c.format << ": " << decoded.rejects[0].reason;
    EXPECT_EQ(decoded.batch.row_id(0).event_time_us, c.expected_us) << c.format;
    if (c.type == columns::kTimestamp) {
      EXPECT_EQ(decoded.batch.column(0).int64s()[0], c.expected_us);
    }
  }
}

TEST_F(DecoderTest, UnlikelyEventTimesAreRefusedWithTheUnitTheyLookLike) {
  DecoderOptions options;
  options.columns = Schema({{"t", columns::kTimestamp}, {"x", columns::kBigint}});
  options.time = TimeColumn{"t", *TimeFormat::parse("unix_s")};
  Decoder seconds = make(options);
  EXPECT_EQ(reason(seconds, R"({"t":1756728000000,"x":1})"),
            "column t: 1756728000000 looks like milliseconds, the format is unix_s");
  EXPECT_EQ(reason(seconds, R"({"t":17,"x":1})"), "column t: event time 1970-01-01T00:00:17Z lies before 1990");
  EXPECT_EQ(reason(seconds, R"({"t":"1756728000","x":1})"),
            R"(column t: expected timestamp, got the text "1756728000")");
  options.time = TimeColumn{"t", *TimeFormat::parse("unix_ms")};
  Decoder millis = make(options);
  EXPECT_EQ(reason(millis, R"({"t":1756728000,"x":1})"),
            "column t: event time 1970-01-21T07:58:48Z lies before 1990: 1756728000 looks like seconds, the format is "
            "unix_ms");
  EXPECT_EQ(reason(millis, R"({"t":1756728000000000,"x":1})"),
            "column t: 1756728000000000 looks like microseconds, the format is unix_ms");
  options.time = TimeColumn{"t", TimeFormat()};
  Decoder text = make(options);
  // The clock stands at 2026-01-01.
  EXPECT_EQ(decode(text, {R"({"t":"2026-01-01T23:00:00Z","x":1})"}).batch.rows(), 1u);
  EXPECT_EQ(reason(text, R"({"t":"2026-01-02T00:00:01Z","x":1})"),
            "column t: event time 2026-01-02T00:00:01Z lies more than a day in the future");
  EXPECT_EQ(reason(text, R"({"t":null,"x":1})"), "column t: the row has no event time");
  EXPECT_EQ(reason(text, R"({"x":1})"), "column t: the row has no event time");
}

TEST_F(DecoderTest, RecordsWithoutKeyAndWithNothingButATimeAreHeartbeats) {
  DecoderOptions options;
  options.columns = Schema({{"t", columns::kTimestamp}, {"x", columns::kBigint}});
  options.time = TimeColumn{"t", TimeFormat()};
  Decoder decoder = make(options);
  std::vector<RecordView> records(4);
  records[0].value = R"({"t":"2025-09-01T12:00:00Z","x":null})";
  records[1].value = R"({"t":"2025-09-01T12:00:00Z","y":1})";
  records[2].timestamp_us = kNoonUs + 7;  // no value at all
  records[3].key = "k";                   // a tombstone
  const Decoded decoded = decoder.decode(records);
  EXPECT_EQ(decoded.batch.rows(), 1u);
  ASSERT_EQ(decoded.heartbeats.size(), 2u);
  EXPECT_EQ(decoded.heartbeats[0].record, 0u);
  EXPECT_EQ(decoded.heartbeats[0].row.event_time_us, kNoonUs);
  EXPECT_EQ(decoded.heartbeats[1].row.event_time_us, kNoonUs + 7);
  ASSERT_EQ(decoded.rejects.size(), 1u);
  EXPECT_EQ(decoded.rejects[0].reason, "the record has no value (a tombstone)");
}

TEST_F(DecoderTest, CsvRowsAreReadFieldByField) {
  DecoderOptions options;
  options.format = Format::kCsv;
  options.columns = payment_schema();
  Decoder decoder = make(options);
  const Decoded decoded =
      decode(decoder, {"a,1.5,-3,12.30,true,2025-09-01T12:00:00Z", "\"say \"\"hi\"\", you\",,,,,",
                       "\"\", 2 ,7,1,0,2025-09-01\r\n", "\"two\nlines\",1e3,1,0.5,f,2025-09-01 12:00"});
  ASSERT_TRUE(decoded.rejects.empty()) << decoded.rejects[0].reason;
  EXPECT_THAT(texts(decoded, "id"), ElementsAre("a", "say \"hi\", you", "", "two\nlines"));
  EXPECT_THAT(texts(decoded, "amount"), ElementsAre("1.5", "NULL", "2", "1000"));
  EXPECT_THAT(texts(decoded, "price"), ElementsAre("12.30", "NULL", "1.00", "0.50"));
  EXPECT_THAT(texts(decoded, "ok"), ElementsAre("true", "NULL", "false", "false"));
  EXPECT_EQ(reason(decoder, "a,b"), "expected 6 fields, got 2");
  EXPECT_EQ(reason(decoder, "a,x,1,1,t,"), R"(column amount: expected double, got the text "x")");
  EXPECT_EQ(reason(decoder, "a,1,1.5,1,t,"), R"(column count: expected bigint, got the text "1.5")");
  EXPECT_EQ(reason(decoder, "\"a,1,1,1,t,"), "not CSV: a quoted field does not end");
  EXPECT_EQ(reason(decoder, "\"a\"b,1,1,1,t,"), "not CSV: text follows the closing quote of a field");
  EXPECT_EQ(reason(decoder, "\xff,1,1,1,t,"), "not CSV: the bytes are not UTF-8");
}

TEST_F(DecoderTest, RawKeepsEveryLineAndTextRefusesWhatIsNoText) {
  DecoderOptions options;
  options.format = Format::kRaw;
  Decoder raw = make(options);
  EXPECT_THAT(texts(decode(raw, {"GET / 200", "caf\xe9", ""}), "value"), ElementsAre("GET / 200", "caf\ufffd", ""));
  options.format = Format::kText;
  options.columns = Schema({{"line", columns::kVarchar}});
  Decoder text = make(options);
  EXPECT_THAT(texts(decode(text, {"naïve"}), "line"), ElementsAre("naïve"));
  EXPECT_THAT(reason(text, "caf\xe9"), HasSubstr("not UTF-8"));
}

TEST_F(DecoderTest, ContradictoryOptionsAreRefusedWithTheNearestName) {
  DecoderOptions options;
  options.columns = payment_schema();
  options.wanted = {"amont"};
  auto error = Decoder::make(options, clock_).error();
  EXPECT_EQ(error.message, "column amont is not declared");
  EXPECT_EQ(error.hint, "did you mean amount?");
  options.wanted.reset();
  options.time = TimeColumn{"att", TimeFormat()};
  EXPECT_EQ(Decoder::make(options, clock_).error().hint, "did you mean at?");
  options.time = TimeColumn{"amount", TimeFormat()};
  EXPECT_THAT(Decoder::make(options, clock_).error().message, HasSubstr("declared double"));
  EXPECT_EQ(parse_format("avro").error().code, Errc::kNotBuiltYet);
  EXPECT_EQ(parse_format("jason").error().hint, "did you mean json?");
}

TEST_F(DecoderTest, TextOutlivesTheRecordsAndTheDecoder) {
  Decoded decoded;
  {
    Decoder decoder = json(Schema({{"id", columns::kVarchar}}));
    const auto value =
        std::make_unique<std::string>(R"({"id":"a long enough text to lie outside of any string object"})");
    decoded = decode(decoder, {*value});
  }
  EXPECT_THAT(texts(decoded, "id"), ElementsAre("a long enough text to lie outside of any string object"));
}

TEST_F(DecoderTest, WhatTheEncoderWritesIsReadBackTheSame) {
  const auto seed = static_cast<uint64_t>(testing::UnitTest::GetInstance()->random_seed()) + 1;
  SCOPED_TRACE(seed);
  Random random(seed);
  constexpr std::array<std::string_view, 12> kPieces{"a", ",", "\"", "\n", "\t", "\\",
                                                     "/", " ", "é",  "😀", "'",  "\x01"};
  for (const Format format : {Format::kJson, Format::kCsv}) {
    DecoderOptions options;
    options.format = format;
    options.columns = payment_schema();
    Decoder decoder = make(options);
    const Encoder encoder = *Encoder::make(format, decoder.schema());
    for (int round = 0; round < 200; ++round) {
      std::vector<std::shared_ptr<columns::Column>> building;
      for (const auto& field : decoder.schema()->fields())
        building.push_back(std::make_shared<columns::Column>(field.type));
      std::string text;
      for (uint64_t i = random.below(20); i > 0; --i) text += kPieces[random.below(kPieces.size())];
      building[0]->append_text_copy(text);
      double number = std::bit_cast<double>(random.next());
      if (!std::isfinite(number)) number = 0.1;
      building[1]->append_double(number);
      building[2]->append_int64(static_cast<int64_t>(random.next()));
      building[3]->append_int64(static_cast<int64_t>(random.below(2'000'000'000'000)) - 1'000'000'000'000 + 1);
      if (random.chance(0.5))
        building[4]->append_null();
      else
        building[4]->append_boolean(random.chance(0.5));
      building[5]->append_int64(kNoonUs + static_cast<int64_t>(random.below(1'000'000'000)));
      const std::vector<columns::ColumnPtr> shared(building.begin(), building.end());
      const columns::Batch batch(decoder.schema(), shared, {columns::RowId{}});
      std::string written, again;
      encoder.append_row(batch, 0, written);
      const Decoded decoded = decode(decoder, {written});
      ASSERT_TRUE(decoded.rejects.empty()) << written << ": " << decoded.rejects[0].reason;
      encoder.append_row(decoded.batch, 0, again);
      EXPECT_EQ(again, written);
      EXPECT_EQ(decoded.batch.column(1).doubles()[0], number);
      EXPECT_EQ(decoded.batch.column(2).int64s()[0], building[2]->int64s()[0]);
      EXPECT_EQ(decoded.batch.column(3).int64s()[0], building[3]->int64s()[0]);
      EXPECT_EQ(decoded.batch.column(0).texts()[0], text);
    }
  }
}

}  // namespace
}  // namespace millrace::format
