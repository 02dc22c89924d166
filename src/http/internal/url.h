#pragma once

#include <map>
#include <string>
#include <string_view>

namespace millrace::http::internal {

// Percent-encoded text decoded; what is not a valid escape stays as it is. `plus_is_space` as in forms and queries.
std::string decode_percent(std::string_view text, bool plus_is_space = false);

// a=1&b=x%20y; of a name given twice the last value counts.
std::map<std::string, std::string, std::less<>> parse_query(std::string_view query);

}  // namespace millrace::http::internal
