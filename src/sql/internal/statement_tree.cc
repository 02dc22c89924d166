#include "sql/internal/statement_tree.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <functional>

#include "base/check.h"
#include "base/json_writer.h"
#include "base/text.h"

namespace millrace::sql {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::key_value_pair;

// What DuckDB writes where it knows no position.
constexpr uint64_t kNowhere = ~uint64_t{0};

// Names that are functions without parentheses.
constexpr std::array<std::string_view, 9> kNowNames{"current_timestamp", "current_date",   "current_time",
                                                    "localtime",         "localtimestamp", "current_localtime",
                                                    "current_user",      "session_user",   "user"};

std::string_view text_of(const element& node, std::string_view key) {
  std::string_view text;
  if (node[key].get(text) != simdjson::SUCCESS) return {};
  return text;
}

std::optional<size_t> position_of(const element& node) {
  uint64_t position = kNowhere;
  if (node["query_location"].get(position) != simdjson::SUCCESS || position == kNowhere) return std::nullopt;
  return static_cast<size_t>(position);
}

// The member, if it is there and not null.
std::optional<element> child_of(const element& node, std::string_view key) {
  element child;
  if (node[key].get(child) != simdjson::SUCCESS || child.is_null()) return std::nullopt;
  return child;
}

array list_of(const element& node, std::string_view key) {
  array list;
  if (node[key].get(list) != simdjson::SUCCESS) list = array();
  return list;
}

bool has_items(const element& node, std::string_view key) {
  array list;
  return node[key].get(list) == simdjson::SUCCESS && list.size() > 0;
}

// Where keyword `word` stands outside of quotes and comments, ignoring case.
std::optional<size_t> find_keyword(std::string_view sql, std::string_view word) {
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (size_t i = 0; i < sql.size(); ++i) {
    if (sql[i] == '\'' || sql[i] == '"') {
      i = sql.find(sql[i], i + 1);
      if (i == std::string_view::npos) return std::nullopt;
    } else if (sql.substr(i, 2) == "--") {
      i = sql.find('\n', i);
      if (i == std::string_view::npos) return std::nullopt;
    } else if (sql.substr(i, 2) == "/*") {
      i = sql.find("*/", i);
      if (i == std::string_view::npos) return std::nullopt;
    } else if (is_word(sql[i])) {
      const size_t begin = i;
      while (i + 1 < sql.size() && is_word(sql[i + 1])) ++i;
      if (same_name(sql.substr(begin, i + 1 - begin), word)) return begin;
    }
  }
  return std::nullopt;
}

class Checker {
 public:
  Checker(std::string_view sql, std::string_view input, const FunctionCatalog& catalog)
      : sql_(sql), input_(input), catalog_(catalog) {}

  std::optional<Issue> take() { return std::move(first_); }

  void query(const element& node) {
    const std::string_view type = text_of(node, "type");
    if (type != "SELECT_NODE")
      return add(std::nullopt,
                 type == "SET_OPERATION_NODE" ? "UNION, INTERSECT and EXCEPT mix rows" : "the statement is no SELECT",
                 "write two steps");
    std::vector<std::string> outer = ctes_;
    if (const auto map = child_of(node, "cte_map")) {
      for (const element entry : list_of(*map, "map")) {
        if (const auto value = child_of(entry, "value"))
          if (const auto inner = child_of(*value, "query"))
            if (const auto body = child_of(*inner, "node")) query(*body);
        ctes_.emplace_back(text_of(entry, "key"));
      }
    }
    modifiers(node);
    if (has_items(node, "group_expressions") || has_items(node, "group_sets") ||
        text_of(node, "aggregate_handling") == "FORCE_AGGREGATES")
      add(find_keyword(sql_, "group"), "GROUP BY needs more than one row", "use an aggregate or features step");
    if (child_of(node, "having"))
      add(find_keyword(sql_, "having"), "HAVING needs more than one row", "use an aggregate or features step");
    if (child_of(node, "qualify"))
      add(find_keyword(sql_, "qualify"), "QUALIFY needs more than one row", "use a features or dedup step");
    if (child_of(node, "sample")) add(find_keyword(sql_, "sample"), "SAMPLE is random", "use a sample step");
    if (const auto from = child_of(node, "from_table")) table(*from);
    for (const element item : list_of(node, "select_list")) expression(item);
    if (const auto where = child_of(node, "where_clause")) expression(*where);
    ctes_ = std::move(outer);
  }

