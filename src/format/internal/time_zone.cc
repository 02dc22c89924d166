#include "format/internal/time_zone.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/byte_reader.h"

namespace millrace::format {
namespace {

constexpr int64_t kDaySeconds = 86'400;
constexpr size_t kZoneFileBytesMax = 1 << 20;

bool is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

int64_t year_of_day(int64_t days) {
  // An estimate that is at most one year off, then corrected.
  int64_t year = 1970 + (days >= 0 ? days / 366 : (days - 364) / 365);
  while (days_from_civil(year + 1, 1, 1) <= days) ++year;
  while (days_from_civil(year, 1, 1) > days) --year;
  return year;
}

// +02:00, -0530, +2.
std::optional<int64_t> parse_offset(std::string_view text) {
  if (text.size() < 2 || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  const int64_t sign = text[0] == '-' ? -1 : 1;
  text.remove_prefix(1);
  int64_t hours = 0, minutes = 0;
  const auto number = [](std::string_view digits, int64_t& value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return !digits.empty() && digits[0] != '-' && error == std::errc() && end == digits.data() + digits.size();
  };
  bool good = false;
  if (const size_t colon = text.find(':'); colon != std::string_view::npos)
    good = colon <= 2 && text.size() == colon + 3 && number(text.substr(0, colon), hours) &&
           number(text.substr(colon + 1), minutes);
  else if (text.size() == 4)
    good = number(text.substr(0, 2), hours) && number(text.substr(2), minutes);
  else
    good = text.size() <= 2 && number(text, hours);
  if (!good || hours > 15 || minutes > 59) return std::nullopt;
  return sign * (hours * 3600 + minutes * 60);
}

bool take_number(std::string_view& text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// [+-]hh[:mm[:ss]]
bool take_time(std::string_view& text, int64_t& seconds) {
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  int64_t hours = 0, minutes = 0, rest = 0;
  if (!take_number(text, hours)) return false;
  if (take(text, ':') && !take_number(text, minutes)) return false;
  if (take(text, ':') && !take_number(text, rest)) return false;
  if (hours < 0 || hours > 167 || minutes < 0 || minutes > 59 || rest < 0 || rest > 59) return false;
  seconds = (hours * 3600 + minutes * 60 + rest) * (negative ? -1 : 1);
  return true;
}

bool skip_zone_name(std::string_view& text) {
  if (take(text, '<')) {
    const size_t close = text.find('>');
    if (close == std::string_view::npos) return false;
    text.remove_prefix(close + 1);
    return true;
  }
  size_t letters = 0;
  while (letters < text.size() && std::isalpha(static_cast<unsigned char>(text[letters])) != 0) ++letters;
  text.remove_prefix(letters);
  return letters >= 3;
}

struct TzifHeader {
  uint8_t version = 0;
  uint32_t utc_indicators = 0, standard_indicators = 0, leaps = 0, times = 0, types = 0, chars = 0;

  uint64_t body_bytes(uint64_t time_bytes) const {
    return uint64_t{times} * (time_bytes + 1) + uint64_t{types} * 6 + chars + uint64_t{leaps} * (time_bytes + 4) +
           standard_indicators + utc_indicators;
  }
};

Result<TzifHeader> read_header(ByteReader& in) {
  TzifHeader header;
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view magic, in.text(4));
  if (magic != "TZif") return fail(Errc::kCorruption, "not a time zone file");
  MILLRACE_ASSIGN_OR_RETURN(header.version, in.fixed<uint8_t>());
  MILLRACE_RETURN_IF_ERROR(in.skip(15));
  for (uint32_t* count : {&header.utc_indicators, &header.standard_indicators, &header.leaps, &header.times,
                          &header.types, &header.chars}) {
    MILLRACE_ASSIGN_OR_RETURN(*count, in.fixed<uint32_t>());
  }
  return header;
}

}  // namespace

int64_t days_from_civil(int64_t year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719'468;
}

int days_in_month(int64_t year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : kDays[month - 1];
}

Result<std::shared_ptr<const TimeZone>> TimeZone::find(std::string_view name, const std::string& zone_directory) {
  if (name.empty() || name == "UTC" || name == "Z") return std::make_shared<const TimeZone>();
  if (const auto offset = parse_offset(name)) {
    auto zone = std::make_shared<TimeZone>();
    zone->first_offset_s_ = *offset;
    return zone;
  }
  const auto is_name_char = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/' || c == '_' || c == '-' || c == '+';
  };
  const auto unknown = [&] {
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is not a time zone", name),
                "UTC, an offset as +02:00, or a name as Europe/Berlin");
  };
  if (name[0] == '/' || !std::all_of(name.begin(), name.end(), is_name_char)) return unknown();
  std::ifstream file(zone_directory + "/" + std::string(name), std::ios::binary);
  std::string bytes;
  bytes.resize(kZoneFileBytesMax);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
  if (bytes.empty()) return unknown();
  auto zone = parse_tzif(bytes);
  return zone ? zone : unknown();
}

