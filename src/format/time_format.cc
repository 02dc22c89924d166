#include "format/time_format.h"

#include <fmt/core.h>

#include <array>
#include <cctype>
#include <cmath>
#include <optional>
#include <vector>

#include "base/text.h"
#include "columns/column.h"
#include "format/internal/time_zone.h"

namespace millrace::format {
namespace {

constexpr int64_t kUsPerSecond = 1'000'000;
constexpr int64_t kDayUs = 86'400 * kUsPerSecond;
constexpr int64_t kYear1990Us = 631'152'000 * kUsPerSecond;
// 0000-01-01 and 10000-01-01: beyond them a time has no RFC 3339 form.
constexpr int64_t kTimeMinUs = -62'167'219'200 * kUsPerSecond;
constexpr int64_t kTimeMaxUs = 253'402'300'800 * kUsPerSecond;

struct Civil {
  int64_t year = 1970;
  int month = 1, day = 1;
  int hour = 0, minute = 0, second = 0;
  int64_t fraction_us = 0;
  std::optional<int64_t> offset_s;  // of a zone in the text
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Exactly `digits` digits.
bool take_digits(std::string_view& text, size_t digits, int& value) {
  if (text.size() < digits) return false;
  int number = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (!is_digit(text[i])) return false;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  value = number;
  return true;
}

// One to `digits_max` digits.
bool take_number(std::string_view& text, size_t digits_max, int& value) {
  size_t digits = 0;
  while (digits < digits_max && digits < text.size() && is_digit(text[digits])) ++digits;
  return digits > 0 && take_digits(text, digits, value);
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// Digits behind the point; from the seventh on they are dropped.
bool take_fraction(std::string_view& text, int64_t& us) {
  int64_t scale = 100'000;
  size_t digits = 0;
  us = 0;
  for (; digits < text.size() && is_digit(text[digits]); ++digits) {
    us += (text[digits] - '0') * scale;
    scale /= 10;
  }
  text.remove_prefix(digits);
  return digits > 0;
}

// Z, +02:00, +0200, +02.
bool take_zone(std::string_view& text, std::optional<int64_t>& offset_s) {
  if (take(text, 'Z') || take(text, 'z')) {
    offset_s = 0;
    return true;
  }
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return false;
  const int64_t sign = text[0] == '-' ? -1 : 1;
  text.remove_prefix(1);
  int hours = 0, minutes = 0;
  if (!take_digits(text, 2, hours)) return false;
  const bool colon = take(text, ':');
  if ((colon || (!text.empty() && is_digit(text[0]))) && !take_digits(text, 2, minutes)) return false;
  if (hours > 15 || minutes > 59) return false;
  offset_s = sign * (hours * 3600 + minutes * 60);
  return true;
}

bool is_real(const Civil& civil) {
  return civil.month >= 1 && civil.month <= 12 && civil.day >= 1 &&
         civil.day <= days_in_month(civil.year, civil.month) && civil.hour < 24 && civil.minute < 60 &&
         civil.second <= 60;
}

int64_t to_us(const Civil& civil, const TimeZone* zone) {
  // A leap second is the first instant of the next minute.
  int64_t seconds = days_from_civil(civil.year, civil.month, civil.day) * 86'400 + civil.hour * int64_t{3'600} +
                    civil.minute * int64_t{60} + civil.second;
  if (civil.offset_s)
    seconds -= *civil.offset_s;
  else if (zone != nullptr)
    seconds = zone->to_utc(seconds);
  return seconds * kUsPerSecond + civil.fraction_us;
}

bool read_rfc3339(std::string_view text, Civil& civil) {
  int year = 0;
  if (!take_digits(text, 4, year) || !take(text, '-') || !take_digits(text, 2, civil.month) || !take(text, '-') ||
      !take_digits(text, 2, civil.day))
    return false;
  civil.year = year;
  if (text.empty()) return is_real(civil);
  if (!take(text, 'T') && !take(text, ' ') && !take(text, 't')) return false;
  if (!take_digits(text, 2, civil.hour) || !take(text, ':') || !take_digits(text, 2, civil.minute)) return false;
  if (take(text, ':') && !take_digits(text, 2, civil.second)) return false;
  if ((take(text, '.') || take(text, ',')) && !take_fraction(text, civil.fraction_us)) return false;
  take(text, ' ');
  if (text == "UTC") {
    civil.offset_s = 0;
    text = {};
  }
  if (!text.empty() && !take_zone(text, civil.offset_s)) return false;
  return text.empty() && is_real(civil);
}

constexpr std::array<std::string_view, 12> kMonths{"january",   "february", "march",    "april",
                                                   "may",       "june",     "july",     "august",
                                                   "september", "october",  "november", "december"};
constexpr std::array<std::string_view, 7> kDays{"monday", "tuesday",  "wednesday", "thursday",
                                                "friday", "saturday", "sunday"};

bool starts_with_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i)
    if ((text[i] | 0x20) != lower[i]) return false;
  return true;
}

// A name or its first three letters; its number from 1.
template <size_t N>
bool take_name(std::string_view& text, const std::array<std::string_view, N>& names, int& number) {
  for (size_t i = 0; i < N; ++i) {
    for (const std::string_view form : {names[i], names[i].substr(0, 3)}) {
      if (!starts_with_ignoring_case(text, form)) continue;
      text.remove_prefix(form.size());
      number = static_cast<int>(i) + 1;
      return true;
    }
  }
  return false;
}

// What %I and %p, and %j, leave to be settled when all is read.
struct Pending {
  int hour12 = -1;
  bool afternoon = false, has_half = false;
  int day_of_year = 0;
  std::optional<int64_t> unix_s;
};

// AM or PM.
bool take_half(std::string_view& text, Pending& pending) {
  pending.has_half = true;
  pending.afternoon = starts_with_ignoring_case(text, "pm");
  if (!pending.afternoon && !starts_with_ignoring_case(text, "am")) return false;
  text.remove_prefix(2);
  return true;
}

// The names of zones that are the same everywhere.
bool take_utc(std::string_view& text, std::optional<int64_t>& offset_s) {
  size_t letters = 0;
  while (letters < text.size() && std::isalpha(static_cast<unsigned char>(text[letters])) != 0) ++letters;
  const std::string_view name = text.substr(0, letters);
  if (name != "UTC" && name != "GMT" && name != "Z") return false;
  offset_s = 0;
  text.remove_prefix(letters);
  return true;
}

bool take_unix_seconds(std::string_view& text, Pending& pending) {
  const bool negative = take(text, '-');
  int64_t seconds = 0;
  size_t digits = 0;
  for (; digits < text.size() && digits < 18 && is_digit(text[digits]); ++digits)
    seconds = seconds * 10 + (text[digits] - '0');
  text.remove_prefix(digits);
  pending.unix_s = negative ? -seconds : seconds;
  return digits > 0;
}

bool read_pattern(std::string_view pattern, std::string_view& text, Civil& civil, Pending& pending);

bool read_directive(char directive, std::string_view& text, Civil& civil, Pending& pending) {
  int number = 0;
  switch (directive) {
    case 'Y':
      if (!take_number(text, 4, number)) return false;
      civil.year = number;
      return true;
    case 'y':
      if (!take_digits(text, 2, number)) return false;
      civil.year = number + (number < 69 ? 2000 : 1900);
      return true;
    case 'm':
      return take_number(text, 2, civil.month);
    case 'e':
      while (take(text, ' ')) {
      }
      return take_number(text, 2, civil.day);
    case 'd':
      return take_number(text, 2, civil.day);
    case 'H':
      return take_number(text, 2, civil.hour);
    case 'I':
      return take_number(text, 2, pending.hour12) && pending.hour12 >= 1 && pending.hour12 <= 12;
    case 'p':
      return take_half(text, pending);
    case 'M':
      return take_number(text, 2, civil.minute);
    case 'S':
      if (!take_number(text, 2, civil.second)) return false;
      return !take(text, '.') || take_fraction(text, civil.fraction_us);
    case 'f':
      return take_fraction(text, civil.fraction_us);
    case 'z':
      return take_zone(text, civil.offset_s);
    case 'Z':
      return take_utc(text, civil.offset_s);
    case 'b':
    case 'B':
    case 'h':
      return take_name(text, kMonths, civil.month);
    case 'a':
    case 'A':
      return take_name(text, kDays, number);
    case 'j':
      return take_number(text, 3, pending.day_of_year) && pending.day_of_year >= 1;
    case 'T':
      return read_pattern("%H:%M:%S", text, civil, pending);
    case 'R':
      return read_pattern("%H:%M", text, civil, pending);
    case 'D':
      return read_pattern("%m/%d/%y", text, civil, pending);
    case 'F':
      return read_pattern("%Y-%m-%d", text, civil, pending);
    case 's':
      return take_unix_seconds(text, pending);
    case '%':
      return take(text, '%');
    default:  // not an enum: parse() has refused the others
      return false;
  }
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool read_pattern(std::string_view pattern, std::string_view& text, Civil& civil, Pending& pending) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const bool space =
        is_space(c) || (c == '%' && i + 1 < pattern.size() && (pattern[i + 1] == 'n' || pattern[i + 1] == 't'));
    if (space) {
      while (!text.empty() && is_space(text[0])) text.remove_prefix(1);
      if (c == '%') ++i;
    } else if (c == '%') {
      ++i;
      if (i == pattern.size() || !read_directive(pattern[i], text, civil, pending)) return false;
    } else if (!take(text, c)) {
      return false;
    }
  }
  return true;
}

