#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sql/database.h"

namespace millrace::warehouse {

// `topic('t', from := 0)` as DuckDB can read it: FROM is a keyword, so the argument's name gets quotes.
std::string quote_from_argument(std::string_view sql);

// Refuses, by name, all but one statement that only reads.
Status check_only_reads(sql::Connection& connection, const std::string& sql);

}  // namespace millrace::warehouse
