#include "format/time_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "columns/column.h"
#include "format/internal/time_zone.h"

namespace millrace::format {
namespace {

// As RFC 3339, or the error.
std::string read(std::string_view format, std::string_view zone, std::string_view text) {
  const auto parsed = TimeFormat::parse(format, zone);
  if (!parsed) return parsed.error().message;
  const auto us = parsed->read_text(text);
  return us ? columns::format_timestamp(*us) : us.error().message;
}

TEST(TimeFormat, ReadsRfc3339AndWhatPeopleWriteForIt) {
  EXPECT_EQ(read("rfc3339", "", "2025-09-01T12:00:00Z"), "2025-09-01T12:00:00Z");
  EXPECT_EQ(read("rfc3339", "", "2025-09-01t12:00:00.123456789z"), "2025-09-01T12:00:00.123456Z");
  EXPECT_EQ(read("rfc3339", "", "2025-09-01 12:00:00-05:30"), "2025-09-01T17:30:00Z");
  EXPECT_EQ(read("rfc3339", "", "2025-09-01 12:00 UTC"), "2025-09-01T12:00:00Z");
  EXPECT_EQ(read("rfc3339", "", "2024-02-29"), "2024-02-29T00:00:00Z");
  EXPECT_EQ(read("rfc3339", "", "2016-12-31T23:59:60Z"), "2017-01-01T00:00:00Z");
  for (const std::string_view bad : {"", "2025", "2025-13-01", "2025-00-01", "2025-02-29", "2025-09-01T24:00:00Z",
                                     "2025-09-01T12:60:00Z", "2025-09-01T12:00:00Zx", "2025-09-01T12:00:00+2",
                                     "2025-09-01T12:00:00.Z", "x2025-09-01", "2025-9-1", "2025-09-01T"})
    EXPECT_EQ(read("rfc3339", "", bad), "'" + std::string(bad) + "' is not a time in the format rfc3339");
}

TEST(TimeFormat, ReadsPatterns) {
  EXPECT_EQ(read("%d/%b/%Y:%H:%M:%S %z", "", "17/May/2015:08:05:32 +0000"), "2015-05-17T08:05:32Z");
  EXPECT_EQ(read("%m/%d/%Y %H:%M", "", "12/1/2010 8:26"), "2010-12-01T08:26:00Z");
  EXPECT_EQ(read("%A, %e %B %Y %I:%M:%S %p", "", "Friday,  5 March 2021 12:01:02.5 AM"), "2021-03-05T00:01:02.5Z");
  EXPECT_EQ(read("%Y-%j", "", "2024-366"), "2024-12-31T00:00:00Z");
  EXPECT_EQ(read("%y%m%d%n%T", "", "700102   03:04:05"), "1970-01-02T03:04:05Z");
  EXPECT_EQ(read("%s", "", "1756728000"), "2025-09-01T12:00:00Z");
  EXPECT_EQ(read("%F %R 100%%", "", "2025-09-01 12:00 100%"), "2025-09-01T12:00:00Z");
  EXPECT_EQ(read("%Y-%j", "", "2023-366"), "'2023-366' is not a time in the format %Y-%j");
  EXPECT_EQ(read("%H:%M", "", "25:00"), "'25:00' is not a time in the format %H:%M");
  EXPECT_EQ(read("%Q", "", ""), "time format '%Q': %Q is not a directive it may use");
  EXPECT_EQ(read("%", "", ""), "time format '%': % is not a directive it may use");
  EXPECT_EQ(TimeFormat::parse("rfc339").error().hint, "did you mean rfc3339?");
}

TEST(TimeFormat, ZonesAreOffsetsOrNamesOfTheIanaDatabase) {
  EXPECT_EQ(read("rfc3339", "+02:00", "2025-09-01 12:00:00"), "2025-09-01T10:00:00Z");
  EXPECT_EQ(read("rfc3339", "-0530", "2025-09-01 12:00:00"), "2025-09-01T17:30:00Z");
  // What the text says goes before what the source says.
  EXPECT_EQ(read("rfc3339", "-0530", "2025-09-01T12:00:00Z"), "2025-09-01T12:00:00Z");
  // Before, in, and long after the years that the zone files list one by one.
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "1985-07-01 12:00:00"), "1985-07-01T10:00:00Z");
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "2025-01-01 12:00:00"), "2025-01-01T11:00:00Z");
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "2090-07-01 12:00:00"), "2090-07-01T10:00:00Z");
  EXPECT_EQ(read("rfc3339", "America/New_York", "2040-12-01 12:00:00"), "2040-12-01T17:00:00Z");
  EXPECT_EQ(read("rfc3339", "Australia/Sydney", "2050-01-01 12:00:00"), "2050-01-01T01:00:00Z");
  EXPECT_EQ(read("rfc3339", "Asia/Kolkata", "2050-01-01 12:00:00"), "2050-01-01T06:30:00Z");
  // 02:00 to 03:00 is skipped on 2025-03-30 and repeated on 2025-10-26.
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "2025-03-30 01:59:59"), "2025-03-30T00:59:59Z");
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "2025-03-30 02:30:00"), "2025-03-30T01:30:00Z");
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "2025-03-30 03:00:00"), "2025-03-30T01:00:00Z");
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "2025-10-26 02:30:00"), "2025-10-26T00:30:00Z");
  EXPECT_EQ(read("rfc3339", "Europe/Berlin", "2025-10-26 03:00:00"), "2025-10-26T02:00:00Z");
  for (const std::string_view bad : {"Europe/Berlim", "../../etc/passwd", "/etc/passwd", "+99:00", "CEST!"})
    EXPECT_EQ(read("rfc3339", bad, ""), "'" + std::string(bad) + "' is not a time zone");
  EXPECT_FALSE(TimeFormat::parse("unix_s", "Europe/Berlin").has_value());
}

TEST(TimeFormat, NumbersAreReadInTheirUnitOrRefusedWithTheLikelyOne) {
  EXPECT_EQ(*TimeFormat::parse("unix_s")->read_double(0.5), 500'000);
  EXPECT_EQ(*TimeFormat::parse("unix_ms")->read_integer(-1), -1'000);
  EXPECT_EQ(TimeFormat::parse("unix_s")->read_integer(1'756'728'000'000'000).error().message,
            "1756728000000000 looks like microseconds, the format is unix_s");
  EXPECT_EQ(TimeFormat::parse("unix_us")->read_integer(1'756'728'000'000'000'000).error().message,
            "1756728000000000000 looks like nanoseconds, the format is unix_us");
  EXPECT_FALSE(TimeFormat::parse("unix_s")->read_double(std::nan("")).has_value());
  EXPECT_FALSE(TimeFormat::parse("unix_us")->read_integer(std::numeric_limits<int64_t>::min()).has_value());
  EXPECT_FALSE(TimeFormat().read_integer(1'756'728'000).has_value());
}

TEST(TimeZone, DamagedFilesAreRefused) {
  EXPECT_FALSE(TimeZone::parse_tzif("").has_value());
  EXPECT_FALSE(TimeZone::parse_tzif("TZif2").has_value());
  std::string huge = "TZif2" + std::string(15, '\0') + std::string(24, '\xff');
  EXPECT_FALSE(TimeZone::parse_tzif(huge + huge).has_value());
}

}  // namespace
}  // namespace millrace::format