Result<std::shared_ptr<const TimeZone>> TimeZone::parse_tzif(std::string_view bytes) {
  ByteReader in(as_byte_view(bytes));
  MILLRACE_ASSIGN_OR_RETURN(const TzifHeader old, read_header(in));
  if (old.version < '2') return fail(Errc::kUnsupported, "a time zone file of version 1");
  MILLRACE_RETURN_IF_ERROR(in.skip(old.body_bytes(4)));
  MILLRACE_ASSIGN_OR_RETURN(const TzifHeader header, read_header(in));
  if (header.body_bytes(8) > in.remaining() || header.types == 0)
    return fail(Errc::kCorruption, "a time zone file ends early");

  auto zone = std::make_shared<TimeZone>();
  std::vector<int64_t> times(header.times);
  std::vector<uint8_t> kinds(header.times);
  std::vector<int64_t> offsets(header.types);
  for (int64_t& time : times) {
    MILLRACE_ASSIGN_OR_RETURN(time, in.fixed<int64_t>());
  }
  for (uint8_t& kind : kinds) {
    MILLRACE_ASSIGN_OR_RETURN(kind, in.fixed<uint8_t>());
  }
  for (int64_t& offset : offsets) {
    MILLRACE_ASSIGN_OR_RETURN(offset, in.fixed<int32_t>());
    MILLRACE_RETURN_IF_ERROR(in.skip(2));
  }
  zone->first_offset_s_ = offsets[0];
  for (size_t i = 0; i < times.size(); ++i) {
    if (kinds[i] >= offsets.size()) return fail(Errc::kCorruption, "a time zone file names a type it lacks");
    zone->changes_.push_back({times[i], offsets[kinds[i]]});
  }
  MILLRACE_RETURN_IF_ERROR(
      in.skip(header.chars + uint64_t{header.leaps} * 12 + header.standard_indicators + header.utc_indicators));
  MILLRACE_ASSIGN_OR_RETURN(std::string_view footer, in.text(in.remaining()));
  if (take(footer, '\n')) footer = footer.substr(0, footer.find('\n'));
  if (!footer.empty() && !zone->parse_footer(footer))
    return fail(Errc::kCorruption, "a time zone file with an unreadable footer");
  return zone;
}

bool TimeZone::parse_rule(std::string_view& text, Rule& rule) {
  int64_t number = 0;
  if (take(text, 'M')) {
    rule.form = Rule::Form::kMonthWeekDay;
    for (int* part : {&rule.month, &rule.week, &rule.day}) {
      if (part != &rule.month && !take(text, '.')) return false;
      if (!take_number(text, number) || number < 0 || number > 12) return false;
      *part = static_cast<int>(number);
    }
    if (rule.month < 1 || rule.week < 1 || rule.week > 5 || rule.day > 6) return false;
  } else {
    rule.form = take(text, 'J') ? Rule::Form::kJulianNoLeap : Rule::Form::kDayOfYear;
    if (!take_number(text, number) || number < 0 || number > 365) return false;
    rule.day = static_cast<int>(number);
  }
  return !take(text, '/') || take_time(text, rule.time_s);
}