tl::unexpected<Error> not_a_time(std::string_view text, const std::string& format) {
  constexpr size_t kShownMax = 40;
  return fail(Errc::kInvalidArgument, fmt::format("'{}{}' is not a time in the format {}", text.substr(0, kShownMax),
                                                  text.size() > kShownMax ? "…" : "", format));
}

struct NumberUnit {
  std::string_view plural;
  std::string_view format;  // empty: there is none
  double us;
};
constexpr std::array kNumberUnits{NumberUnit{"seconds", "unix_s", 1e6}, NumberUnit{"milliseconds", "unix_ms", 1e3},
                                  NumberUnit{"microseconds", "unix_us", 1}, NumberUnit{"nanoseconds", "", 1e-3}};
// 2100-01-01: numbers that lie between 1990 and it in a unit look like that unit.
constexpr double kYear2100Us = 4'102'444'800e6;

const NumberUnit* likely_unit(double number) {
  for (const NumberUnit& unit : kNumberUnits)
    if (number * unit.us >= static_cast<double>(kYear1990Us) && number * unit.us < kYear2100Us) return &unit;
  return nullptr;
}

tl::unexpected<Error> out_of_range(double number, const std::string& format) {
  const NumberUnit* unit = likely_unit(number);
  if (unit == nullptr) return not_a_time(fmt::format("{}", number), format);
  return fail(Errc::kInvalidArgument,
              fmt::format("{:.0f} looks like {}, the format is {}", number, unit->plural, format),
              unit->format.empty() ? std::string() : fmt::format("format: {}", unit->format));
}

}  // namespace

