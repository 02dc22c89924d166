#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/crc32c.h"
#include "base/fake_clock.h"
#include "base/ids.h"
#include "base/json_writer.h"
#include "base/random.h"
#include "base/unix_time.h"
#include "base/utf8.h"
#include "base/uuid.h"

namespace millrace {
namespace {

TEST(Crc32c, MatchesTheVectorsOfRfc3720) {
  EXPECT_EQ(crc32c(as_byte_view("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0})), 0x8A9136AAu);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0xff})), 0x62A8AB43u);
}

TEST(Crc32c, ExtendsPieceByPiece) {
  EXPECT_EQ(crc32c_extend(crc32c(as_byte_view("1234")), as_byte_view("56789")), 0xE3069283u);
}

TEST(Bytes, EveryPrimitiveReadsBackAsItWasWritten) {
  Bytes buffer;
  ByteWriter out(buffer);
  out.fixed<int8_t>(-2);
  out.fixed<int16_t>(-300);
  out.fixed<uint32_t>(0xdeadbeef);
  out.fixed<int64_t>(std::numeric_limits<int64_t>::min());
  out.float64(0.1);
  for (const int64_t value :
       {int64_t{0}, int64_t{-1}, int64_t{63}, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()})
    out.varint(value);
  out.uvarint(std::numeric_limits<uint64_t>::max());

  ByteReader in(buffer);
  EXPECT_EQ(in.fixed<int8_t>(), -2);
  EXPECT_EQ(in.fixed<int16_t>(), -300);
  EXPECT_EQ(in.fixed<uint32_t>(), 0xdeadbeef);
  EXPECT_EQ(in.fixed<int64_t>(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(in.float64(), 0.1);
  for (const int64_t value :
       {int64_t{0}, int64_t{-1}, int64_t{63}, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()})
    EXPECT_EQ(in.varint(), value);
  EXPECT_EQ(in.uvarint(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(in.remaining(), 0u);
}

TEST(Bytes, NumbersAreInNetworkOrder) {
  Bytes buffer;
  ByteWriter(buffer).fixed<uint32_t>(0x01020304);
  EXPECT_EQ(as_text(buffer), std::string_view("\x01\x02\x03\x04"));
}

TEST(Bytes, ReadingPastTheEndIsAnErrorAtEveryLength) {
  Bytes buffer;
  ByteWriter(buffer).fixed<int64_t>(1);
  for (size_t size = 0; size < buffer.size(); ++size)
    EXPECT_FALSE(ByteReader(ByteView(buffer).first(size)).fixed<int64_t>().has_value()) << size;
}

TEST(Bytes, AVarintOfMoreThan64BitsIsCorrupt) {
  EXPECT_FALSE(ByteReader(Bytes(11, std::byte{0xff})).uvarint().has_value());
  Bytes overflow(9, std::byte{0xff});
  overflow.push_back(std::byte{2});
  EXPECT_EQ(ByteReader(overflow).uvarint().error().code, Errc::kCorruption);
}

TEST(Uuid, TextReadsBackAndNeverBeginsWithADash) {
  Random random(7);
  for (int i = 0; i < 1000; ++i) {
    const Uuid uuid = Uuid::random(random);
    const std::string text = uuid.to_string();
    ASSERT_EQ(text.size(), 22u);
    ASSERT_NE(text[0], '-');
    ASSERT_EQ(Uuid::parse(text), uuid);
  }
  EXPECT_FALSE(Uuid::parse("too short").has_value());
  EXPECT_FALSE(Uuid::parse("!!!!!!!!!!!!!!!!!!!!!!").has_value());
}

TEST(Random, FollowsThePublishedSplitMix64Sequence) {
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
}

TEST(Json, WritesNestedValuesWithSeparators) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("a").number(1).key("b").begin_array().number(0.1).boolean(true).null().end_array();
  json.key("c").begin_object().end_object().key("d").text("x").end_object();
  EXPECT_EQ(out, R"({"a":1,"b":[0.1,true,null],"c":{},"d":"x"})");
}

TEST(Json, EscapesWhatMustBeEscapedAndReplacesBadUtf8) {
  std::string out;
  append_json_string(out, std::string_view("q\" b\\ n\n z\0 中 \xff", 17));
  EXPECT_EQ(out, "\"q\\\" b\\\\ n\\n z\\u0000 中 \xEF\xBF\xBD\"");
}

TEST(Json, WritesNullForWhatJsonCannotSay) {
  std::string out;
  JsonWriter(out).begin_array().number(NAN).number(INFINITY).number(-0.0).end_array();
  EXPECT_EQ(out, "[null,null,-0]");
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndTruncation) {
  EXPECT_TRUE(is_utf8("aé中😀"));
  for (const std::string_view bad : {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe4\xb8", "\x80"})
    EXPECT_FALSE(is_utf8(bad));
  EXPECT_TRUE(is_utf8("eight bytes and more, then é"));
  EXPECT_FALSE(is_utf8("eight bytes and more, then \xe9"));
}

TEST(Utf8, PutsAReplacementCharacterForEachByteThatIsNone) {
  EXPECT_EQ(to_utf8("caf\xe9, aé\xe4\xb8"), "caf\ufffd, aé\ufffd\ufffd");
  EXPECT_EQ(to_utf8("中"), "中");
}

TEST(FakeClock, MovesOnlyWhenTold) {
  FakeClock clock;
  const WallTime wall = clock.wall_now();
  const MonoTime mono = clock.mono_now();
  clock.advance(std::chrono::milliseconds(5));
  EXPECT_EQ(clock.wall_now() - wall, std::chrono::milliseconds(5));
  EXPECT_EQ(clock.mono_now() - mono, std::chrono::milliseconds(5));
}

TEST(StrongId, MovesByDistances) {
  EXPECT_EQ(Offset(5) + 3, Offset(8));
  EXPECT_EQ(Offset(8) - Offset(5), 3);
  EXPECT_LT(Offset(1), Offset(2));
}

TEST(UnixTime, HoldsEveryNumberThatAProducerMayHaveWritten) {
  EXPECT_EQ(us_from_ms(1'700'000'000'123), 1'700'000'000'123'000);
  EXPECT_EQ(us_from_ms(-1), -1'000);
  EXPECT_EQ(us_from_ms(std::numeric_limits<int64_t>::max()), 9'223'372'036'854'775'000);
  EXPECT_EQ(us_from_ms(std::numeric_limits<int64_t>::min()), -9'223'372'036'854'775'000);
}

}  // namespace
}  // namespace millrace
