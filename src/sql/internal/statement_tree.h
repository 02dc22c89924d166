#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "columns/schema.h"
#include "sql/batch_query.h"

namespace millrace::sql {

// What functions do to a row-wise statement, by lower-case name; read from DuckDB's catalog once per process.
enum class FunctionClass { kRowWise, kAggregate, kVolatile, kTable };
class FunctionCatalog {
 public:
  static Result<std::shared_ptr<const FunctionCatalog>> load(Connection& connection);
  FunctionClass classify(std::string_view name) const;

 private:
  std::unordered_map<std::string, FunctionClass> classes_;  // kRowWise ones are left out
};

// The name of the hidden column that carries each row's number through a statement.
inline constexpr std::string_view kRowColumn = "__millrace_row";

// One item of a SELECT list once stars are taken apart.
struct OutputItem {
  std::optional<size_t> input;  // passed on: the input's column
  std::string expression;       // else: its serialized tree
};

// A parsed SELECT in DuckDB's serialized form (json_serialize_sql). Immutable.
class StatementTree {
 public:
  // The error is the syntax error, with its position.
  static tl::expected<StatementTree, Issue> parse(Connection& connection, std::string_view sql);

  // What BatchQuery::make() refuses the statement for, before any name is looked up: the first in the text.
  std::optional<Issue> check(const FunctionCatalog& catalog, std::string_view input) const;

  // The statement with every reference to `input` turned into `table`, and kRowColumn handed through every SELECT and
  // returned last. Preconditions: check() found nothing.
  std::string with_row_number(std::string_view input, std::string_view table) const;

  // The SELECT list taken apart, if the statement reads `input` directly and every item is understood.
  std::optional<std::vector<OutputItem>> output_items(std::string_view input, const columns::Schema& schema) const;
  bool has_where() const;
  // As with_row_number(), but selecting only these items' expressions, as c0, c1 …, before kRowColumn.
  std::string with_row_number_of(std::string_view input, std::string_view table,
                                 const std::vector<OutputItem>& items) const;

  // Where the statement names that column, or calls that function.
  std::optional<size_t> find_column(std::string_view name) const;
  std::optional<size_t> find_function(std::string_view name) const;

  // The SQL text of a serialized tree.
  static Result<std::string> to_sql(Connection& connection, const std::string& tree);

 private:
  struct Document;
  StatementTree(std::string sql, std::shared_ptr<const Document> document)
      : sql_(std::move(sql)), document_(std::move(document)) {}

  std::string sql_;
  std::shared_ptr<const Document> document_;
};

// SQL compares names so: letters of either case are the same.
bool same_name(std::string_view a, std::string_view b);

}  // namespace millrace::sql