TimeFormat::TimeFormat() : name_("rfc3339") {}

Result<TimeFormat> TimeFormat::parse(std::string_view format, std::string_view zone) {
  TimeFormat result;
  result.name_ = format;
  MILLRACE_ASSIGN_OR_RETURN(auto found, TimeZone::find(zone));
  if (!zone.empty() && zone != "UTC") result.zone_ = std::move(found);
  if (format == "rfc3339") return result;
  if (format == "unix_s") result.unit_ = kUsPerSecond;
  if (format == "unix_ms") result.unit_ = 1'000;
  if (format == "unix_us") result.unit_ = 1;
  if (result.unit_ != 0) {
    if (result.zone_)
      return fail(Errc::kInvalidArgument, fmt::format("{} counts from 1970 in UTC and takes no time zone", format),
                  "leave tz out");
    return result;
  }
  const std::vector<std::string> names{"rfc3339", "unix_s", "unix_ms", "unix_us"};
  if (format.find('%') == std::string_view::npos) {
    const auto nearest = nearest_name(format, names);
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is not a time format", format),
                nearest ? fmt::format("did you mean {}?", *nearest)
                        : "rfc3339, unix_s, unix_ms, unix_us or a strptime pattern as %Y-%m-%d %H:%M:%S");
  }
  constexpr std::string_view kDirectives = "YymdeHIpMSfzZbBhaAjTDFRsnt%";
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') continue;
    ++i;
    if (i == format.size() || kDirectives.find(format[i]) == std::string_view::npos)
      return fail(Errc::kInvalidArgument,
                  fmt::format("time format '{}': %{} is not a directive it may use", format,
                              i < format.size() ? std::string(1, format[i]) : std::string()),
                  "%Y %m %d %H %M %S %z %b and the other directives of strptime");
  }
  result.pattern_ = format;
  return result;
}

