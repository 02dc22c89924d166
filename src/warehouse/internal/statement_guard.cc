#include "warehouse/internal/statement_guard.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "base/text.h"

namespace millrace::warehouse {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// Behind the quoted text, dollar-quoted text or comment that begins at `at`; `at` itself where none begins.
size_t skip_opaque(std::string_view sql, size_t at) {
  const auto behind = [&](std::string_view end, size_t from) {
    const size_t found = sql.find(end, from);
    return found == std::string_view::npos ? sql.size() : found + end.size();
  };
  if (sql[at] == '\'' || sql[at] == '"') return behind(sql.substr(at, 1), at + 1);
  if (sql.substr(at, 2) == "--") return behind("\n", at);
  if (sql.substr(at, 2) == "/*") return behind("*/", at + 2);
  if (sql[at] == '$') {
    size_t tag = at + 1;
    while (tag < sql.size() && is_word(sql[tag])) ++tag;
    if (tag < sql.size() && sql[tag] == '$') return behind(sql.substr(at, tag + 1 - at), tag + 1);
  }
  return at;
}

std::string first_word(std::string_view sql) {
  for (size_t at = 0; at < sql.size();) {
    const bool quoted = sql[at] == '\'' || sql[at] == '"';
    if (const size_t behind = skip_opaque(sql, at); behind != at && !quoted) {
      at = behind;
    } else if (is_space(sql[at]) || sql[at] == '(' || sql[at] == ';') {
      ++at;
    } else {
      size_t end = at;
      while (end < sql.size() && is_word(sql[end])) ++end;
      return to_upper(sql.substr(at, end - at));
    }
  }
  return {};
}

}  // namespace

std::string quote_from_argument(std::string_view sql) {
  std::string result;
  for (size_t at = 0; at < sql.size();) {
    size_t end = skip_opaque(sql, at);
    if (end == at && is_word(sql[at])) {
      while (end < sql.size() && is_word(sql[end])) ++end;
      size_t next = end;
      while (next < sql.size() && is_space(sql[next])) ++next;
      const bool argument = sql.substr(next, 2) == ":=" || sql.substr(next, 2) == "=>";
      if (argument && to_upper(sql.substr(at, end - at)) == "FROM") {
        result += "\"from\"";
        at = end;
        continue;
      }
    }
    end = std::max(end, at + 1);
    result += sql.substr(at, end - at);
    at = end;
  }
  return result;
}

Status check_only_reads(sql::Connection& connection, const std::string& sql) {
  constexpr std::array<std::string_view, 11> kReading{"SELECT", "WITH",      "FROM",    "VALUES", "SHOW", "DESCRIBE",
                                                      "DESC",   "SUMMARIZE", "EXPLAIN", "PIVOT",  "TABLE"};
  constexpr std::string_view kHint = "SELECT … FROM a table or topic('name')";
  const std::string word = first_word(sql);
  if (word.empty()) return fail(Errc::kInvalidArgument, "there is no statement", std::string(kHint));
  MILLRACE_ASSIGN_OR_RETURN(const auto kinds, [&]() -> Result<std::vector<sql::Connection::Kind>> {
    const bool reads = std::find(kReading.begin(), kReading.end(), word) != kReading.end();
    if (!reads) {
      // What is no statement at all keeps DuckDB's own message.
      const auto parsed = connection.kinds(sql);
      if (!parsed && parsed.error().message.starts_with("syntax error")) return parsed;
      return fail(Errc::kPermissionDenied, fmt::format("{} is refused: SQL here only reads", word), std::string(kHint));
    }
    return connection.kinds(sql);
  }());
  if (kinds.size() != 1) return fail(Errc::kInvalidArgument, "more than one statement", "send them one by one");
  if (kinds[0] == sql::Connection::Kind::kOther)
    return fail(Errc::kPermissionDenied, "the statement changes something: SQL here only reads", std::string(kHint));
  return {};
}

}  // namespace millrace::warehouse
