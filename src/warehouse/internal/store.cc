#include "warehouse/internal/store.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/text.h"

namespace millrace::warehouse {
namespace {

using columns::Batch;
using columns::Schema;
using sql::quote_identifier;
using sql::quote_literal;

constexpr std::string_view kStagedFunction = "_millrace_staged";
constexpr std::string_view kSequence = "_millrace_sequence";

std::string_view mode_name(Mode mode) {
  switch (mode) {
    case Mode::kAppend:
      return "append";
    case Mode::kUpsert:
      return "upsert";
  }
  return {};
}

std::string column_list(std::span<const columns::Field> fields) {
  std::string list;
  for (const columns::Field& field : fields) list += (list.empty() ? "" : ", ") + quote_identifier(field.name);
  return list;
}

std::string key_list(const TableSpec& spec, std::string_view prefix) {
  std::string list;
  for (const std::string& key : spec.key)
    list += fmt::format("{}{}{}", list.empty() ? "" : ", ", prefix, quote_identifier(key));
  return list;
}

// One column of text, all rows.
Result<std::vector<std::vector<std::string>>> text_rows(sql::Connection& connection, std::string_view statement) {
  MILLRACE_ASSIGN_OR_RETURN(sql::ResultStream stream, connection.query(statement));
  std::vector<std::vector<std::string>> rows;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, stream.next());
    if (!batch) return rows;
    for (size_t row = 0; row < batch->rows(); ++row) {
      std::vector<std::string>& cells = rows.emplace_back(batch->schema().size());
      for (size_t i = 0; i < cells.size(); ++i) batch->column(i).append_text(row, cells[i]);
    }
  }
}

Result<Schema> schema_of(sql::Connection& connection, const std::string& table) {
  MILLRACE_ASSIGN_OR_RETURN(sql::ResultStream stream,
                            connection.query(fmt::format("SELECT * FROM {} LIMIT 0", quote_identifier(table))));
  Schema schema = *stream.schema();
  MILLRACE_ASSIGN_OR_RETURN(const auto end, stream.next());
  if (end) return fail(Errc::kInternal, "an empty result has rows");
  return schema;
}

Status check_spec(const TableSpec& spec) {
  if (spec.name.empty() || spec.name[0] == '_')
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is no name for a table", spec.name),
                "names that begin with an underscore are ours");
  if (spec.schema.size() == 0) return fail(Errc::kInvalidArgument, fmt::format("table {} has no columns", spec.name));
  if (spec.mode == Mode::kUpsert && spec.key.empty())
    return fail(Errc::kInvalidArgument, fmt::format("table {}: upsert needs a key", spec.name), "key: COLUMN");
  for (const std::string& key : spec.key) {
    if (spec.schema.index_of(key)) continue;
    const std::vector<std::string> names = spec.schema.names();
    const auto nearest = nearest_name(key, names);
    return fail(Errc::kInvalidArgument, fmt::format("table {}: there is no column {} to be its key", spec.name, key),
                nearest ? fmt::format("did you mean {}?", *nearest) : std::string());
  }
  return {};
}

// Rolls back on every way out but commit().
class Transaction {
 public:
  explicit Transaction(sql::Connection& connection) : connection_(connection) {}
  ~Transaction() {
    if (open_) static_cast<void>(connection_.execute("ROLLBACK"));
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  Status begin() {
    MILLRACE_RETURN_IF_ERROR(connection_.execute("BEGIN TRANSACTION"));
    open_ = true;
    return {};
  }
  Status commit() {
    MILLRACE_RETURN_IF_ERROR(connection_.execute("COMMIT"));
    open_ = false;
    return {};
  }

 private:
  sql::Connection& connection_;
  bool open_ = false;
};

columns::SchemaPtr with_sequence(const Schema& schema) {
  std::vector<columns::Field> fields = schema.fields();
  fields.push_back({std::string(kSequence), columns::kBigint});
  return std::make_shared<const Schema>(std::move(fields));
}

}  // namespace

// The rows of an upsert under way, numbered, as a table function shows them to SQL. The functions of a database are
// there for every statement; this one's rows are for those that the committing thread runs, between set() and clear().
class Store::Staged final : public sql::TableSource {
 public:
  void set(const Schema& schema, std::span<const Carried> parts) {
    thread_ = std::this_thread::get_id();
    schema_ = with_sequence(schema);
    batches_.clear();
    int64_t sequence = 0;
    for (const Carried& part : parts) {
      for (const Batch& batch : part.batches) {
        auto numbers = std::make_shared<columns::Column>(columns::kBigint);
        numbers->reserve(batch.rows());
        for (size_t row = 0; row < batch.rows(); ++row) numbers->append_int64(sequence++);
        batches_.push_back(batch.with_columns(schema_, {numbers}));
      }
    }
  }
  void clear() {
    thread_ = std::thread::id();
    batches_.clear();
  }
  // Whether the statement that is being bound may read it: it is the committing thread's.
  bool is_open_to_this_thread() const { return thread_ == std::this_thread::get_id(); }