 private:
  void add(std::optional<size_t> position, std::string message, std::string hint, Errc code = Errc::kInvalidArgument) {
    if (first_ && first_->position.value_or(0) <= position.value_or(0)) return;
    first_ = Issue{Error{code, "sql steps treat rows one by one: " + message, std::move(hint)}, position};
  }

  void modifiers(const element& node) {
    for (const element modifier : list_of(node, "modifiers")) {
      const std::string_view type = text_of(modifier, "type");
      if (type == "DISTINCT_MODIFIER")
        add(find_keyword(sql_, "distinct"), "DISTINCT needs more than one row", "use a dedup step");
      else if (type == "ORDER_MODIFIER")
        add(find_keyword(sql_, "order"), "ORDER BY needs more than one row", "leave it out: rows keep their order");
      else
        add(find_keyword(sql_, "limit"), "LIMIT needs more than one row", "filter with WHERE, or use a sample step");
    }
  }

  void table(const element& node) {
    const std::string_view type = text_of(node, "type");
    if (type == "BASE_TABLE") {
      const std::string_view name = text_of(node, "table_name");
      const bool plain = text_of(node, "schema_name").empty() && text_of(node, "catalog_name").empty();
      const bool known =
          plain && (same_name(name, input_) || std::any_of(ctes_.begin(), ctes_.end(), [&](const std::string& cte) {
                      return same_name(name, cte);
                    }));
      if (!known)
        add(position_of(node), fmt::format("it may read {} only, not {}", input_, name),
            "use a join step for other tables");
      if (child_of(node, "sample"))
        add(find_keyword(sql_, "tablesample"), "TABLESAMPLE is random", "use a sample step");
    } else if (type == "SUBQUERY") {
      if (const auto inner = child_of(node, "subquery"))
        if (const auto body = child_of(*inner, "node")) query(*body);
    } else if (type == "JOIN") {
      add(find_keyword(sql_, "join"), "a join needs more than one row", "use a join step");
    } else if (type == "TABLE_FUNCTION") {
      add(position_of(node), fmt::format("it may read {} only, no table functions", input_),
          fmt::format("write FROM {}", input_));
    } else if (type == "EMPTY") {
      add(std::nullopt, fmt::format("it reads nothing, expected FROM {}", input_),
          fmt::format("write FROM {}", input_));
    } else {
      add(position_of(node), fmt::format("it may read {} only", input_), fmt::format("write FROM {}", input_));
    }
  }

  void expression(const element& node) {
    if (node.is_array()) {
      for (const element item : node.get_array()) expression(item);
      return;
    }
    if (!node.is_object()) return;
    const std::string_view kind = text_of(node, "class");
    if (kind == "SUBQUERY")
      return add(position_of(node), "a subquery inside of an expression needs more than one row", "use a join step");
    if (kind == "PARAMETER")
      return add(position_of(node), "parameters ($1, ?) have no values here", "write the constant");
    if (kind == "WINDOW") {
      return add(position_of(node),
                 fmt::format("the window function {}() needs more than one row", text_of(node, "function_name")),
                 "use a features step (last, lag, windows) or dedup");
    }
    if (kind == "FUNCTION") function(node);
    if (kind == "COLUMN_REF") column(node);
    for (const key_value_pair member : node.get_object()) expression(member.value);
  }

  void function(const element& node) {
    const std::string_view name = text_of(node, "function_name");
    if (same_name(name, "unnest"))
      return add(position_of(node), "unnest() makes several rows of one", "explode is not built yet",
                 Errc::kNotBuiltYet);
    switch (catalog_.classify(name)) {
      case FunctionClass::kAggregate: {
        const std::string_view shown = name == "count_star" ? "count" : name;
        return add(position_of(node), fmt::format("the aggregate {}() needs more than one row", shown),
                   "use a features step (per key and window) or an aggregate step");
      }
      case FunctionClass::kVolatile:
        return add(position_of(node), fmt::format("{}() does not depend on the row alone", name),
                   "use the event's time, or a hash of a column");
      case FunctionClass::kTable:
        return add(position_of(node), fmt::format("{}() is a table function", name), "");
      case FunctionClass::kRowWise:
        return;
    }
  }