Result<int64_t> TimeFormat::read_text(std::string_view text) const {
  if (unit_ != 0) {
    if (const auto integer = parse_int64(text)) return read_integer(*integer);
    if (const auto number = parse_double(text)) return read_double(*number);
    return not_a_time(text, name_);
  }
  Civil civil;
  if (pattern_.empty()) {
    if (!read_rfc3339(text, civil)) return not_a_time(text, name_);
    return to_us(civil, zone_.get());
  }
  std::string_view rest = text;
  Pending pending;
  if (!read_pattern(pattern_, rest, civil, pending) || !rest.empty()) return not_a_time(text, name_);
  if (pending.unix_s) {
    if (*pending.unix_s < kTimeMinUs / kUsPerSecond || *pending.unix_s >= kTimeMaxUs / kUsPerSecond)
      return not_a_time(text, name_);
    return *pending.unix_s * kUsPerSecond + civil.fraction_us;
  }
  if (pending.hour12 >= 0) civil.hour = pending.hour12 % 12 + (pending.afternoon ? 12 : 0);
  if (pending.day_of_year > 0) {
    int day = pending.day_of_year;
    for (civil.month = 1; civil.month <= 12 && day > days_in_month(civil.year, civil.month); ++civil.month)
      day -= days_in_month(civil.year, civil.month);
    civil.day = day;
  }
  if (!is_real(civil)) return not_a_time(text, name_);
  return to_us(civil, zone_.get());
}

Result<int64_t> TimeFormat::read_integer(int64_t value) const {
  if (unit_ == 0) return not_a_time(fmt::format("{}", value), name_);
  if (value < kTimeMinUs / unit_ || value >= kTimeMaxUs / unit_) return out_of_range(static_cast<double>(value), name_);
  return value * unit_;
}

Result<int64_t> TimeFormat::read_double(double value) const {
  if (unit_ == 0) return not_a_time(fmt::format("{}", value), name_);
  const double us = value * static_cast<double>(unit_);
  if (!(us >= static_cast<double>(kTimeMinUs) && us < static_cast<double>(kTimeMaxUs)))
    return out_of_range(value, name_);
  return std::llround(us);
}

Status TimeFormat::check_likely(int64_t time_us, int64_t now_us) const {
  if (time_us >= kYear1990Us && time_us <= now_us + kDayUs) return {};
  std::string reason = fmt::format("event time {} lies {}", columns::format_timestamp(time_us),
                                   time_us < kYear1990Us ? "before 1990" : "more than a day in the future");
  if (unit_ != 0) {
    const double number = static_cast<double>(time_us) / static_cast<double>(unit_);
    if (const NumberUnit* unit = likely_unit(number)) {
      reason += fmt::format(": {:.0f} looks like {}, the format is {}", number, unit->plural, name_);
      return fail(Errc::kInvalidArgument, std::move(reason),
                  unit->format.empty() ? std::string() : fmt::format("format: {}", unit->format));
    }
  }
  return fail(Errc::kInvalidArgument, std::move(reason));
}

}  // namespace millrace::format
