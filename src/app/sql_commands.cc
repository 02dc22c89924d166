#include <fmt/core.h>
#include <simdjson.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/connection.h"
#include "app/data_folder.h"
#include "base/metrics.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "http/client.h"
#include "warehouse/warehouse.h"

namespace millrace::app {
namespace {

constexpr std::chrono::milliseconds kQueryLimit{60'000};

struct SqlFlags {
  std::string statement;
  std::string parquet;  // a file to write; empty: print
};

std::string text_of(simdjson::dom::element element, const char* key) {
  std::string_view text;
  return element[key].get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

// The server owns the warehouse's file, so it is asked.
Result<std::string> ask_server(const ServerAddresses& server, const std::string& statement, const std::string& format) {
  MILLRACE_ASSIGN_OR_RETURN(
      auto response, http::call(server.http, "POST", "/v1/sql?format=" + format, statement, server.token, kQueryLimit));
  if (response.status == 200) return std::move(response.body);
  simdjson::dom::parser parser;
  simdjson::dom::element error;
  if (parser.parse(response.body).get(error) != simdjson::SUCCESS)
    return fail(Errc::kInternal, fmt::format("the server at {} answered {}", server.http, response.status));
  const Errc code = response.status == 504   ? Errc::kTimedOut
                    : response.status == 404 ? Errc::kNotFound
                    : response.status >= 500 ? Errc::kUnavailable
                                             : Errc::kInvalidArgument;
  return fail(code, text_of(error, "message"), text_of(error, "try"));
}

// No server runs on the data folder: this process opens the file itself, for the one statement.
Result<std::string> ask_file(const CommandLine& line, const std::string& statement, warehouse::AnswerFormat format) {
  const env::SystemClock clock;
  env::PosixFileSystem files;
  Metrics metrics;
  MILLRACE_RETURN_IF_ERROR(files.make_directories(line.data));
  client::Options cluster;
  if (!line.bootstrap.empty()) cluster = connection(line);
  MILLRACE_ASSIGN_OR_RETURN(
      const auto warehouse,
      warehouse::Warehouse::open({.directory = line.data, .cluster = cluster}, clock, files, metrics, nullptr));
  MILLRACE_ASSIGN_OR_RETURN(auto answer, warehouse->query(statement, {.format = format}));
  return std::move(answer.body);
}

// What failed, and a hint: one that came through DuckDB stands in brackets at the message's end.
tl::unexpected<Error> statement_failed(Error error) {
  constexpr std::string_view kHint = " (try: ";
  const size_t begin = error.message.rfind(kHint);
  if (error.hint.empty() && begin != std::string::npos && error.message.ends_with(')')) {
    error.hint = error.message.substr(begin + kHint.size(), error.message.size() - begin - kHint.size() - 1);
    error.message.resize(begin);
  }
  if (error.hint.empty()) error.hint = "millrace sql \"SHOW TABLES\", millrace topic list";
  error.message = "the statement failed: " + error.message;
  return tl::unexpected(std::move(error));
}

Cell to_cell(simdjson::dom::element value) {
  switch (value.type()) {
    case simdjson::dom::element_type::NULL_VALUE:
      return {};
    case simdjson::dom::element_type::BOOL:
      return bool(value);
    case simdjson::dom::element_type::INT64:
      return int64_t(value);
    case simdjson::dom::element_type::DOUBLE:
      return double(value);
    case simdjson::dom::element_type::STRING:
      return std::string(std::string_view(value));
    case simdjson::dom::element_type::UINT64:
    case simdjson::dom::element_type::ARRAY:
    case simdjson::dom::element_type::OBJECT:
      return simdjson::minify(value);
  }
  return {};
}

Result<Listing> to_listing(const std::string& answer) {
  simdjson::dom::parser parser;
  Listing listing{{}, {}, "no rows"};
  try {
    const simdjson::dom::element root = parser.parse(answer);
    for (const simdjson::dom::element column : root["columns"])
      listing.columns.emplace_back(std::string_view(column["name"]));
    for (const simdjson::dom::element row : root["rows"]) {
      auto& cells = listing.rows.emplace_back();
      for (const simdjson::dom::element value : row) cells.push_back(to_cell(value));
    }
  } catch (const simdjson::simdjson_error& error) {
    return fail(Errc::kInternal, fmt::format("the answer cannot be read: {}", error.what()));
  }
  return listing;
}

Status run_sql(const CommandLine& line, const SqlFlags& flags) {
  const bool parquet = !flags.parquet.empty();
  const auto server = running_server(line.data);
  const auto format = parquet                             ? warehouse::AnswerFormat::kParquet
                      : line.output == OutputFormat::kCsv ? warehouse::AnswerFormat::kCsv
                                                          : warehouse::AnswerFormat::kJson;
  const std::string format_name = parquet ? "parquet" : line.output == OutputFormat::kCsv ? "csv" : "json";
  const auto asked = server && !server->http.empty() ? ask_server(*server, flags.statement, format_name)
                                                     : ask_file(line, flags.statement, format);
  if (!asked) return statement_failed(asked.error());
  const std::string& answer = *asked;
  if (parquet) {
    std::ofstream file(flags.parquet, std::ios::binary | std::ios::trunc);
    file << answer;
    file.close();
    if (!file) return fail(Errc::kIo, fmt::format("cannot write {}", flags.parquet));
    line.notes << fmt::format("wrote {} ({} bytes)\n", flags.parquet, answer.size());
    return {};
  }
  if (line.output == OutputFormat::kCsv) {
    line.out << answer;
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const Listing listing, to_listing(answer));
  line.show(listing);
  return {};
}

}  // namespace

void add_sql_commands(CLI::App& root, CommandLine& line) {
  auto flags = std::make_shared<SqlFlags>();
  auto* sql = root.add_subcommand(
      "sql", "one SELECT over the warehouse's tables and topic('name'), also while the server runs");
  sql->add_option("statement", flags->statement, "the statement")->required();
  sql->add_option("--parquet", flags->parquet, "write the result to this Parquet file")->type_name("FILE");
  sql->callback([&line, flags] { line.selected = [&line, flags] { return run_sql(line, *flags); }; });
}

}  // namespace millrace::app
