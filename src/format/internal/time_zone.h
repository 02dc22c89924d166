#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::format {

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level
// Date Algorithms").
int64_t days_from_civil(int64_t year, int month, int day);
// 28 to 31.
int days_in_month(int64_t year, int month);

// Where local times become UTC. Immutable.
class TimeZone {
 public:
  // Empty or UTC, an offset (+02:00, -0530), or a name of the IANA database, read from `zone_directory` (TZif files,
  // RFC 8536, version 2 or later).
  static Result<std::shared_ptr<const TimeZone>> find(std::string_view name,
                                                      const std::string& zone_directory = "/usr/share/zoneinfo");
  static Result<std::shared_ptr<const TimeZone>> parse_tzif(std::string_view bytes);

  // The UTC second of a local time given as seconds since 1970 of the same reading in UTC. A time that occurs twice is
  // the first of the two; one that is skipped is read with the offset before the change.
  int64_t to_utc(int64_t local_s) const;

 private:
  struct Change {
    int64_t at_utc_s;
    int64_t offset_s;  // from then on
  };
  // One end of daylight saving time in a POSIX TZ string.
  struct Rule {
    enum class Form { kMonthWeekDay, kJulianNoLeap, kDayOfYear };
    Form form = Form::kMonthWeekDay;
    int month = 0, week = 0, day = 0;
    int64_t time_s = 7'200;
  };

  int64_t offset_at_utc(int64_t utc_s) const;
  bool parse_footer(std::string_view text);
  static bool parse_rule(std::string_view& text, Rule& rule);
  static int64_t rule_local_s(const Rule& rule, int64_t year);

  int64_t first_offset_s_ = 0;
  std::vector<Change> changes_;
  // After the last change: the footer's rules.
  bool has_footer_ = false;
  bool has_daylight_ = false;
  int64_t standard_offset_s_ = 0;
  int64_t daylight_offset_s_ = 0;
  Rule daylight_begins_, daylight_ends_;
};

}  // namespace millrace::format