  void column(const element& node) {
    const array names = list_of(node, "column_names");
    if (names.size() != 1) return;
    std::string_view name;
    if (names.at(0).get(name) != simdjson::SUCCESS) return;
    for (const std::string_view now : kNowNames)
      if (same_name(name, now))
        add(position_of(node), fmt::format("{} does not depend on the row", now), "use the event's time");
  }

  std::string_view sql_;
  std::string_view input_;
  const FunctionCatalog& catalog_;
  std::vector<std::string> ctes_;
  std::optional<Issue> first_;  // in the text
};

// Copies a tree with changes.
class Rewriter {
 public:
  Rewriter(std::string_view input, std::string_view table, const std::vector<OutputItem>* items)
      : input_(input), table_(table), items_(items) {}

  std::string rewrite(const element& root) {
    copy(root);
    return std::move(out_);
  }

 private:
  void copy(const element& node) {
    if (node.is_object()) return copy_object(node);
    if (node.is_array()) {
      out_ += '[';
      bool first = true;
      for (const element item : node.get_array()) {
        if (!first) out_ += ',';
        first = false;
        copy(item);
      }
      out_ += ']';
      return;
    }
    out_ += simdjson::minify(node);
  }

  void copy_object(const element& node) {
    const bool select = text_of(node, "type") == "SELECT_NODE";
    const bool star = text_of(node, "class") == "STAR";
    const bool base = text_of(node, "type") == "BASE_TABLE" && same_name(text_of(node, "table_name"), input_);
    const bool has_alias = !text_of(node, "alias").empty();
    out_ += '{';
    bool first = true;
    for (const key_value_pair member : node.get_object()) {
      if (!first) out_ += ',';
      first = false;
      append_json_string(out_, member.key);
      out_ += ':';
      if (select && member.key == "select_list") {
        copy_select_list(member.value);
      } else if (star && member.key == "exclude_list" && !child_of(node, "expr")) {
        append_to_list(member.value, quoted(kRowColumn));
      } else if (base && member.key == "table_name") {
        append_json_string(out_, table_);
      } else if (base && member.key == "alias" && !has_alias) {
        append_json_string(out_, text_of(node, "table_name"));
      } else {
        copy(member.value);
      }
    }
    out_ += '}';
  }

  void copy_select_list(const element& list) {
    const std::string row = fmt::format(
        R"({{"class":"COLUMN_REF","type":"COLUMN_REF","alias":"","query_location":{},"column_names":["{}"]}})",
        kNowhere, kRowColumn);
    if (items_ == nullptr) return append_to_list(list, row);
    out_ += '[';
    for (const OutputItem& item : *items_) {
      if (item.input) continue;
      out_ += item.expression;
      out_ += ',';
    }
    out_ += row + ']';
  }

  void append_to_list(const element& list, std::string_view item) {
    copy(list);
    const bool empty = out_.ends_with("[]");
    out_.pop_back();
    if (!empty) out_ += ',';
    out_ += item;
    out_ += ']';
  }

  static std::string quoted(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
  }