  const Schema& schema() const override { return *schema_; }
  Status rewind() override {
    next_ = 0;
    return {};
  }
  Result<Batch> next() override {
    while (next_ < batches_.size())
      if (const Batch& batch = batches_[next_++]; batch.rows() > 0) return batch;
    return Batch();
  }

 private:
  columns::SchemaPtr schema_ = with_sequence({});
  std::vector<Batch> batches_;
  size_t next_ = 0;
  std::atomic<std::thread::id> thread_;  // the committing one; none while nothing is staged
};

Result<std::unique_ptr<Store>> Store::open(const std::string& path, uint64_t memory_bytes_max) {
  std::unique_ptr<Store> store(new Store());
  sql::DatabaseOptions options;
  options.path = path;
  options.memory_bytes_max = memory_bytes_max;
  MILLRACE_ASSIGN_OR_RETURN(store->database_, sql::Database::open(std::move(options)));
  MILLRACE_ASSIGN_OR_RETURN(store->writer_, store->database_->connect());
  MILLRACE_RETURN_IF_ERROR(store->create_catalog());
  store->staged_ = std::make_shared<Staged>();
  MILLRACE_RETURN_IF_ERROR(store->writer_->register_table(
      std::string(kStagedFunction), 0, {},
      [staged = store->staged_](const sql::TableArguments&) -> Result<std::shared_ptr<sql::TableSource>> {
        if (!staged->is_open_to_this_thread())
          return fail(Errc::kInvalidArgument, fmt::format("{}() is the warehouse's own", kStagedFunction),
                      "names that begin with an underscore are ours");
        return staged;
      }));
  return store;
}

Status Store::create_catalog() {
  MILLRACE_RETURN_IF_ERROR(writer_->execute(
      "CREATE TABLE IF NOT EXISTS _tables (name VARCHAR, topic VARCHAR, mode VARCHAR, key VARCHAR[])"));
  return writer_->execute("CREATE TABLE IF NOT EXISTS _offsets (name VARCHAR, partition INTEGER, next_offset BIGINT)")
      .map([](uint64_t) {});
}

Result<std::vector<TableSpec>> Store::tables() {
  MILLRACE_ASSIGN_OR_RETURN(const auto connection, database_->connect());
  MILLRACE_ASSIGN_OR_RETURN(const auto rows,
                            text_rows(*connection, "SELECT name, topic, mode FROM _tables ORDER BY name"));
  std::vector<TableSpec> specs;
  for (const auto& row : rows) {
    TableSpec& spec = specs.emplace_back();
    spec.name = row[0];
    spec.topic = row[1];
    spec.mode = row[2] == mode_name(Mode::kUpsert) ? Mode::kUpsert : Mode::kAppend;
    MILLRACE_ASSIGN_OR_RETURN(const auto keys,
                              text_rows(*connection, fmt::format("SELECT unnest(key) FROM _tables WHERE name = {}",
                                                                 quote_literal(spec.name))));
    for (const auto& key : keys) spec.key.push_back(key[0]);
    MILLRACE_ASSIGN_OR_RETURN(spec.schema, schema_of(*connection, spec.name));
  }
  return specs;
}

Result<TableSpec> Store::declare(const TableSpec& spec) {
  MILLRACE_RETURN_IF_ERROR(check_spec(spec));
  MILLRACE_ASSIGN_OR_RETURN(const auto there, tables());
  MILLRACE_ASSIGN_OR_RETURN(const auto connection, database_->connect());
  for (const TableSpec& other : there)
    if (other.topic == spec.topic && other.name != spec.name)
      return fail(Errc::kConflict, fmt::format("topic {} fills table {} already", spec.topic, other.name),
                  "give each table its own topic");
  const auto old =
      std::find_if(there.begin(), there.end(), [&](const TableSpec& other) { return other.name == spec.name; });
  Transaction transaction(*connection);
  MILLRACE_RETURN_IF_ERROR(transaction.begin());
  if (old == there.end()) {
    std::string columns;
    for (const columns::Field& field : spec.schema.fields())
      columns +=
          fmt::format("{}{} {}", columns.empty() ? "" : ", ", quote_identifier(field.name), field.type.to_string());
    MILLRACE_RETURN_IF_ERROR(
        connection->execute(fmt::format("CREATE TABLE {} ({})", quote_identifier(spec.name), columns)));
    std::string keys;
    for (const std::string& key : spec.key) keys += (keys.empty() ? "" : ", ") + quote_literal(key);
    MILLRACE_RETURN_IF_ERROR(connection->execute(
        fmt::format("INSERT INTO _tables VALUES ({}, {}, '{}', [{}]::VARCHAR[])", quote_literal(spec.name),
                    quote_literal(spec.topic), mode_name(spec.mode), keys)));
    MILLRACE_RETURN_IF_ERROR(transaction.commit());
    return spec;
  }
  if (old->topic != spec.topic || old->mode != spec.mode || old->key != spec.key)
    return fail(
        Errc::kConflict,
        fmt::format("table {} is there already, filled from topic {} by {}{}", spec.name, old->topic,
                    mode_name(old->mode), old->key.empty() ? "" : fmt::format(" on {}", fmt::join(old->key, ", "))),
        "give the sink another table");
  std::vector<columns::Field> fields = old->schema.fields();
  for (const columns::Field& field : spec.schema.fields()) {
    const auto index = old->schema.index_of(field.name);
    if (index && fields[*index].type != field.type)
      return fail(Errc::kConflict,
                  fmt::format("column {} of table {} is {}, not {}", field.name, spec.name,
                              fields[*index].type.to_string(), field.type.to_string()),
                  "cast it in a sql step, or give the sink another table");
    if (index) continue;
    MILLRACE_RETURN_IF_ERROR(
        connection->execute(fmt::format("ALTER TABLE {} ADD COLUMN {} {}", quote_identifier(spec.name),
                                        quote_identifier(field.name), field.type.to_string())));
    fields.push_back(field);
  }
  MILLRACE_RETURN_IF_ERROR(transaction.commit());
  TableSpec now = spec;
  now.schema = Schema(std::move(fields));
  return now;
}

