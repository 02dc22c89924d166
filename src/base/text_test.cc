#include "base/text.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

using namespace std::chrono_literals;

TEST(NearestName, FindsTyposAndSwapsButNotStrangers) {
  const std::vector<std::string> names{"features", "predict", "aggregate"};
  EXPECT_EQ(nearest_name("featrues", names), "features");
  EXPECT_EQ(nearest_name("Predict", names), "predict");
  EXPECT_EQ(nearest_name("join", names), std::nullopt);
}

TEST(Duration, ReadsEveryUnit) {
  EXPECT_EQ(parse_duration("200ms"), 200ms);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration("10m"), 10min);
  EXPECT_EQ(parse_duration("24h"), 24h);
  EXPECT_EQ(parse_duration("30d"), 720h);
  EXPECT_EQ(parse_duration("0"), 0us);
}

TEST(Duration, RefusesWhatIsNotOne) {
  for (const char* bad : {"", "5", "-1s", "s", "1 s", "1w", "nan s", "1e300d"})
    EXPECT_FALSE(parse_duration(bad).has_value()) << bad;
}

TEST(Duration, FormatsInTheLargestUnitThatDivides) {
  EXPECT_EQ(format_duration(36h), "36h");
  EXPECT_EQ(format_duration(48h), "2d");
  EXPECT_EQ(format_duration(90s), "90s");
}

TEST(Size, ReadsPowersOf1024) {
  EXPECT_EQ(parse_size("100"), 100u);
  EXPECT_EQ(parse_size("64MB"), 64u << 20);
  EXPECT_EQ(parse_size("1GiB"), 1u << 30);
  EXPECT_EQ(parse_size("1.5k"), 1536u);
  for (const char* bad : {"", "MB", "-1", "1xb", "1e300"}) EXPECT_FALSE(parse_size(bad).has_value()) << bad;
}

TEST(LetterCase, ChangesAsciiLettersOnly) {
  EXPECT_EQ(to_lower("AZ[@`{az09\xc3\x84"), "az[@`{az09\xc3\x84");
  EXPECT_EQ(to_upper("AZ[@`{az09\xc3\xa4"), "AZ[@`{AZ09\xc3\xa4");
  EXPECT_TRUE(equal_ignoring_case("Total_9", "tOTAL_9"));
  EXPECT_FALSE(equal_ignoring_case("a", "ab"));
  EXPECT_FALSE(equal_ignoring_case("[", "{"));
}

TEST(Glob, MatchesWholeNames) {
  EXPECT_TRUE(matches_glob("n_*", "n_24h"));
  EXPECT_TRUE(matches_glob("*", ""));
  EXPECT_TRUE(matches_glob("a?c*e", "abcxxe"));
  EXPECT_FALSE(matches_glob("n_*", "mean_24h"));
  EXPECT_FALSE(matches_glob("a", "ab"));
}

TEST(Numbers, TakeTheWholeTextOrNothing) {
  EXPECT_EQ(parse_int64("-42"), -42);
  EXPECT_EQ(parse_int64("42 "), std::nullopt);
  EXPECT_EQ(parse_double("1e3"), 1000.0);
  EXPECT_EQ(parse_double(""), std::nullopt);
}

}  // namespace
}  // namespace millrace