  std::string_view input_;
  std::string_view table_;
  const std::vector<OutputItem>* items_;  // null: keep the list
  std::string out_;
};

std::optional<size_t> find_input(const columns::Schema& schema, std::string_view name) {
  for (size_t i = 0; i < schema.size(); ++i)
    if (same_name(schema.field(i).name, name)) return i;
  return std::nullopt;
}

// The column that a bare reference passes on.
std::optional<size_t> passed_on(const element& item, std::string_view table, const columns::Schema& schema) {
  if (text_of(item, "class") != "COLUMN_REF") return std::nullopt;
  const array names = list_of(item, "column_names");
  std::string_view first, second;
  if (names.size() == 1 && names.at(0).get(first) == simdjson::SUCCESS) return find_input(schema, first);
  if (names.size() == 2 && names.at(0).get(first) == simdjson::SUCCESS &&
      names.at(1).get(second) == simdjson::SUCCESS && same_name(first, table))
    return find_input(schema, second);
  return std::nullopt;
}

// Appends what a star stands for; false if it is of a kind that is left to DuckDB.
bool expand_star(const element& star, std::string_view table, const columns::Schema& schema,
                 std::vector<OutputItem>& items) {
  bool columns = true;
  if (star["columns"].get(columns) != simdjson::SUCCESS || columns || child_of(star, "expr") ||
      has_items(star, "qualified_exclude_list") || has_items(star, "rename_list"))
    return false;
  const std::string_view relation = text_of(star, "relation_name");
  if (!relation.empty() && !same_name(relation, table)) return false;
  for (size_t i = 0; i < schema.size(); ++i) {
    bool excluded = false;
    for (const element name : list_of(star, "exclude_list")) {
      std::string_view text;
      if (name.get(text) != simdjson::SUCCESS) return false;
      excluded |= same_name(text, schema.field(i).name);
    }
    if (excluded) continue;
    OutputItem item{i, {}};
    for (const element replace : list_of(star, "replace_list")) {
      if (!same_name(text_of(replace, "key"), schema.field(i).name)) continue;
      item.input.reset();
      item.expression = simdjson::minify(replace["value"].value());
    }
    items.push_back(std::move(item));
  }
  return true;
}

void visit(const element& node, const std::function<void(const element&)>& see) {
  if (node.is_array()) {
    for (const element item : node.get_array()) visit(item, see);
  } else if (node.is_object()) {
    see(node);
    for (const key_value_pair member : node.get_object()) visit(member.value, see);
  }
}

Result<std::string> first_text(Connection& connection, std::string_view sql, const std::string& parameter) {
  MILLRACE_ASSIGN_OR_RETURN(ResultStream stream, connection.query(sql, {parameter}));
  MILLRACE_ASSIGN_OR_RETURN(const auto batch, stream.next());
  if (!batch || batch->rows() == 0 || batch->column(0).is_null(0)) return fail(Errc::kInternal, "no answer");
  // A stream not read to its end keeps its transaction open, and what is registered meanwhile would vanish with it.
  MILLRACE_ASSIGN_OR_RETURN(const auto end, stream.next());
  if (end) return fail(Errc::kInternal, "more than one answer");
  return std::string(batch->column(0).texts()[0]);
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) { return equal_ignoring_case(a, b); }

Result<std::shared_ptr<const FunctionCatalog>> FunctionCatalog::load(Connection& connection) {
  auto catalog = std::make_shared<FunctionCatalog>();
  MILLRACE_ASSIGN_OR_RETURN(ResultStream stream,
                            connection.query("SELECT lower(function_name), function_type, coalesce(stability, ''), "
                                             "coalesce(macro_definition, '') FROM duckdb_functions()"));
  std::unordered_map<std::string, std::string> macros;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, stream.next());
    if (!batch) break;
    for (size_t row = 0; row < batch->rows(); ++row) {
      const std::string name(batch->column(0).texts()[row]);
      const std::string_view type = batch->column(1).texts()[row];
      const std::string_view stability = batch->column(2).texts()[row];
      if (type == "aggregate") catalog->classes_[name] = FunctionClass::kAggregate;
      if (type == "scalar" && !stability.empty() && stability != "CONSISTENT" && name != "error")
        catalog->classes_[name] = FunctionClass::kVolatile;
      if (type == "macro") macros[name] = to_lower(batch->column(3).texts()[row]);
    }
  }
  catalog->classes_["count_star"] = FunctionClass::kAggregate;
  for (const std::string_view now : kNowNames) catalog->classes_.emplace(now, FunctionClass::kVolatile);
  // A macro is what it calls.
  for (const auto& [name, body] : macros) {
    if (catalog->classes_.contains(name)) continue;
    for (size_t open = body.find('('); open != std::string::npos; open = body.find('(', open + 1)) {
      size_t begin = open;
      while (begin > 0 && (std::isalnum(static_cast<unsigned char>(body[begin - 1])) != 0 || body[begin - 1] == '_'))
        --begin;
      const auto called = catalog->classes_.find(body.substr(begin, open - begin));
      if (called == catalog->classes_.end()) continue;
      catalog->classes_.emplace(name, called->second);
      break;
    }
    if (body.find("current_timestamp") != std::string::npos) catalog->classes_[name] = FunctionClass::kVolatile;
  }
  return catalog;
}

FunctionClass FunctionCatalog::classify(std::string_view name) const {
  const auto found = classes_.find(to_lower(name));
  return found == classes_.end() ? FunctionClass::kRowWise : found->second;
}

struct StatementTree::Document {
  std::string json;
  simdjson::dom::parser parser;
  element root;    // of the whole answer
  element select;  // the statement's query node
};