Result<std::map<PartitionId, Offset>> Store::offsets(const std::string& table) {
  MILLRACE_ASSIGN_OR_RETURN(const auto connection, database_->connect());
  MILLRACE_ASSIGN_OR_RETURN(
      sql::ResultStream stream,
      connection->query("SELECT partition::BIGINT, next_offset FROM _offsets WHERE name = $1", {table}));
  std::map<PartitionId, Offset> offsets;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, stream.next());
    if (!batch) return offsets;
    for (size_t row = 0; row < batch->rows(); ++row)
      offsets.emplace(PartitionId(static_cast<int32_t>(batch->column(0).int64s()[row])),
                      Offset(batch->column(1).int64s()[row]));
  }
}

Status Store::commit(const TableSpec& spec, std::span<const Carried> parts) {
  Transaction transaction(*writer_);
  MILLRACE_RETURN_IF_ERROR(transaction.begin());
  MILLRACE_RETURN_IF_ERROR(move_offsets(spec, parts));
  if (spec.mode == Mode::kUpsert) {
    staged_->set(spec.schema, parts);
    const Status status = replace_rows(spec);
    staged_->clear();
    MILLRACE_RETURN_IF_ERROR(status);
  } else {
    MILLRACE_RETURN_IF_ERROR(add_rows(spec, parts));
  }
  return transaction.commit();
}

Status Store::move_offsets(const TableSpec& spec, std::span<const Carried> parts) {
  for (const Carried& part : parts) {
    MILLRACE_ASSIGN_OR_RETURN(
        const uint64_t moved,
        writer_->execute(
            fmt::format("UPDATE _offsets SET next_offset = {} WHERE name = {} AND partition = {} AND next_offset = {}",
                        part.next.value(), quote_literal(spec.name), part.partition.value(), part.from.value())));
    if (moved == 1) continue;
    // The first time there is nothing to move.
    MILLRACE_ASSIGN_OR_RETURN(
        const uint64_t made,
        writer_->execute(fmt::format("INSERT INTO _offsets SELECT {0}, {1}, {2} WHERE NOT EXISTS "
                                     "(SELECT 1 FROM _offsets WHERE name = {0} AND partition = {1})",
                                     quote_literal(spec.name), part.partition.value(), part.next.value())));
    if (made != 1)
      return fail(Errc::kConflict, fmt::format("table {}, partition {}: not at offset {}", spec.name,
                                               part.partition.value(), part.from.value()));
  }
  return {};
}

Status Store::add_rows(const TableSpec& spec, std::span<const Carried> parts) {
  for (const Carried& part : parts)
    for (const Batch& batch : part.batches) MILLRACE_RETURN_IF_ERROR(writer_->append(spec.name, batch));
  return {};
}

Status Store::replace_rows(const TableSpec& spec) {
  const std::string table = quote_identifier(spec.name);
  std::string same;
  for (const std::string& key : spec.key)
    same +=
        fmt::format("{0}{1}.{2} IS NOT DISTINCT FROM s.{2}", same.empty() ? "" : " AND ", table, quote_identifier(key));
  MILLRACE_RETURN_IF_ERROR(
      writer_->execute(fmt::format("DELETE FROM {} USING (SELECT DISTINCT {} FROM {}()) s WHERE {}", table,
                                   key_list(spec, ""), kStagedFunction, same)));
  return writer_
      ->execute(fmt::format("INSERT INTO {} SELECT {} FROM (SELECT *, row_number() OVER (PARTITION BY {} ORDER BY {} "
                            "DESC) AS _millrace_age FROM {}()) WHERE _millrace_age = 1 ORDER BY {}",
                            table, column_list(spec.schema.fields()), key_list(spec, ""), kSequence, kStagedFunction,
                            kSequence))
      .map([](uint64_t) {});
}

}  // namespace millrace::warehouse
