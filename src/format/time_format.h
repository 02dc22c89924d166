#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::format {

class TimeZone;

// How a source writes its times. Immutable, cheap to copy, any thread.
class TimeFormat {
 public:
  // RFC 3339 and what people write for it, in UTC: a blank for the T, no zone, no seconds, a date alone.
  TimeFormat();
  // `format` is rfc3339, unix_s, unix_ms, unix_us or a strptime pattern; `zone` is what times without one are in: empty
  // or UTC, an offset (+02:00), or a name of the IANA database (Europe/Berlin), read from the system's zone files.
  // Pattern directives: %Y %y %m %d %e %H %I %p %M %S (with a fraction where the text has one) %f %z %Z %b %B %h %a %A
  // %j %T %D %F %R %s %n %t %%; white space matches any amount of it, everything else itself. At places that daylight
  // saving time repeats the first is taken; in those it skips, the offset before applies.
  static Result<TimeFormat> parse(std::string_view format, std::string_view zone = {});

  // Whether a number is a time in this format (the unix_ ones).
  bool takes_numbers() const { return unit_ != 0; }

  // Microseconds since 1970, UTC. Times before the year 0 or after 9999 are refused; for numbers with the unit that
  // they look like.
  Result<int64_t> read_text(std::string_view text) const;
  Result<int64_t> read_integer(int64_t value) const;
  Result<int64_t> read_double(double value) const;

  // Refuses event times before 1990 or more than a day after `now_us`, with the unit that they look like if the format
  // is one of numbers.
  Status check_likely(int64_t time_us, int64_t now_us) const;

  // The format as it was written: "rfc3339", "%d/%b/%Y:%H:%M:%S %z".
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  int64_t unit_ = 0;     // microseconds per unit of the unix_ formats, 0 for the others
  std::string pattern_;  // of strptime, empty for the others
  std::shared_ptr<const TimeZone> zone_;
};

}  // namespace millrace::format