tl::expected<StatementTree, Issue> StatementTree::parse(Connection& connection, std::string_view sql) {
  const auto issue = [](Error error, std::optional<size_t> position = {}) {
    return tl::unexpected<Issue>(Issue{std::move(error), position});
  };
  auto json = first_text(connection, "SELECT json_serialize_sql($1::VARCHAR)::VARCHAR", std::string(sql));
  if (!json) return issue(json.error());
  auto document = std::make_shared<Document>();
  document->json = std::move(*json);
  if (document->parser.parse(document->json).get(document->root) != simdjson::SUCCESS)
    return issue(Error{Errc::kInternal, "the parsed statement cannot be read", ""});
  bool failed = false;
  if (document->root["error"].get(failed) == simdjson::SUCCESS && failed) {
    const std::string message(text_of(document->root, "error_message"));
    if (message.starts_with("Only SELECT"))
      return issue(Error{Errc::kInvalidArgument, "a sql step is one SELECT statement", "write SELECT … FROM …"});
    std::optional<size_t> position;
    if (const auto at = parse_int64(text_of(document->root, "position")); at && *at >= 0)
      position = static_cast<size_t>(*at);
    return issue(Error{Errc::kInvalidArgument, message, ""}, position);
  }
  const array statements = list_of(document->root, "statements");
  if (statements.size() != 1)
    return issue(Error{Errc::kInvalidArgument, "a sql step is one SELECT statement", "write SELECT … FROM …"});
  if (statements.at(0)["node"].get(document->select) != simdjson::SUCCESS)
    return issue(Error{Errc::kInternal, "the parsed statement cannot be read", ""});
  return StatementTree(std::string(sql), std::move(document));
}

std::optional<Issue> StatementTree::check(const FunctionCatalog& catalog, std::string_view input) const {
  Checker checker(sql_, input, catalog);
  checker.query(document_->select);
  return checker.take();
}

std::string StatementTree::with_row_number(std::string_view input, std::string_view table) const {
  return Rewriter(input, table, nullptr).rewrite(document_->root);
}

std::string StatementTree::with_row_number_of(std::string_view input, std::string_view table,
                                              const std::vector<OutputItem>& items) const {
  return Rewriter(input, table, &items).rewrite(document_->root);
}

bool StatementTree::has_where() const { return child_of(document_->select, "where_clause").has_value(); }

std::optional<std::vector<OutputItem>> StatementTree::output_items(std::string_view input,
                                                                   const columns::Schema& schema) const {
  const element& select = document_->select;
  const auto from = child_of(select, "from_table");
  if (!from || text_of(*from, "type") != "BASE_TABLE" || !same_name(text_of(*from, "table_name"), input) ||
      has_items(*from, "column_name_alias"))
    return std::nullopt;
  if (const auto map = child_of(select, "cte_map"); map && has_items(*map, "map")) return std::nullopt;
  const std::string_view alias = text_of(*from, "alias");
  const std::string_view table = alias.empty() ? input : alias;
  std::vector<OutputItem> items;
  for (const element item : list_of(select, "select_list")) {
    if (text_of(item, "class") == "STAR") {
      if (!expand_star(item, table, schema, items)) return std::nullopt;
      continue;
    }
    bool has_star = false;
    visit(item, [&](const element& node) { has_star |= text_of(node, "class") == "STAR"; });
    if (has_star) return std::nullopt;
    const std::optional<size_t> column = passed_on(item, table, schema);
    items.push_back({column, column ? std::string() : simdjson::minify(item)});
  }
  return items;
}

std::optional<size_t> StatementTree::find_column(std::string_view name) const {
  std::optional<size_t> found;
  visit(document_->select, [&](const element& node) {
    if (found || text_of(node, "class") != "COLUMN_REF") return;
    for (const element part : list_of(node, "column_names")) {
      std::string_view text;
      if (part.get(text) == simdjson::SUCCESS && same_name(text, name)) found = position_of(node);
    }
  });
  return found;
}

std::optional<size_t> StatementTree::find_function(std::string_view name) const {
  std::optional<size_t> found;
  visit(document_->select, [&](const element& node) {
    if (!found && text_of(node, "class") == "FUNCTION" && same_name(text_of(node, "function_name"), name))
      found = position_of(node);
  });
  return found;
}

Result<std::string> StatementTree::to_sql(Connection& connection, const std::string& tree) {
  return first_text(connection, "SELECT json_deserialize_sql($1::JSON)", tree);
}

}  // namespace millrace::sql