bool TimeZone::parse_footer(std::string_view text) {
  int64_t west_s = 0;
  if (!skip_zone_name(text) || !take_time(text, west_s)) return false;
  standard_offset_s_ = -west_s;
  has_footer_ = true;
  if (text.empty()) return true;
  if (!skip_zone_name(text)) return false;
  daylight_offset_s_ = standard_offset_s_ + 3600;
  if (!text.empty() && text[0] != ',') {
    if (!take_time(text, west_s)) return false;
    daylight_offset_s_ = -west_s;
  }
  if (!take(text, ',') || !parse_rule(text, daylight_begins_)) return false;
  if (!take(text, ',') || !parse_rule(text, daylight_ends_)) return false;
  has_daylight_ = true;
  return text.empty();
}

int64_t TimeZone::rule_local_s(const Rule& rule, int64_t year) {
  int64_t day = 0;
  switch (rule.form) {
    case Rule::Form::kMonthWeekDay: {
      const int64_t first = days_from_civil(year, rule.month, 1);
      const int64_t weekday = ((first + 4) % 7 + 7) % 7;  // 1970-01-01 was a Thursday
      int64_t in_month = (rule.day - weekday + 7) % 7 + (rule.week - int64_t{1}) * 7;
      while (in_month >= days_in_month(year, rule.month)) in_month -= 7;
      day = first + in_month;
      break;
    }
    case Rule::Form::kJulianNoLeap:
      day = days_from_civil(year, 1, 1) + rule.day - 1 + (is_leap(year) && rule.day >= 60 ? 1 : 0);
      break;
    case Rule::Form::kDayOfYear:
      day = days_from_civil(year, 1, 1) + rule.day;
      break;
  }
  return day * kDaySeconds + rule.time_s;
}

int64_t TimeZone::offset_at_utc(int64_t utc_s) const {
  if (!changes_.empty() && utc_s < changes_.back().at_utc_s) {
    const auto after = std::upper_bound(changes_.begin(), changes_.end(), utc_s,
                                        [](int64_t time, const Change& change) { return time < change.at_utc_s; });
    return after == changes_.begin() ? first_offset_s_ : std::prev(after)->offset_s;
  }
  if (!has_footer_) return changes_.empty() ? first_offset_s_ : changes_.back().offset_s;
  if (!has_daylight_) return standard_offset_s_;
  const int64_t local = utc_s + standard_offset_s_;
  const int64_t year = year_of_day(local >= 0 ? local / kDaySeconds : (local - kDaySeconds + 1) / kDaySeconds);
  const int64_t begins = rule_local_s(daylight_begins_, year) - standard_offset_s_;
  const int64_t ends = rule_local_s(daylight_ends_, year) - daylight_offset_s_;
  const bool daylight =
      begins < ends ? utc_s >= begins && utc_s < ends : utc_s >= begins || utc_s < ends;  // the south's turn of year
  return daylight ? daylight_offset_s_ : standard_offset_s_;
}

int64_t TimeZone::to_utc(int64_t local_s) const {
  // The offsets in force around that reading; no zone changes twice within two days.
  const int64_t before = offset_at_utc(local_s - kDaySeconds);
  const int64_t after = offset_at_utc(local_s + kDaySeconds);
  // Where both readings exist the earlier instant has the larger offset, which is the one before an autumn change.
  if (before == after || offset_at_utc(local_s - before) == before) return local_s - before;
  if (offset_at_utc(local_s - after) == after) return local_s - after;
  return local_s - before;
}

}  // namespace millrace::format
